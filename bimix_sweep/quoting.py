"""Names of domains and targets where a format does not take every text: in paths and in Ray's
metrics.

Every other format that names are written in quotes them itself (JSON, YAML, CSV, HTML).
"""

import hashlib
import re
from urllib.parse import quote

PLAIN = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,99}")
"""Names that every file system keeps apart and that are used as they are."""
MAX_LENGTH = 80
"""Longest beginning of another name that is kept."""

ASCII = "".join(map(chr, range(32, 127)))


def metric_label(name: str) -> str:
    """Returns a name as the value of a label of Ray's metrics, which refuse all but ASCII: the
    bytes of other characters are written as in a URL, `caf%C3%A9`."""
    return quote(name, safe=ASCII)


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
