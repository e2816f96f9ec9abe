"""Measures the losses of a set of weights on fixed validation sets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bimix_sweep.errors import DataError
from bimix_sweep.proxy.model import causal, chunk_rows, hidden, rotary, views
from bimix_sweep.proxy.spec import ProxySpec

BATCH = 8
"""Sequences evaluated at once."""


class Evaluation:
    """Validation sets, evaluated in the precision of the trial."""

    def __init__(
        self,
        spec: ProxySpec,
        validation: Mapping[str, npt.NDArray[np.unsignedinteger[Any]]],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Take each validation set, (rows, context + 1), to the device.

        Raises:
            DataError: a set has no row, has rows of another length, or holds a token that is not in
                the vocabulary.
        """
        self.spec, self.dtype = spec, dtype
        self.position, self.mask = rotary(spec, device, dtype), causal(spec, device, dtype)
        self.sequences: dict[str, Tensor] = {}
        for name, rows in validation.items():
            if rows.ndim != 2 or not len(rows) or rows.shape[1] != spec.context + 1:
                raise DataError(
                    f"target {name} has validation tokens of shape {rows.shape}; need rows of "
                    f"{spec.context + 1} tokens, one sequence of the context {spec.context} each"
                )
            if rows.max() >= spec.vocabulary:
                raise DataError(
                    f"target {name} holds token {rows.max()}; the model's vocabulary is "
                    f"{spec.vocabulary}"
                )
            self.sequences[name] = torch.from_numpy(rows.astype(np.int64)).to(device)

    @torch.no_grad()
    def losses(self, flat: Tensor) -> dict[str, float]:
        """{target: mean loss over its tokens, nats per token}.

        Args:
            flat: (parameters,) float32.
        """
        weights = views(flat.to(self.dtype), self.spec)
        out, chunk = {}, chunk_rows(self.spec.vocabulary)
        for name, sequences in self.sequences.items():
            total, count = 0.0, 0
            for start in range(0, len(sequences), BATCH):
                batch = sequences[start : start + BATCH]
                hidden_ND = hidden(
                    weights, batch[:, :-1], self.spec, self.position, self.mask
                ).flatten(0, 1)
                targets_N = batch[:, 1:].flatten()
                for first in range(0, len(targets_N), chunk):
                    logits = (hidden_ND[first : first + chunk] @ weights["head"].T).float()
                    total += float(
                        torch.nn.functional.cross_entropy(
                            logits, targets_N[first : first + chunk], reduction="sum"
                        )
                    )
                count += len(targets_N)
            out[name] = total / count
        return out
