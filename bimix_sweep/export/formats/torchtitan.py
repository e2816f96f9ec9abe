"""Writes a recipe for torchtitan: release 0.3.0, and the `DatasetMixConfig` of the main branch.

Both draw rows of equal length, so weights count tokens. Release 0.3.0 packs each source before it
interleaves the sources. On the main branch the exported code packs each child before mixing,
because the weights of unpacked children would count documents.
"""

import pprint
from collections.abc import Sequence

from bimix_sweep.errors import ExportError
from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.places import Part
from bimix_sweep.export.writing import comments
from bimix_sweep.text import listed


def interleaved(blend: Blend, notes: Sequence[str]) -> str:
    """Code for release 0.3.0: a Python module with one function, `dataloader(datasets)`."""
    located = _located(blend)
    weights = {part.domain: part.weight for part, _ in located}
    paths = {part.domain: path for part, path in located}
    return f'''{comments(notes)}"""Mix the domains in the proportions of a bimix-sweep recipe."""

from torchtitan.hf_datasets.text_datasets import HFDataSource, InterleavedHuggingFaceTextDataLoader

WEIGHTS = {pprint.pformat(weights, sort_dicts=False)}
PATHS = {pprint.pformat(paths, sort_dicts=False)}


def dataloader(datasets, seed={blend.seed}):
    """The data loader's config.

    `datasets` maps each name above to an entry of DATASETS in
    torchtitan/hf_datasets/text_datasets.py, in small letters, which loads the domain's path (None:
    the path that the entry names).
    """
    return InterleavedHuggingFaceTextDataLoader.Config(
        sources=[
            HFDataSource(dataset=datasets[name], dataset_path=PATHS[name], weight=weight)
            for name, weight in WEIGHTS.items()
        ],
        seed=seed,
    )
'''


def _located(blend: Blend) -> list[tuple[Part, str | None]]:
    """Each domain with its path, None where it has none.

    Raises:
        ExportError: a domain has several paths, and another one has none.
    """
    parts = blend.positive()
    if all(part.source.paths for part in parts):
        return [*blend.located()]
    if several := [part.domain for part in parts if len(part.source.paths) > 1]:
        lacking = [part.domain for part in parts if not part.source.paths]
        raise ExportError(
            f"{listed(several)} has several paths and {listed(lacking)} none; state the path of "
            "every domain, or one path at most for each"
        )
    return [(part, next(iter(part.source.paths), None)) for part in parts]


def mixed(blend: Blend, notes: Sequence[str]) -> str:
    """Code for the main branch: a Python module with one function, `mix(datasets)`."""
    weights = {part.domain: part.weight for part in blend.positive()}
    return f'''{comments(notes)}"""Mix the domains in the proportions of a bimix-sweep recipe.

Every child is packed to rows of equal length first; the weights of unpacked children would count
documents.
"""

from torchtitan.components.data import (
    ConcatThenSplitPackingConfig,
    DatasetMixConfig,
    WeightedDataset,
)

WEIGHTS = {pprint.pformat(weights, sort_dicts=False)}


def mix(datasets):
    """The mixture; `datasets` maps each name above to its config of single documents."""
    return DatasetMixConfig(
        datasets=tuple(
            WeightedDataset(
                dataset=ConcatThenSplitPackingConfig(dataset=datasets[name]), weight=weight
            )
            for name, weight in WEIGHTS.items()
        )
    )
'''


FORMS = (
    Form(
        trainer="torchtitan",
        ending=".py",
        imports=frozenset({"torchtitan"}),
        version="torchtitan 0.3.0; for its main branch write torchtitan-main",
        render=interleaved,
        notes=("Use: config.dataloader = dataloader({...}) in a config function.",),
        paths="if given",
    ),
    Form(
        trainer="torchtitan",
        variant="main",
        ending=".py",
        imports=frozenset({"torchtitan"}),
        version="torchtitan's main branch of August 2026; for release 0.3.0 write torchtitan",
        render=mixed,
        notes=("Use: GrainDataLoader.Config(dataset=mix({...})).",),
        paths="none",
    ),
)
"""Forms for torchtitan."""
