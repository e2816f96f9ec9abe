"""Packs text for the page: deflated, in base 85.

The page is one file that a browser opens without a server. The plotting library alone is 4.8 MB;
packed it is 1.8 MB (base 64 needs 2 MB). `unpack` in assets/page.js is the inverse.
"""

import base64
import zlib


def pack(text: str) -> str:
    """Packs text into letters that are safe inside a script element.

    The letters are those of `base64.b85encode`, with a comma in the place of `<`, so that no
    content can begin a tag or a comment.
    """
    return base64.b85encode(zlib.compress(text.encode(), 9)).decode().replace("<", ",")


def unpack(packed: str) -> str:
    """Inverse of `pack`."""
    return zlib.decompress(base64.b85decode(packed.strip().replace(",", "<"))).decode()
