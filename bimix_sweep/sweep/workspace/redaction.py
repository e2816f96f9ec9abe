"""Masks credentials in all text that a sweep keeps.

A credential is the value of an environment variable whose name looks secret, or a password in a
URL.
"""

import functools
import json
import os
import re
from collections.abc import Mapping
from urllib.parse import quote

MASK = "***"
SHORTEST = 6
"""Minimum characters of a masked value; a shorter value appears in any text by chance."""
SECRET_NAME = re.compile(
    r"TOKEN|KEY|SECRET|PASS|CREDENTIAL|AUTH|PWD$|DSN$|COOKIE|PRIVATE|SIGNATURE", re.IGNORECASE
)
PLACE_NAME = re.compile(r"(_PATH|_FILE|_DIR|_SOCK|_MODE|_HOME|^PWD|^OLDPWD)$", re.IGNORECASE)
"""Names of variables that say where a credential is or how one is used, and hold none."""
IN_ADDRESS = re.compile(r"([A-Za-z][\w+.-]{0,20}://[^\s/:@]{0,200}:)[^\s/@]{1,500}@")
"""A password in a URL: scheme://user:password@host."""


def masked(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Replaces secret values and passwords in URLs by `***`.

    Secret values are those of variables with names such as TOKEN, KEY, SECRET or PASSWORD.

    Args:
        environment: variables to read; default: those of this process, which the code and command
            of a trial share.
    """
    for value in _secrets(tuple((os.environ if environment is None else environment).items())):
        text = text.replace(value, MASK)
    return IN_ADDRESS.sub(rf"\1{MASK}@", text)


@functools.lru_cache(maxsize=4)
def _secrets(environment: tuple[tuple[str, str], ...]) -> list[str]:
    """Returns the values to mask, the longest first.

    The result is cached, because an environment hardly ever changes and a log has many lines.
    """
    values: set[str] = set()
    for name, value in environment:
        if SECRET_NAME.search(name) and not PLACE_NAME.search(name):
            # Text is kept line by line, and a value looks different as JSON and in URLs.
            for line in (value, *value.splitlines()):
                if len(plain := line.strip()) >= SHORTEST:
                    values |= {plain, json.dumps(plain)[1:-1], quote(plain, safe="")}
    return sorted(values, key=len, reverse=True)
