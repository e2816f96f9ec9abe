"""Text of a user's YAML and JSON files to plain values; whatever is wrong with it is a ValueError of one line."""

import json
from typing import Any

import yaml


class _UniqueKeys(yaml.SafeLoader):
    """A key that stands twice in a mapping is refused instead of the last one winning silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands there twice; need it once", key_node.start_mark)
            seen.add(key if isinstance(key, str | int | float) else id(key_node))
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """One YAML document of plain values (`safe_load`, keys distinct).

    Raises:
        ValueError: it is not that.
    """
    try:
        return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"not YAML: {_one_line(error)}") from error


def parse_json(text: str) -> Any:
    """One JSON value; NaN and infinity are refused.

    Raises:
        ValueError: it is not that.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {_one_line(error)}") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")


def _one_line(error: Exception) -> str:
    text = "nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."
