"""Three real domains that any machine with this package's dependencies has: Python, C++ and English technical prose."""

import ast
import hashlib
import importlib.util
import sysconfig
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bimix_sweep.data.sources import Source
from bimix_sweep.errors import DataError

PROSE_PACKAGES = ("numpy", "scipy", "sympy", "networkx", "torch")
"""Well documented packages that are always here, dependencies or theirs."""
CPP_FOLDERS = ("c10", "torch/csrc", "ATen/core", "ATen/native", "torch/headeronly")
"""Written by hand; the rest of torch's headers is generated."""
DIRECTIVES = ("#include", "#pragma", "#if", "#el", "#endif", "#undef", "# ")
"""Lines of a header that say nothing of its own."""
LEFT_OUT = {
    "site-packages",
    "test",
    "tests",
    "testing",
    "_vendor",
    "idlelib",
    "lib2to3",
    "encodings",
    "__pycache__",
}
"""Folders of text that is not the library's own or much the same in every file."""
MIN_CHARACTERS = 400
"""Shorter documents are stubs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoText:
    """One domain of the demo."""

    source: Source
    """Its documents, up to the limit."""
    available_bytes: float
    """About how much of such text this machine has: that of the files read, times the bytes of all files over the bytes of those."""


def demo_texts(limit_bytes: int = 2_000_000) -> dict[str, DemoText]:
    """Domains `python`, `cpp` and `english`, up to `limit_bytes` of text each, without any download.

    python: the standard library without docstrings and comments. cpp: headers that come with torch, without includes and
    conditions of the preprocessor. english: docstrings of the standard library and of PROSE_PACKAGES, read from the source;
    nothing is imported. The text differs between machines (versions of these packages); on one machine it is always the same.

    Raises:
        DataError: the sources of the standard library or torch's headers are not on this machine.
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    modules = _files(library, "*.py")
    packages = [folder for name in PROSE_PACKAGES if (folder := _package(name)) is not None]
    documented = [path for folder in packages for path in _files(folder, "*.py")]
    torch = _package("torch")
    headers = (
        []
        if torch is None
        else [path for folder in CPP_FOLDERS for path in _files(torch / "include" / folder, "*.h")]
    )
    return {
        "python": _text("python", modules, _code, limit_bytes, str(library)),
        "cpp": _text("cpp", headers, _header, limit_bytes, "torch/include"),
        "english": _text(
            "english",
            [*modules, *documented],
            _prose,
            limit_bytes,
            f"the docstrings of {', '.join(PROSE_PACKAGES)}",
        ),
    }


def _package(name: str) -> Path | None:
    """Folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    return (
        Path(spec.submodule_search_locations[0])
        if spec is not None and spec.submodule_search_locations
        else None
    )


def _files(root: Path, pattern: str) -> list[Path]:
    """Files under a folder in an order that depends on their relative names only and mixes the folders."""
    named = [(path.relative_to(root).as_posix(), path) for path in root.rglob(pattern)]
    kept = [
        (hashlib.blake2b(name.encode(), digest_size=8).digest(), name, path)
        for name, path in named
        if not LEFT_OUT & {*name.split("/")}
    ]
    return [path for _, _, path in sorted(kept, key=lambda entry: entry[:2])]


def _text(
    name: str, paths: Sequence[Path], extract: Callable[[str], str], limit: int, where: str
) -> DemoText:
    documents: list[str] = []
    size = 0
    read = 0
    for path in paths:
        read += path.stat().st_size
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # old modules hold escapes that the compiler warns of
                text = extract(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
            continue  # a file of another encoding or a broken example: others are there
        if len(text) >= MIN_CHARACTERS:
            documents.append(text)
            size += len(text.encode(errors="replace"))
        if size >= limit:
            break
    if size < limit / 4:
        raise DataError(
            f"the demo found {size} bytes of {name} in {where}; need {limit // 4}, so run with your own data instead"
        )
    total = sum(path.stat().st_size for path in paths)
    return DemoText(source=Source(documents=tuple(documents)), available_bytes=size * total / read)


def _code(text: str) -> str:
    """A module without docstrings and comments, formatted anew."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _header(text: str) -> str:
    """A header without the directives that every other header repeats."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith(DIRECTIVES)]
    return "\n".join(kept).strip()


def _prose(text: str) -> str:
    """A module's docstrings, without examples at the Python prompt."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and (doc := ast.get_docstring(node)):
            lines = [
                line for line in doc.splitlines() if not line.lstrip().startswith((">>>", "..."))
            ]
            if sum(map(len, lines)) >= MIN_CHARACTERS // 4:
                found.append("\n".join(lines))
    return "\n\n".join(found)
