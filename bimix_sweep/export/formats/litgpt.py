"""Writes a recipe for LitGPT and LitData: a `CombinedStreamingDataset` and a LitGPT `DataModule`.

With `TokensLoader` all items have the same length, so weights count tokens.
"""

import pprint
from collections.abc import Sequence

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.writing import comments


def snippet(blend: Blend, notes: Sequence[str]) -> str:
    """A Python module with the function `combined(block_size)` and the class `Mixture`."""
    located = blend.located()
    folders = {part.domain: path for part, path in located}
    weights = {part.domain: part.weight for part, _ in located}
    validation = {part.domain: path for part, path in blend.held_out("valid")}
    return f'''{comments(notes)}"""Stream the domains in the proportions of a bimix-sweep recipe."""

from litdata import CombinedStreamingDataset, StreamingDataLoader, StreamingDataset, TokensLoader

try:
    from litgpt.data import DataModule
except ImportError:  # LitData without LitGPT
    DataModule = object

FOLDERS = {pprint.pformat(folders, sort_dicts=False)}
WEIGHTS = {pprint.pformat(weights, sort_dicts=False)}
VALIDATION_FOLDERS = {pprint.pformat(validation, sort_dicts=False)}


def combined(block_size, seed={blend.seed}, folders=FOLDERS, shuffle=True):
    """One dataset of all domains, in blocks of `block_size` tokens."""
    datasets = [
        StreamingDataset(
            input_dir=folder, item_loader=TokensLoader(block_size=block_size), shuffle=shuffle
        )
        for folder in folders.values()
    ]
    return CombinedStreamingDataset(
        datasets=datasets,
        weights=[WEIGHTS[name] for name in folders],
        seed=seed,
        iterate_over_all=False,
    )


class Mixture(DataModule):
    """What `litgpt pretrain --data` takes."""

    def __init__(self, seed: int = {blend.seed}, num_workers: int = 8):
        super().__init__()
        self.seed, self.num_workers = seed, num_workers
        self.batch_size, self.block_size = 1, 2049

    def connect(self, tokenizer=None, batch_size=1, max_seq_length=None, **_):
        self.batch_size, self.block_size = batch_size, (max_seq_length or 2048) + 1

    def train_dataloader(self):
        return self._loader(combined(self.block_size, self.seed))

    def val_dataloader(self):
        if not VALIDATION_FOLDERS:
            raise ValueError("no held-out data: fill in VALIDATION_FOLDERS")
        return self._loader(combined(self.block_size, self.seed, VALIDATION_FOLDERS, shuffle=False))

    def _loader(self, dataset):
        return StreamingDataLoader(
            dataset, batch_size=self.batch_size, num_workers=self.num_workers, drop_last=True
        )
'''


def without_validation(blend: Blend) -> list[str]:
    """Warning if no domain has held-out data: LitGPT always validates."""
    if blend.held_out("valid"):
        return []
    return [
        "No domain has held-out data (valid: in the domains file), without which litgpt pretrain "
        "stops: fill in VALIDATION_FOLDERS."
    ]


FORMS = (
    Form(
        trainer="litgpt",
        ending=".py",
        imports=frozenset({"litgpt", "litdata"}),
        version="litdata 0.2.76 and litgpt 0.5.13",
        render=snippet,
        notes=(
            "TokensLoader makes every item one block, so items count alike.",
            "Use: litgpt pretrain ... --data FILE.Mixture, with the folder of FILE.py in "
            "PYTHONPATH.",
            "A pass ends at the first domain that is exhausted; the next pass begins all again, "
            "shuffled anew.",
        ),
        warnings=without_validation,
    ),
)
"""Forms for LitGPT and LitData."""
