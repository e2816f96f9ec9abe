"""Says what a blend means for the final run: tokens, epochs and tokenizer, and what will not fit."""

import math
from typing import Any

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.places import Part
from bimix_sweep.text import listed, magnitude

SEQUENCE = 4096
"""Tokens of a sequence, below which a domain may never be drawn in the final run."""


def run_notes(blend: Blend) -> list[str]:
    """Sentences on the tokens and epochs of the final run, and on the tokenizer."""
    total = _total(blend)
    if total is None:
        return ["The recipe does not state the tokens of the final run.", _tokenizer(blend)]
    each = [
        f"{part.domain} {magnitude(part.proportion * total)} ({_epochs(blend, part)})"
        for part in blend.positive()
    ]
    return [f"Final run: {magnitude(total)} tokens: {', '.join(each)}.", _tokenizer(blend)]


def run_warnings(blend: Blend) -> list[str]:
    """Warnings about domains that the final run repeats too often or may never draw."""
    total = _total(blend)
    if total is None:
        return []
    found, most = [], _max_epochs(blend)
    for part in blend.positive():
        held = part.tokens
        if held and most and part.proportion * total > 1.001 * most * held:
            found.append(
                f"The final run reads {part.domain} {part.proportion * total / held:.3g} times: "
                f"{magnitude(part.proportion * total)} tokens of the {magnitude(held)} that its "
                f"paths hold; the recipe permits {most:g} epochs."
            )
    rare = [part.domain for part in blend.positive() if part.proportion * total < SEQUENCE]
    if rare:
        found.append(
            f"The final run reads less than one sequence of {SEQUENCE:,} tokens of {listed(rare)}: "
            "the trainer may never draw it. --min-proportion leaves such domains out."
        )
    return found


def epochs(blend: Blend, part: Part) -> float | None:
    """Passes of the final run over a domain; None where they are not known.

    They follow from the tokens of the domain's paths where those are known, else from the recipe.
    """
    total, stated = _total(blend), blend.recipe.epochs.get(part.domain)
    if total is not None and part.tokens:
        return part.proportion * total / part.tokens
    original = blend.recipe.proportions.get(part.domain)
    return stated * part.proportion / original if stated and original else stated


def _total(blend: Blend) -> float | None:
    """Tokens of the final run; None where the recipe does not state them."""
    return sum(blend.recipe.tokens.values()) or None


def _epochs(blend: Blend, part: Part) -> str:
    """Passes over a domain in words."""
    number = epochs(blend, part)
    return "epochs not known" if number is None else f"{number:.3g} epochs"


def _max_epochs(blend: Blend) -> float | None:
    """Passes over a domain that the recipe's problem permits; None where it does not say."""
    final = _inside(blend.recipe.provenance, "problem", "final")
    most = final.get("max_epochs")
    return float(most) if isinstance(most, int | float) and math.isfinite(most) else None


def _tokenizer(blend: Blend) -> str:
    """A sentence on the tokenizer that counted the recipe's tokens."""
    config = _inside(blend.recipe.provenance, "config")
    vocabulary = _inside(config, "proxy").get("vocabulary")
    if config.get("trainer") == "builtin" and vocabulary:
        return (
            f"Tokens are those of the sweep's own tokenizer of {vocabulary} entries: the "
            "proportions move where your trainer's tokenizer cuts the domains differently."
        )
    return "Not checked: that the recipe's tokens were counted with the trainer's tokenizer."


def _inside(values: Any, *keys: str) -> dict[str, Any]:
    """The mapping under these keys; empty where there is none."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}
