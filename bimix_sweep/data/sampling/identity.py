"""Identifies documents: copies of a text have the same key, whatever white space is in them."""

import hashlib
import unicodedata
from dataclasses import dataclass

from bimix_sweep.data.tokenizing import Content

ALL_KEYS = 1 << 64
"""Number of possible keys."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Key and sizes of one document."""

    key: int
    """Hash of the normalised text, below ALL_KEYS."""
    variant: int
    """0 for normalised text, otherwise a hash of the exact text; of all copies, the one with the
    smallest variant is kept."""
    size: int
    """Characters of the normalised text, or tokens; the same for all copies."""
    num_bytes: int
    """UTF-8 bytes of the text, or bytes of the tokens."""


def identify(content: Content) -> Identity:
    """Computes key, variant and sizes of a document.

    Two texts are copies if they differ only in white space, or in the composition of accents.
    """
    if not isinstance(content, str):
        return Identity(_hash(content.astype("<u4").tobytes()), 0, len(content), content.nbytes)
    data = content.encode()
    normal = " ".join(content.split())
    if not normal.isascii():
        normal = unicodedata.normalize("NFC", normal)
    if normal == content:
        return Identity(_hash(data), 0, len(content), len(data))
    return Identity(_hash(normal.encode()), _hash(data), len(normal), len(data))


def _hash(data: bytes) -> int:
    """BLAKE2b hash of 8 bytes, as a number."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())
