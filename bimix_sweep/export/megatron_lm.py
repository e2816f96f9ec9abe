"""Megatron-LM: `--data-path`, `--data-args-path` and `--per-split-data-args-path`; Megatron-Bridge and NeMo take the same blend.

A blend is a list of weights and prefixes in turn, prefixes without `.bin` or `.idx`. Samples have a fixed length, so a weight is
a share of tokens; weights of 0 are refused. The argument file is split at white space, so it holds nothing else.
"""

import json

from bimix_sweep.errors import ExportError
from bimix_sweep.export.blend import UNIT, Blend


def arguments(blend: Blend) -> str:
    """One line of weights and prefixes: what follows `--data-path`, or all of a `--data-args-path` file."""
    tokens = _alternating(blend, "train")
    if spaced := next((token for token in tokens if len(token.split()) != 1), None):
        raise ExportError(
            f"the prefix {spaced!r} has white space, at which Megatron splits; use the per-split JSON or move the file"
        )
    return " ".join(tokens) + "\n"


def per_split(blend: Blend) -> str:
    """The JSON of `--per-split-data-args-path`, which must have all three keys and, for its readers' sake, no others."""
    return (
        json.dumps(
            {split: _alternating(blend, split) for split in ("train", "valid", "test")},
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )


def bridge(blend: Blend) -> str:
    """Python for Megatron-Bridge: `GPTDatasetConfig(blend=BLEND)`, prefixes and weights in two lists."""
    parts = blend.positive()
    prefixes = [_prefix(blend.path(part)) for part in parts]
    return (
        f'"""The blend of a bimix-sweep recipe: GPTDatasetConfig(blend=BLEND). Unit of the weights: {UNIT}."""\n\n'
        f"BLEND = (\n    {prefixes!r},\n    {[part.proportion for part in parts]!r},\n)\n"
    )


def _prefix(path: str) -> str:
    return path.removesuffix(".bin").removesuffix(".idx")


def _alternating(blend: Blend, split: str) -> list[str]:
    tokens = []
    for part in blend.positive():
        prefix = (
            blend.path(part)
            if split == "train"
            else getattr(part.source, split) or blend.path(part)
        )
        tokens += [part.weight, _prefix(prefix)]
    return tokens
