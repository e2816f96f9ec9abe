"""Credentials stay out of what a sweep keeps: values of secret-looking environment variables are masked in any text."""

import functools
import json
import os
import re
from collections.abc import Mapping
from urllib.parse import quote

MASK = "***"
SHORTEST = 6
"""Characters of a value worth masking; shorter ones stand in any text by chance."""
SECRET_NAME = re.compile(
    r"TOKEN|KEY|SECRET|PASS|CREDENTIAL|AUTH|PWD$|DSN$|COOKIE|PRIVATE|SIGNATURE", re.IGNORECASE
)
PLACE_NAME = re.compile(r"(_PATH|_FILE|_DIR|_SOCK|_MODE|_HOME|^PWD|^OLDPWD)$", re.IGNORECASE)
"""It says where a credential lies, or how one is used, and holds none."""
IN_ADDRESS = re.compile(r"([A-Za-z][\w+.-]{0,20}://[^\s/:@]{0,200}:)[^\s/@]{1,500}@")
"""scheme://user:password@host."""


def masked(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text with the values of variables named like TOKEN, KEY, SECRET or PASSWORD, and passwords in URLs, as `***`.

    Args:
        environment: default: this process's own, which a training's code and command share.
    """
    for value in _secrets(tuple((os.environ if environment is None else environment).items())):
        text = text.replace(value, MASK)
    return IN_ADDRESS.sub(rf"\1{MASK}@", text)


@functools.lru_cache(maxsize=4)
def _secrets(environment: tuple[tuple[str, str], ...]) -> list[str]:
    """What to mask, the longest first; an environment hardly ever changes, and a log has many lines."""
    found: set[str] = set()
    for name, value in environment:
        if SECRET_NAME.search(name) and not PLACE_NAME.search(name):
            # text is kept line by line, and as JSON or in URLs a value looks different
            for line in (value, *value.splitlines()):
                if len(plain := line.strip()) >= SHORTEST:
                    found |= {plain, json.dumps(plain)[1:-1], quote(plain, safe="")}
    return sorted(found, key=len, reverse=True)
