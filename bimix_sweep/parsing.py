"""Parses the text of a user's YAML and JSON files to plain values, and the numbers that users write;
every fault in the text is reported as a ValueError of one line."""

import json
import re
from typing import Any

import yaml

from bimix_sweep.text import shown

MAX_NODES = 1_000_000
"""Largest number of values in a YAML document. Values repeated by aliases count each time, because
a few aliases of aliases make billions of values."""

UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
"""{unit behind a number: its factor}; % is the other unit."""
NUMBER_NEEDED = "a number, such as 0.2, 20%, 7e9, 300B or 1.5T"
"""What a number is, for messages."""
_UNIT = re.compile(r"(.*[0-9.])[ ]?([%kKmMbBgGtT])", re.DOTALL)


class _Loader(yaml.SafeLoader):
    """Loads plain values and bounds their number. A key that stands twice in a mapping is refused;
    PyYAML itself would silently keep the last one."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark, alias = self.peek_event().start_mark, self.check_event(yaml.AliasEvent)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if alias and id(node) not in self._sizes:
            raise yaml.composer.ComposerError(
                None, None, "an alias stands for what it is a part of; write it out", mark
            )
        if node is not None and not alias:
            entries = node.value if isinstance(node, yaml.CollectionNode) else []
            parts = [
                part
                for entry in entries
                for part in (entry if isinstance(entry, tuple) else (entry,))
            ]
            size = self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in parts)
            if size > MAX_NODES:
                raise yaml.composer.ComposerError(
                    None, None, f"more than {MAX_NODES} values, aliases counted; write fewer", mark
                )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"key {shown(key)} stands there twice; need it once",
                    key_node.start_mark,
                )
            seen.add(key if isinstance(key, str | int | float) else id(key_node))
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """Parses one YAML document of plain values (`safe_load`, distinct keys).

    Raises:
        ValueError: the text is not such a document.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (
        yaml.YAMLError,
        ValueError,
        AttributeError,
        TypeError,
        RecursionError,
        OverflowError,
    ) as error:
        quotes = "'@' that cannot start" in str(error)
        raise ValueError(
            f"not YAML: {_one_line(error)}"
            + ("; a value that begins with @ needs quotes" if quotes else "")
        ) from error


def parse_json(text: str) -> Any:
    """Parses one JSON value; NaN and infinity are refused.

    Raises:
        ValueError: the text is not one JSON value.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {_one_line(error)}") from error


def parse_number(text: str) -> float:
    """Parses a number with or without a unit: `0.2`, `20%`, `7e9`, `300B`, `1.5T`, `2_000`.

    The units are %, k (1e3), M (1e6), B or G (1e9) and T (1e12), in either case.

    Raises:
        ValueError: the text is no such number.
    """
    found = _UNIT.fullmatch(text.strip())
    digits, unit = found.groups() if found else (text, "")
    try:
        return float(digits) / 100 if unit == "%" else float(digits) * UNITS[unit.lower()]
    except ValueError:
        raise ValueError(f"is {shown(text)}; need {NUMBER_NEEDED}") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")


def _one_line(error: Exception) -> str:
    text = "nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."
