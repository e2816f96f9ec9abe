"""OLMo-core: the sources of a `SourceMixtureList`, as YAML.

`target_ratio` counts tokens, lies in (0, 1] and sums to 1. A source that has fewer tokens than its share asks for is refused unless
`max_repetition_ratio` lets it repeat, so that is what the recipe's epochs say, rounded up.
"""

import math

from bimix_sweep.export.blend import UNIT, Blend, as_yaml


def sources(blend: Blend) -> str:
    """The YAML list of sources."""
    listed = []
    for part in blend.positive():
        epochs = blend.recipe.epochs.get(part.domain)
        listed.append(
            {
                "source_name": part.domain,
                "target_ratio": part.proportion,
                "paths": [blend.path(part)],
                "max_repetition_ratio": max(1.0, math.ceil(100 * epochs) / 100) if epochs else 1.0,
                "max_source_fraction": 1.0,
            }
        )
    return as_yaml(
        {"sources": listed},
        f"Unit of target_ratio: {UNIT}. max_repetition_ratio: epochs in the final run, at least 1.",
    )
