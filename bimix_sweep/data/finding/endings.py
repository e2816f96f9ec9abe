"""Lists the formats of files, and the endings of names that stand for them."""

from pathlib import PurePosixPath
from typing import Literal, get_args

Format = Literal["jsonl", "json", "parquet", "arrow", "csv", "tsv", "text", "webdataset"]
"""Format of files with text, as a user may state it."""
FORMATS: tuple[str, ...] = get_args(Format)
"""All formats of files with text."""
TOKENS = "tokens"
"""Format of files with ready-made tokens, `.npy` and `.bin`."""
PACKED = (".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".lz4")
"""Endings of compressed files."""
BY_ENDING = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonlines": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tar": "webdataset",
    ".tgz": "webdataset",
    ".npy": TOKENS,
    ".bin": TOKENS,
}
"""{ending: format}, for files whose content does not say it."""
_TEXT = """
txt text md markdown rst tex html htm xhtml xml wiki adoc org srt vtt po py pyi pyx pxd ipynb c h cc
hh cpp hpp cxx hxx inc cu cuh java js jsx mjs ts tsx go rs rb php pl pm sh bash zsh ps1 bat swift kt
kts scala clj cs fs fsx vb lua r jl m mm f f90 f95 for pas ada adb ads asm s v sv vhd vhdl sql cmake
mk make toml ini cfg conf yaml yml css scss sass less vue svelte dart groovy gradle proto thrift
graphql ml mli hl hs lhs erl ex exs el lisp scm rkt lean agda coq thy z3 smt2 tla dockerfile nix tf
bib log eml
"""
TEXT_ENDINGS = frozenset(f".{ending}" for ending in _TEXT.split())
"""Endings of files that are one document of plain text each."""


def ending_of(path: str) -> str:
    """Ending that says what a file holds, in lower case, without the ending of a compression.

    For example, the ending of `a.jsonl.zst` is `.jsonl`.
    """
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    while suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""
