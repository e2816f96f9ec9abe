"""torchtitan: a `DatasetMixConfig`. Each child is packed before mixing, because weights of unpacked children count documents."""

import pprint

from bimix_sweep.export.blend import UNIT, Blend


def snippet(blend: Blend) -> str:
    """A Python module with one function, `mix(datasets)`."""
    shares = {part.domain: part.proportion for part in blend.positive()}
    return f'''"""Mix the domains in the proportions of a bimix-sweep recipe.

Unit of WEIGHTS: {UNIT}. Every child is packed to rows of equal length first; the weights of unpacked children would count documents.
"""

from torchtitan.components.data import ConcatThenSplitPackingConfig, DatasetMixConfig, WeightedDataset

WEIGHTS = {pprint.pformat(shares, sort_dicts=False)}


def mix(datasets):
    """The mixture; `datasets` maps each name above to its dataset config of single documents."""
    return DatasetMixConfig(
        datasets=tuple(
            WeightedDataset(dataset=ConcatThenSplitPackingConfig(dataset=datasets[name]), weight=weight)
            for name, weight in WEIGHTS.items()
        )
    )
'''
