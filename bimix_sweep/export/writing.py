"""Writes YAML and comments that other programs read."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from bimix_sweep.text import printable

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.\-]*")
"""Pattern of text that may be unquoted in YAML."""
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
"""Words that a parser of YAML 1.1 or of another dialect reads as another type than text."""


class _Dumper(yaml.SafeDumper):
    """Dumps YAML and quotes every text that some YAML dialect could read as another type.

    PyYAML quotes only text that PyYAML itself reads as another type. But OmegaConf reads `1e3` as a
    number, YAML 1.2 reads `0o17` as a number, and other parsers read `y` as a truth value. So only
    text that begins with a letter, an underscore or a slash and is not in `_WORDS` is written
    without quotes.
    """


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Represents a text for YAML, quoted where necessary."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else "'")


_Dumper.add_representer(str, _text)


def as_yaml(content: Mapping[str, Any], *notes: str) -> str:
    """YAML text with comments at the top and keys in the given order.

    All parsers read the text as the same values.
    """
    return comments(notes) + yaml.dump(
        dict(content),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=10**6,
    )


def comments(notes: Iterable[str]) -> str:
    """Comment lines for YAML or Python that name the program that wrote the file and give the
    notes."""
    return "".join(f"# {printable(line)}\n" for line in ("Written by bimix-sweep.", *notes))
