"""State of a trial while it trains: AdamW at a constant learning rate, and a power average of the
weights.

The module changes no global state: the caller sets the number of threads, seeds are passed to
generators, and one process can run many trials.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bimix_sweep.proxy.checkpoint import Checkpoint
from bimix_sweep.proxy.model import causal, initial, rotary, views
from bimix_sweep.proxy.precision import dtype_of, loss_of
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.seeding import seed_for

ADAM_EPSILON = 1e-8
"""Epsilon of AdamW."""
FREED_BYTES = 31 * 2**20
"""Bytes freed once at the start, so that glibc keeps freed memory in the process
(docs/evidence.md)."""


class TrainingState:
    """State of a trial: weights, their average and AdamW's moments, each one flat float32 vector.

    `working` is the copy of the weights that the model computes with, in the chosen dtype.
    """

    def __init__(
        self, spec: ProxySpec, seed: int, device: torch.device, precision: Mapping[str, Any] | None
    ) -> None:
        self.spec, self.device, self.step = spec, device, 0
        self.dtype, self.loss = dtype_of(precision), loss_of(precision)
        torch.empty(FREED_BYTES, dtype=torch.uint8)
        generator = torch.Generator().manual_seed(seed_for(seed, "weights"))
        self.flat = initial(spec, generator).to(device)
        self.average = self.flat.clone()
        self.first_moment, self.second_moment = (
            torch.zeros_like(self.flat),
            torch.zeros_like(self.flat),
        )
        self.working = self.flat.to(self.dtype, copy=True)
        self.gradient = torch.zeros_like(self.working)
        self.weights = {
            name: weight.detach().requires_grad_()
            for name, weight in views(self.working, spec).items()
        }
        for weight, gradient in zip(
            self.weights.values(), views(self.gradient, spec).values(), strict=True
        ):
            weight.grad = gradient  # backward adds to this view in place
        self.position, self.mask = (
            rotary(spec, device, self.dtype),
            causal(spec, device, self.dtype),
        )
        self.gamma = _power(spec.ema_share)
        self.identity = {
            "spec": spec.to_json(),
            "dtype": str(self.dtype),
            "compiled": bool((precision or {}).get("compile")),
        }
        """Spec and precision, JSON-able; a checkpoint of this state states them."""

    def advance(self, rows: Tensor) -> Tensor:
        """Does one step of AdamW on (B, T + 1) tokens.

        Returns:
            The loss before the step, a scalar tensor; the device is not synchronised.
        """
        spec, tokens = self.spec, rows.to(self.device)
        self.gradient.zero_()
        loss = self.loss(self.weights, tokens, spec, self.position, self.mask)
        loss.backward()  # type: ignore[no-untyped-call]
        self.step += 1
        rate = spec.learning_rate * min(1.0, self.step / max(1, spec.warmup))
        with torch.no_grad():
            gradient = self.gradient.float()
            gradient *= (spec.clip / (torch.linalg.vector_norm(gradient) + 1e-6)).clamp(max=1.0)
            self.first_moment.lerp_(gradient, 1 - spec.beta1)
            self.second_moment.mul_(spec.beta2).addcmul_(gradient, gradient, value=1 - spec.beta2)
            scale = (self.second_moment / (1 - spec.beta2**self.step)).sqrt_().add_(ADAM_EPSILON)
            self.flat.mul_(1 - rate * spec.weight_decay)
            self.flat.addcdiv_(self.first_moment, scale, value=-rate / (1 - spec.beta1**self.step))
            keep = (1 - 1 / self.step) ** (self.gamma + 1)
            self.average.lerp_(self.flat, 1 - keep)
            self.working.copy_(self.flat)
        return loss.detach()

    def checkpoint(
        self, identity: Mapping[str, Any], points: Mapping[int, Mapping[str, float]]
    ) -> Checkpoint:
        """The checkpoint of the current state."""
        return Checkpoint(
            identity=identity,
            step=self.step,
            points=points,
            weights=self.flat,
            average=self.average,
            first_moment=self.first_moment,
            second_moment=self.second_moment,
        )

    def restore(self, stored: Checkpoint) -> None:
        """Replaces the state by that of a checkpoint."""
        self.step = stored.step
        for vector, value in (
            (self.flat, stored.weights),
            (self.average, stored.average),
            (self.first_moment, stored.first_moment),
            (self.second_moment, stored.second_moment),
        ):
            vector.copy_(value)
        self.working.copy_(self.flat)


def _power(spread: float) -> float:
    """Computes the exponent gamma of the power average whose weights have this standard deviation.

    The average at step t gives step s the weight (s / t)^gamma. The standard deviation of these
    weights, as a proportion of t, is sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)).

    Source: Karras et al., arXiv:2312.02696, section 3.1.
    """
    low, high = 0.0, 1e4
    while high - low > 1e-9 * high:
        gamma = (low + high) / 2
        low, high = (
            (gamma, high)
            if ((gamma + 1) ** 0.5 / ((gamma + 2) * (gamma + 3) ** 0.5)) > spread
            else (low, gamma)
        )
    return low
