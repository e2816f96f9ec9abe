"""Plain JSON for a trainer of one's own: each domain's share of tokens and where it lies."""

import json

from bimix_sweep.export.blend import UNIT, Blend


def content(blend: Blend) -> str:
    """Every domain, those at 0 too; shares sum to 1 as written."""
    domains = {
        part.domain: {"proportion": part.proportion, **part.source.model_dump(exclude_none=True)}
        for part in blend.parts
    }
    return (
        json.dumps(
            {"unit": UNIT, "seed": blend.seed, "domains": domains}, indent=2, ensure_ascii=False
        )
        + "\n"
    )
