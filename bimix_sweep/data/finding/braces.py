"""Expands braces in paths, as shells do: `{a,b}` and `{00..99}`."""

import itertools
import re
from collections.abc import Iterator

from bimix_sweep.errors import DataError

MAX_EXPANDED = 100_000
"""Maximum number of paths that one path with braces may stand for."""
RANGE = re.compile(r"(\d+)\.\.(\d+)")
"""Pattern of the inside of a range of numbers."""


def expand_braces(path: str) -> list[str]:
    """The paths that a path with braces stands for, in the order of the braces.

    `{a,b}` stands for `a` and `b`, also nested. `{08..11}` stands for 08, 09, 10 and 11. Braces
    with neither a comma nor a range stay as they are.

    Raises:
        DataError: the path stands for more than MAX_EXPANDED paths.
    """
    expanded = []
    for one in _expanded(path):
        expanded.append(one)
        if len(expanded) > MAX_EXPANDED:
            raise DataError(
                f"{path} stands for more than {MAX_EXPANDED:,} paths; need fewer, or a glob"
            )
    return expanded


def _expanded(path: str) -> Iterator[str]:
    """The paths, one by one."""
    for start in (i for i, c in enumerate(path) if c == "{"):
        end, commas = _closing(path, start)
        if end is None:
            continue
        inside = path[start + 1 : end]
        if commas:
            cuts = [start, *commas, end]
            choices: Iterator[str] = (path[a + 1 : b] for a, b in itertools.pairwise(cuts))
        elif match := RANGE.fullmatch(inside):
            choices = _numbers(*match.groups())
        else:
            continue
        for choice in choices:
            yield from (path[:start] + rest for rest in _expanded(choice + path[end + 1 :]))
        return
    yield path


def _closing(path: str, start: int) -> tuple[int | None, list[int]]:
    """Position of the brace that closes the one at `start`, and those of its commas."""
    depth, commas = 0, []
    for place in range(start, len(path)):
        if path[place] == "{":
            depth += 1
        elif path[place] == "," and depth == 1:
            commas.append(place)
        elif path[place] == "}":
            depth -= 1
            if depth == 0:
                return place, commas
    return None, []


def _numbers(first: str, last: str) -> Iterator[str]:
    """The numbers of a range, with leading zeros where an end has them."""
    width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
    low, high = int(first), int(last)
    for number in range(low, high + 1) if low <= high else range(low, high - 1, -1):
        yield f"{number:0{width}d}"
