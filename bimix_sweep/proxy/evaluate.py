"""Measures the losses of a set of weights on fixed validation sets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bimix_sweep.errors import DataError
from bimix_sweep.proxy.model import causal, chunk_rows, hidden, rotary, views
from bimix_sweep.proxy.spec import ProxySpec, too_short

BATCH = 8
"""Sequences evaluated at once."""


class Evaluation:
    """Validation sets, cut into sequences once and evaluated in the precision of the trial."""

    def __init__(
        self,
        spec: ProxySpec,
        validation: Mapping[str, npt.NDArray[np.unsignedinteger[Any]]],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Cut each validation set, (tokens,), into sequences of the context.

        The last tokens of a set, which do not fill a sequence, are left out.

        Raises:
            DataError: a set is shorter than one sequence or holds a token that is not in the
                vocabulary.
        """
        self.spec, self.dtype = spec, dtype
        self.position, self.mask = rotary(spec, device, dtype), causal(spec, device, dtype)
        self.sequences: dict[str, Tensor] = {}
        for name, tokens in validation.items():
            if line := too_short(name, len(tokens), spec.context):
                raise DataError(line)
            count = (len(tokens) - 1) // spec.context
            if tokens.max() >= spec.vocabulary:
                raise DataError(
                    f"target {name} holds token {tokens.max()}; the model's vocabulary is "
                    f"{spec.vocabulary}"
                )
            flat = torch.from_numpy(np.asarray(tokens[: count * spec.context + 1]).astype(np.int64))
            self.sequences[name] = flat.unfold(0, spec.context + 1, spec.context).to(device)

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
