"""Levanter and Marin: the domains and `train_weights` of the `data` section.

Levanter mixes in blocks of `mixture_block_size` sequences of equal length and gives each domain
`floor(weight * block)` of them, the rest to the largest. A domain below one sequence a block is
never drawn, so the block must be large; it must be below 2^16. A weight of 0 keeps a domain for
evaluation only.
"""

from collections.abc import Sequence
from typing import Any

from bimix_sweep.export.blend import Blend, Part
from bimix_sweep.export.form import Form
from bimix_sweep.export.writing import as_yaml

BLOCK = 2**15
MAX_BLOCK = 2**16 - 1
NOTES = ("A weight of 0 keeps a domain for evaluation only.",)


def components(blend: Blend, notes: Sequence[str]) -> str:
    """The YAML of `data` with `components`, as in 2026."""
    return _data(
        blend,
        "components",
        {
            name: {"source": {"type": "url", **source}} if source else {}
            for name, source in _sources(blend).items()
        },
        notes,
    )


def configs(blend: Blend, notes: Sequence[str]) -> str:
    """The YAML of `data` with `configs`, as in 2025."""
    return _data(blend, "configs", _sources(blend), notes)


def never_drawn(blend: Blend) -> list[str]:
    """The domains too rare for the largest block."""
    block = _block(blend)
    lost = [part for part in blend.positive() if int(part.weight * block) == 0]
    return [
        f"Levanter never draws {part.domain}: its weight {part.decimal} is less than one sequence "
        f"in a block of {block}, the largest it takes."
        for part in lost
    ]


def _data(blend: Blend, key: str, domains: dict[str, Any], notes: Sequence[str]) -> str:
    weights = {part.domain: part.weight for part in blend.parts if part.domain in domains}
    content = {key: domains, "train_weights": weights, "mixture_block_size": _block(blend)}
    return as_yaml({"data": content}, *notes)


def _sources(blend: Blend) -> dict[str, dict[str, list[str]]]:
    """URLs of each domain above 0, and of each at 0 that has a path."""
    trained = {part.domain: path for part, path in blend.located()}
    held_out = {part.domain: path for part, path in blend.held_out("valid")}

    def urls(part: Part) -> dict[str, list[str]]:
        train = trained.get(part.domain, part.source.path)
        valid = held_out.get(part.domain, part.source.valid)
        return ({"train_urls": [train]} if train else {}) | (
            {"validation_urls": [valid]} if valid else {}
        )

    return {part.domain: found for part in blend.parts if (found := urls(part))}


def _block(blend: Blend) -> int:
    rarest = min(part.weight for part in blend.positive())
    return BLOCK if int(rarest * BLOCK) else MAX_BLOCK


FORMS = (
    Form(
        trainer="levanter",
        ending=".yaml",
        version="marin-levanter 0.2.20 of 2026; for the data.configs of 2025 write levanter-2025",
        render=components,
        notes=NOTES,
        warnings=never_drawn,
    ),
    Form(
        trainer="levanter",
        variant="2025",
        ending=".yaml",
        version="levanter's LMMixtureDatasetConfig of 2025",
        render=configs,
        notes=NOTES,
        warnings=never_drawn,
    ),
)
