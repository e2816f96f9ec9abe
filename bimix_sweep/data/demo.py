"""Collects the three domains of the demo: Python, C++ and English technical prose.

The text comes from files that every machine with this package's dependencies has.
"""

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
"""Well documented packages that are always installed: dependencies, or dependencies of
dependencies."""
CPP_FOLDERS = ("c10", "torch/csrc", "ATen/core", "ATen/native", "torch/headeronly")
"""Folders of torch's headers that were written by hand; the other headers are generated."""
DIRECTIVES = ("#include", "#pragma", "#if", "#el", "#endif", "#undef", "# ")
"""Beginnings of preprocessor lines, which are alike in every header and are left out."""
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
"""Names of folders whose text is not the library's own or is much the same in every file."""
MIN_CHARACTERS = 400
"""Minimum characters of a document; shorter documents are stubs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoText:
    """One domain of the demo."""

    source: Source
    """The documents of the domain, up to the size limit."""
    available_bytes: float
    """Estimated bytes of such text on this machine.

    The estimate is the bytes of text extracted, times the bytes of all files over the bytes of the
    files that were read.
    """


def demo_texts(limit_bytes: int = 2_000_000) -> dict[str, DemoText]:
    """Text of the domains `python`, `cpp` and `english`, without any download.

    Each domain gets up to about `limit_bytes` of text.

    python: the standard library without docstrings and comments.
    cpp: headers that come with torch, without includes and preprocessor conditions.
    english: docstrings of the standard library and of PROSE_PACKAGES, read from the source files;
    no module is imported.

    The text differs between machines that have other versions of these packages. On one machine the
    text is always the same.

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
    """Folder of an installed package, found without importing the package."""
    spec = importlib.util.find_spec(name)
    return (
        Path(spec.submodule_search_locations[0])
        if spec is not None and spec.submodule_search_locations
        else None
    )


def _files(root: Path, pattern: str) -> list[Path]:
    """Files under a folder, in a pseudo-random order that depends only on their relative names."""
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
    """Extracts documents from files until they hold `limit` bytes; skips files that cannot be read.

    Raises:
        DataError: the files hold less than a quarter of `limit`.
    """
    documents: list[str] = []
    size = 0
    read = 0
    for path in paths:
        read += path.stat().st_size
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # old modules contain escapes that the compiler warns about
                text = extract(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
            continue  # a file in another encoding or a broken example; the other files suffice
        if len(text) >= MIN_CHARACTERS:
            documents.append(text)
            size += len(text.encode(errors="replace"))
        if size >= limit:
            break
    if size < limit / 4:
        raise DataError(
            f"the demo found {size} bytes of {name} in {where}; need {limit // 4}, so run with "
            "your own data instead"
        )
    total = sum(path.stat().st_size for path in paths)
    return DemoText(source=Source(documents=tuple(documents)), available_bytes=size * total / read)


def _code(text: str) -> str:
    """Source of a module without docstrings and comments, formatted by `ast.unparse`."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _header(text: str) -> str:
    """Text of a header without the directives that every other header repeats."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith(DIRECTIVES)]
    return "\n".join(kept).strip()


def _prose(text: str) -> str:
    """All docstrings of a module, without examples at the Python prompt."""
    texts = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and (doc := ast.get_docstring(node)):
            lines = [
                line for line in doc.splitlines() if not line.lstrip().startswith((">>>", "..."))
            ]
            if sum(map(len, lines)) >= MIN_CHARACTERS // 4:
                texts.append("\n".join(lines))
    return "\n\n".join(texts)
