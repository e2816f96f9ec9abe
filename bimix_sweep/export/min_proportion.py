"""Leaves small domains out of a mixture, or raises them to a smallest proportion."""

from collections.abc import Mapping

from bimix_sweep.errors import ExportError
from bimix_sweep.export.rounding import rounded
from bimix_sweep.text import listed


def with_minimum(
    proportions: Mapping[str, float], minimum: float, *, floor: bool
) -> tuple[dict[str, float], list[str]]:
    """Change the proportions so that none lies between 0 and the minimum.

    Args:
        proportions: {domain: proportion}, sum 1; a domain at 0 stays at 0.
        minimum: smallest proportion of a domain, in (0, 1).
        floor: True if smaller domains are raised to the minimum; False if they are left out.

    Returns:
        The proportions in whole millionths, sum 1, and a sentence that says what was changed;
        no sentence if nothing was.

    Raises:
        ExportError: the minimum is not in (0, 1), or no mixture has it.
    """
    if not 0 < minimum < 1:
        raise ExportError(f"--min-proportion is {minimum:g}; need a proportion above 0 and below 1")
    positive = {name: x for name, x in proportions.items() if x > 0}
    small = {name for name, x in positive.items() if x < minimum}
    if not small:
        return dict(proportions), []
    if not floor and len(small) == len(positive):
        raise ExportError(
            f"--min-proportion {minimum:g} would leave out every domain; the largest has "
            f"{max(positive.values()):g}"
        )
    if floor and minimum * len(positive) > 1:
        raise ExportError(
            f"--min-proportion {minimum:g} with --floor needs {len(positive)} x {minimum:g} of all "
            f"tokens; need at most {1 / len(positive):g}"
        )
    raised = _raised(positive, minimum) if floor else dict.fromkeys(small, 0.0)
    rest = {name: x for name, x in positive.items() if name not in raised}
    scale = (1 - sum(raised.values())) / sum(rest.values()) if rest else 1.0
    whole = rounded(
        dict.fromkeys(proportions, 0.0) | raised | {name: scale * x for name, x in rest.items()}
    )
    were = listed(f"{name} ({x:g})" for name, x in positive.items() if name in raised)
    done = f"raised to {minimum:g}" if floor else "left out"
    return whole, [
        f"--min-proportion {minimum:g}: {done}: {were}. The proportions of the other domains are "
        f"multiplied by {scale:.6g}, so that all sum to 1."
    ]


def _raised(positive: Mapping[str, float], minimum: float) -> dict[str, float]:
    """{domain: the minimum} of the domains that are below it, also once the others gave way."""
    raised: set[str] = set()
    while True:
        rest = {name: x for name, x in positive.items() if name not in raised}
        scale = (1 - minimum * len(raised)) / sum(rest.values()) if rest else 1.0
        more = {name for name, x in rest.items() if scale * x < minimum}
        if not more:
            return dict.fromkeys(raised, minimum)
        raised |= more
