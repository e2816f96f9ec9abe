"""Names of domains and targets as names of files: the one rule of the package."""

import hashlib
import re

PLAIN = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,99}")
"""Names that every file system keeps apart and that are used as they are."""
MAX_LENGTH = 80
"""Longest beginning of another name that is kept."""


def file_name(name: str) -> str:
    """Returns a name that is one part of a path, and that no other name gets on any file system.

    A PLAIN name is returned as it is. In another name, `-` stands for each character that may have
    a meaning in a path or a shell, and a hash of the whole name follows: `Web` and `web`, `a/b` and
    `a-b` stay distinct where a file system does not tell capitals from small letters.
    """
    if PLAIN.fullmatch(name):
        return name
    readable = re.sub(r"[^A-Za-z0-9_.-]", "-", name)[:MAX_LENGTH].lstrip(".")
    return f"{readable}-{hashlib.blake2b(name.encode(), digest_size=5).hexdigest()}"
