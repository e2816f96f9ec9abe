"""LitGPT and LitData: a `CombinedStreamingDataset`. With `TokensLoader` every item has the same length, so weights count tokens."""

import pprint

from bimix_sweep.export.blend import UNIT, Blend


def snippet(blend: Blend) -> str:
    """A Python module with one function, `combined(block_size)`."""
    folders = {part.domain: blend.path(part) for part in blend.positive()}
    shares = {part.domain: part.proportion for part in blend.positive()}
    return f'''"""Stream the domains in the proportions of a bimix-sweep recipe.

Unit of WEIGHTS: {UNIT}; TokensLoader makes every item one block, so items count alike.
"""

from litdata import CombinedStreamingDataset, StreamingDataset, TokensLoader

FOLDERS = {pprint.pformat(folders, sort_dicts=False)}
WEIGHTS = {pprint.pformat(shares, sort_dicts=False)}


def combined(block_size, seed={blend.seed}):
    """One dataset of all domains, in blocks of `block_size` tokens."""
    datasets = [
        StreamingDataset(input_dir=FOLDERS[name], item_loader=TokensLoader(block_size=block_size), shuffle=True) for name in WEIGHTS
    ]
    return CombinedStreamingDataset(datasets=datasets, weights=list(WEIGHTS.values()), seed=seed, iterate_over_all=False)
'''
