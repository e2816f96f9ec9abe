"""VeOmni: the multi-source YAML, drawn by `build_weighted_multisource_dataset`.

VeOmni's top level loads kernels for a certain release of transformers; only its data sets are imported here.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.benchmarks.proofs.job import Counts, Domain, Drawing, count, write_lengths

_HOME = Path(str((importlib.util.find_spec("veomni") or ModuleType("").__spec__).origin)).parent
for _name in ("veomni", "veomni.data", "veomni.distributed", "veomni.utils"):
    _module = ModuleType(_name)
    _module.__path__ = [str(_HOME.joinpath(*_name.split(".")[1:]))]
    sys.modules[_name] = _module


def prepare(domain: Domain, place: Path) -> Path:
    return write_lengths(domain, place)


def _tokens(row: dict[str, Any], **_: Any) -> list[dict[str, Any]]:
    """Tokens of a document, as VeOmni's transforms give them."""
    import torch

    token, length = map(int, row["text"].split())
    ids = torch.full((length,), token)
    return [{"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}]


def draw(file: Path, drawing: Drawing) -> Counts:
    from veomni.data.dataset import build_weighted_multisource_dataset

    data = build_weighted_multisource_dataset(str(file), transform=_tokens, seed=1)
    rows = (row[0] if isinstance(row, list) else row for row in data)
    return count((row["input_ids"] for row in rows), drawing)
