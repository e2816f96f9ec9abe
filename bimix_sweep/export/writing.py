"""Text of YAML and Python files that other programs read."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from bimix_sweep.text import printable

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.\-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
"""A parser of YAML 1.1 or of another dialect reads these as something else than text."""


class _Dumper(yaml.SafeDumper):
    """Quotes every text that some YAML dialect could read as another type.

    PyYAML quotes what PyYAML itself reads as another type. OmegaConf reads `1e3` as a number, YAML
    1.2 reads `0o17` as one, other parsers `y` as a truth value: so only text that begins with a
    letter, an underscore or a slash and is none of these words stands unquoted.
    """


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else "'")


_Dumper.add_representer(str, _text)


def as_yaml(content: Mapping[str, Any], *notes: str) -> str:
    """YAML with comments on top and keys in the given order; every parser reads it alike."""
    return comments(notes) + yaml.dump(
        dict(content),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=10**6,
    )


def comments(notes: Iterable[str]) -> str:
    """The lines of a comment, for YAML or Python, that says who wrote the file and what to know."""
    return "".join(f"# {printable(line)}\n" for line in ("Written by bimix-sweep.", *notes))
