"""Plain JSON for a trainer of one's own: each domain's proportion of tokens, and its source."""

import json
from collections.abc import Sequence

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form


def content(blend: Blend, notes: Sequence[str]) -> str:
    """Every domain, those at 0 too; proportions sum to 1 as written."""
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
