"""Finds the files that paths, folders, globs, URIs and lists of these name."""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from bimix_sweep import files, locations
from bimix_sweep.data.finding.braces import expand_braces
from bimix_sweep.data.finding.stored_file import StoredFile
from bimix_sweep.errors import DataError

NEED = "need a file, a folder, a glob or a URI"
"""What a path of a source may be, in error messages."""
ARROW_COMPANIONS = ("dataset_info.json", "state.json", "dataset_dict.json")
"""Files without documents that `datasets.save_to_disk` writes beside its Arrow files."""
LITDATA_INDEX = "index.json"
"""File without documents that litdata writes beside its chunks of tokens."""


def find_files(entries: Sequence[str]) -> list[StoredFile]:
    """All files that the entries name, each once: in the order of the entries, and those of one
    entry in the order of their names.

    Empty and hidden files are left out.

    Args:
        entries: files, folders, globs, URIs, or `@LIST` for a file with one of these a line. Braces
            stand for several entries: `{a,b}` and `{00..99}`.

    Raises:
        DataError: an entry was not found, cannot be read, or names no file with content.
    """
    found: dict[tuple[str, str], StoredFile] = {}
    for entry in entries:
        for plain in _plain_entries(entry):
            for file in _find(plain):
                found.setdefault((file.filesystem.type_name, file.path), file)
    return [*found.values()]


def _plain_entries(entry: str) -> Iterator[str]:
    """The entries without lists and braces that an entry stands for."""
    if entry.startswith("@"):
        yield from _listed(entry)
    elif not locations.is_uri(entry) and _is_there(entry):
        yield entry  # a name that holds braces
    else:
        yield from expand_braces(entry)


def _is_there(path: str) -> bool:
    """True if there is a local file or folder of this name."""
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # `_find` says what is wrong with the path
        return False


def _listed(entry: str) -> Iterator[str]:
    """The entries in the file `@LIST`, one a line, without braces; relative ones start from the
    file's folder.

    Blank lines and lines that begin with `#` are left out.
    """
    place = entry[1:]
    try:
        text = files.read_text(place if locations.is_uri(place) else Path(place).expanduser())
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{entry} cannot be read ({getattr(error, 'strerror', None) or error}); need a text "
            "file with a file, folder, glob or URI a line"
        ) from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise DataError(f"{entry} lists nothing; need a file, folder, glob or URI a line")
    if nested := next((line for line in lines if line.startswith("@")), None):
        raise DataError(f"{entry} lists {nested}; need files, folders, globs or URIs, no list")
    for line in lines:
        for one in expand_braces(line):
            anchored = locations.is_uri(one) or one.startswith(("/", "~"))
            yield one if anchored else locations.join(locations.parent(place), one)


def _find(path: str) -> list[StoredFile]:
    """The files that one plain entry names, in the order of their names.

    Raises:
        DataError: the path was not found, cannot be read, or names no file with content.
    """
    try:
        filesystem, inner = _opened(path)
        base, pattern = _split_glob(inner)
        top = filesystem.get_file_info(base)
        if pattern and (exact := filesystem.get_file_info(inner)).type != fs.FileType.NotFound:
            base, pattern, top = inner, "", exact  # a name that holds a wildcard
        if top.type == fs.FileType.NotFound and not pattern:  # the prefix of a Megatron pair
            top = filesystem.get_file_info(f"{base}.bin")
            base = top.path if top.type == fs.FileType.File else base
        if top.type == fs.FileType.NotFound:
            looked = f" (looked for {base})" if base != str(path) else ""
            raise DataError(f"{path} was not found{looked}; {NEED}")
        chosen = (
            [top]
            if top.type == fs.FileType.File
            else filesystem.get_file_info(fs.FileSelector(base, recursive=True))
        )
    except (
        OSError,
        pa.ArrowException,
        ValueError,
        RuntimeError,
    ) as error:  # RuntimeError: `~name` of an unknown user
        raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]}); {NEED}") from error
    kept = [
        (_natural(inside), inside, info)
        for info in chosen
        if _is_document_file(inside := info.path[len(base) :].strip("/"), info, pattern)
    ]
    kept = _without_companions(kept) if top.type != fs.FileType.File else kept
    if not kept:
        raise DataError(
            f"{path}: no file with content was found there (looked for {pattern or 'any file'} in "
            f"{base})"
        )
    return [
        StoredFile(
            filesystem=filesystem,
            path=info.path,
            size=info.size,
            mtime_ns=info.mtime_ns,
            entry=path,
            single=top.type == fs.FileType.File,
        )
        for _, _, info in sorted(kept, key=lambda item: item[:2])
    ]


def _opened(path: str) -> tuple[fs.FileSystem, str]:
    """File system of a path or URI, and the path inside it."""
    if not locations.is_uri(path):
        return fs.LocalFileSystem(), str(Path(path).expanduser().absolute())
    filesystem, inner = fs.FileSystem.from_uri(path)
    return filesystem, inner


def _is_document_file(inside: str, info: fs.FileInfo, pattern: str) -> bool:
    """True for a file with content that matches the pattern and is not hidden."""
    hidden = inside != "" and any(part.startswith((".", "_SUCCESS")) for part in inside.split("/"))
    return bool(
        info.type == fs.FileType.File
        and info.size
        and not hidden
        and (not pattern or _matches(inside, pattern))
    )


Found = tuple[list[str], str, fs.FileInfo]
"""(sort key, path below the base, description) of a file."""


def _without_companions(found: list[Found]) -> list[Found]:
    """The files without those that hold no documents: what `datasets.save_to_disk` writes beside
    its Arrow files, the caches of `datasets`, and the indexes of Megatron and litdata."""
    insides = {inside for _, inside, _ in found}
    names = {inside.rpartition("/")[2] for inside in insides}
    arrow = any(name.endswith(".arrow") for name in names)
    cached = arrow and "state.json" in names
    chunked = {
        inside.rpartition("/")[0]
        for inside in insides
        if inside.endswith(".bin") and inside.rpartition("/")[2].startswith("chunk-")
    }

    def counts(inside: str) -> bool:
        folder, _, name = inside.rpartition("/")
        return not (
            (arrow and name in ARROW_COMPANIONS)
            or (cached and name.startswith("cache-"))
            or (name.endswith(".idx") and f"{inside.removesuffix('.idx')}.bin" in insides)
            or (name == LITDATA_INDEX and folder in chunked)
        )

    return [item for item in found if counts(item[1])]


def _natural(name: str) -> list[str]:
    """Sort key that puts `part-2` before `part-10`, so that similar files are neighbours."""
    return [part.zfill(20) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)]


def _split_glob(path: str) -> tuple[str, str]:
    """Splits `a/b/*.txt` into (`a/b`, `*.txt`), and a path without a pattern into (path, ``)."""
    parts = path.split("/")
    first = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts))
    return "/".join(parts[:first]) or "/", "/".join(parts[first:])


def _matches(name: str, pattern: str) -> bool:
    """True if a name matches a glob, part by part; `**` stands for any number of folders."""
    names, patterns = name.split("/"), pattern.split("/")
    if patterns[0] == "**":
        rest = "/".join(patterns[1:]) or "*"
        return any(_matches("/".join(names[i:]), rest) for i in range(len(names)))
    if not fnmatch.fnmatchcase(names[0], patterns[0]):
        return False
    if len(names) == 1 or len(patterns) == 1:
        return len(names) == len(patterns)
    return _matches("/".join(names[1:]), "/".join(patterns[1:]))
