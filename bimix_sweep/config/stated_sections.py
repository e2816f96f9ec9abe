"""Keys of sweep.yaml that state mixtures (`today`, `prior`, `first`) and what follows from the weights."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bimix_sweep.config.section import Section
from bimix_sweep.config.sections import TargetConfig
from bimix_sweep.text import shown


def _stated_mixture(*words: str) -> BeforeValidator:
    """Validator of a mixture that is one of these words, or a mapping of domains to numbers."""

    def check(stated: Any) -> Any:
        numbers = isinstance(stated, dict) and all(
            isinstance(name, str)
            and isinstance(value, int | float)
            and not isinstance(value, bool)
            and abs(value) < math.inf
            for name, value in stated.items()
        )
        if stated is not None and stated not in words and not numbers:
            raise ValueError(
                f"is {shown(stated)}; need {', '.join(words)} or numbers for domains, such as "
                "{web: 0.7, code: 0.3}"
            )
        return stated

    return BeforeValidator(check)


Today = Annotated[
    dict[str, float] | Literal["natural", "entropy"] | None, _stated_mixture("natural", "entropy")
]
"""Mixture that a team trains on now."""
MAX_FIRST = 3
"""Largest number of stated first mixtures: with the uniform and the natural mixture as many as a
sweep has first mixtures at least."""
First = Annotated[
    tuple[
        Annotated[
            dict[str, float] | Literal["entropy", "today"], _stated_mixture("entropy", "today")
        ],
        ...,
    ],
    Field(max_length=MAX_FIRST),
]
"""Mixtures to try after the uniform and the natural one."""


class PriorConfig(Section):
    """Mixture that the recommended one stays near, and how strongly."""

    mixture: Annotated[
        dict[str, float] | Literal["natural", "entropy", "today"],
        _stated_mixture("natural", "entropy", "today"),
    ] = Field(
        description="Mixture to stay near: proportions or numbers of tokens, natural (the "
        "proportions of the available tokens), entropy (by the text's conditional entropy), or "
        "today (the key today)"
    )
    kl: float = Field(
        ge=0,
        le=1e9,
        description="Strength: objective per nat of the divergence KL(mixture || prior)",
    )


def shared_weights(targets: Mapping[str, TargetConfig]) -> dict[str, float]:
    """{target: weight of its loss}, in which the targets of a group share a weight.

    Each weight is divided by the number of the group's targets above weight 0. So a group counts as
    much as one target that has the mean weight of these. Where references are stated, a weight is
    that of the loss over the loss of the reference.
    """
    counts = Counter(target.group for target in targets.values() if target.weight > 0)
    return {
        name: (target.weight / (counts[target.group] or 1) if target.group else target.weight)
        / target.reference_loss
        for name, target in targets.items()
    }
