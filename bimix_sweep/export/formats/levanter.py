"""Writes a recipe for Levanter and Marin: the domains and `train_weights` of the `data` section.

Levanter mixes in blocks of `mixture_block_size` sequences of equal length. A domain gets
`floor(weight * block)` sequences of a block, and the domain with the largest weight gets the rest.
A domain that gets less than one sequence per block is never drawn, so the block must be large; it
must be smaller than 2^16. A domain with weight 0 is used for evaluation only.
"""

from collections.abc import Sequence
from typing import Any

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.places import Part
from bimix_sweep.export.writing import as_yaml

BLOCK = 2**15
"""Default number of sequences per block."""
MAX_BLOCK = 2**16 - 1
"""Maximum number of sequences per block, for domains that are too rare for BLOCK."""
NOTES = ("A weight of 0 keeps a domain for evaluation only.",)
"""Notes for both forms."""


def components(blend: Blend, notes: Sequence[str]) -> str:
    """The YAML of `data` with `components`, as in releases of 2026."""
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
    """The YAML of `data` with `configs`, as in releases of 2025."""
    return _data(blend, "configs", _sources(blend), notes)


def never_drawn(blend: Blend) -> list[str]:
    """Warnings about the domains that are too rare for the block."""
    block = _block(blend)
    lost = [part for part in blend.positive() if int(part.weight * block) == 0]
    return [
        f"Levanter never draws {part.domain}: its weight {part.decimal} is less than one sequence "
        f"in a block of {block}, the largest it takes."
        for part in lost
    ]


def _data(blend: Blend, key: str, domains: dict[str, Any], notes: Sequence[str]) -> str:
    """The YAML of `data` with the domains under `key`."""
    weights = {part.domain: part.weight for part in blend.parts if part.domain in domains}
    content = {key: domains, "train_weights": weights, "mixture_block_size": _block(blend)}
    return as_yaml({"data": content}, *notes)


def _sources(blend: Blend) -> dict[str, dict[str, list[str]]]:
    """URLs of each domain with a proportion above 0, and of each other domain that has a path."""
    trained = {part.domain: paths for part, paths in blend.listed()}
    held_out = {part.domain: path for part, path in blend.held_out("valid")}

    def urls(part: Part) -> dict[str, list[str]]:
        train = trained.get(part.domain, list(part.source.paths))
        valid = held_out.get(part.domain, part.source.valid)
        return ({"train_urls": train} if train else {}) | (
            {"validation_urls": [valid]} if valid else {}
        )

    return {part.domain: found for part in blend.parts if (found := urls(part))}


def _block(blend: Blend) -> int:
    """Number of sequences per block: BLOCK if it holds the rarest domain, MAX_BLOCK otherwise."""
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
"""Forms for Levanter."""
