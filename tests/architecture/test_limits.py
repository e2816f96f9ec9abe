"""Limits on the size of files, functions, signatures and folders of the package."""

import ast
from pathlib import Path

import bimix_sweep

PACKAGE = Path(bimix_sweep.__file__).parent
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
MAX_ARGUMENTS = 10
"""Commands have an argument for each option, so this limit does not hold for them."""
MAX_FILES_IN_FOLDER = 16


def beyond(package):
    """What lies beyond a limit, in words."""
    found = []
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        count = sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        if count > MAX_FILES_IN_FOLDER:
            found.append(f"{folder.name} has {count} files")
    for path in package.rglob("*.py"):
        text = path.read_text()
        if (lines := len(text.splitlines())) > MAX_FILE_LINES:
            found.append(f"{path.name} has {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                parts = node.args
                arguments = len(parts.posonlyargs) + len(parts.args) + len(parts.kwonlyargs)
                if lines > MAX_FUNCTION_LINES:
                    found.append(f"{node.name} has {lines} lines")
                if arguments > MAX_ARGUMENTS and "commands" not in path.parts:
                    found.append(f"{node.name} has {arguments} arguments")
    return found


def test_nothing_lies_beyond_the_limits():
    assert beyond(PACKAGE) == []


def test_the_check_sees_what_is_too_large(tmp_path):
    body = "\n".join(f"    x = {n}" for n in range(MAX_FUNCTION_LINES))
    arguments = ", ".join(f"a{n}" for n in range(MAX_ARGUMENTS + 1))
    (tmp_path / "a.py").write_text(f"def long({arguments}):\n{body}\n" + "\n" * MAX_FILE_LINES)
    for number in range(MAX_FILES_IN_FOLDER):
        (tmp_path / f"b{number}.py").write_text("")
    said = beyond(tmp_path)
    assert len(said) == 4
    assert any(line.startswith("long has 11 arguments") for line in said)
