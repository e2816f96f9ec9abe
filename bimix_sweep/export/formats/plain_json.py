"""Writes a recipe as plain JSON for any trainer: each domain's proportion of tokens, and its
source."""

import json
from collections.abc import Sequence

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form


def content(blend: Blend, notes: Sequence[str]) -> str:
    """JSON of every domain, including domains with proportion 0.

    The written proportions sum to exactly 1.
    """
    domains = {
        part.domain: {"proportion": part.proportion, **part.source.model_dump(exclude_none=True)}
        for part in blend.parts
    }
    whole = {
        "unit": blend.unit.value,
        "seed": blend.seed,
        "domains": domains,
        "notes": list(notes),
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


FORMS = (
    Form(
        trainer="json",
        ending=".json",
        render=content,
        notes=(
            "A trainer that draws documents needs proportion / tokens_per_document, normalised.",
        ),
        paths="if given",
    ),
)
"""Forms for trainers without a form of their own."""
