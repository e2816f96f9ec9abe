"""Runs one trial: constant learning rate, power average of the weights, and exact resume.

The losses of the averaged weights are measured during the trial. The module changes no global
state: the caller sets the number of threads, seeds are passed to generators, and one process can
run many trials.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bimix_sweep.data.stream import MixtureStream
from bimix_sweep.errors import DivergedError, TrainingError
from bimix_sweep.proxy import checkpoint
from bimix_sweep.proxy.checkpoint import Checkpoint
from bimix_sweep.proxy.evaluate import Evaluation
from bimix_sweep.proxy.model import causal, initial, rotary, views
from bimix_sweep.proxy.precision import dtype_of, loss_of
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.seeding import seed_for

ADAM_EPSILON = 1e-8
"""Epsilon of AdamW."""
FREED_BYTES = 31 * 2**20
"""Bytes freed once at the start, so that glibc keeps freed memory in the process
(docs/evidence.md)."""
CHECK_EVERY = 20
"""Steps between checks of the training loss; on a GPU each check waits for the device."""


def train(
    spec: ProxySpec,
    stream: MixtureStream,
    validation: Mapping[str, npt.NDArray[np.unsignedinteger[Any]]],
    *,
    seed: int,
    report: Callable[[int, dict[str, float]], None],
    device: str = "cpu",
    precision: Mapping[str, Any] | None = None,
    checkpoint_dir: str | Path | None = None,
    checkpoint_seconds: float = 30.0,
    should_stop: Callable[[], bool] | None = None,
) -> bool:
    """Run a trial, or continue it from the checkpoint in `checkpoint_dir`.

    A trial that was stopped and continued gives bit for bit the same numbers as one that was not
    stopped.

    Args:
        spec: the model and the settings of the training.
        stream: the batches of the trial; their batch and context are those of the spec.
        validation: {target: (tokens,)}.
        seed: seed of the initial weights.
        report: called with a step and {target: nats per token} at each of `spec.eval_steps()`.
            After a resume, it is called again with the same numbers for the points before the
            checkpoint, so that no point is lost.
        device: "cpu" or "cuda".
        precision: a record of `choose_precision`, the same for all trials of a sweep; float32
            without it.
        checkpoint_dir: folder of the checkpoint, which is written at each point, every
            `checkpoint_seconds` and on a stop; None: no checkpoint.
        checkpoint_seconds: maximum seconds between two checkpoints.
        should_stop: called before every step; on True the trial writes a checkpoint and returns.

    Returns:
        True if the last step is done, False if the trial was stopped before it.

    Raises:
        DivergedError: a loss is not finite.
        TrainingError: the checkpoint belongs to another trial, or stream and spec do not fit
            together.
    """
    if (stream.batch, stream.context) != (spec.batch, spec.context):
        raise TrainingError(
            f"the stream gives {stream.batch} x {stream.context} tokens a step and the proxy takes "
            f"{spec.batch} x {spec.context}; need the same"
        )
    if stream.store.vocabulary > spec.vocabulary:
        raise TrainingError(
            f"the store has {stream.store.vocabulary} token ids and the proxy {spec.vocabulary}; "
            "need as many"
        )
    state = TrainingState(spec, seed, torch.device(device), precision)
    evaluation = Evaluation(spec, validation, state.device, state.dtype)
    identity = {
        "spec": spec.to_json(),
        "seed": seed,
        "dtype": str(state.dtype),
        "compiled": bool((precision or {}).get("compile")),
        "stream": stream.fingerprint(),
        "targets": [*validation],
    }
    folder = None if checkpoint_dir is None else Path(checkpoint_dir)
    points: dict[int, dict[str, float]] = {}
    if (
        folder is not None
        and (found := checkpoint.load(folder, identity, len(state.flat))) is not None
    ):
        state.restore(found)
        points = {step: dict(losses) for step, losses in found.points.items()}
        for step, losses in points.items():
            report(step, losses)

    def save() -> None:
        if folder is not None:
            state.checkpoint(identity, points).save(folder)

    evaluated_after = set(spec.eval_steps())
    saved = time.monotonic()
    while state.step < spec.steps:
        if should_stop is not None and should_stop():
            save()
            return False
        loss = state.advance(torch.from_numpy(stream.batch_at(state.step)))
        step = state.step
        if (step % CHECK_EVERY == 0 or step in evaluated_after) and not torch.isfinite(loss):
            raise DivergedError(
                f"the training loss is {float(loss):g} at step {step}; lower the learning rate "
                f"({spec.learning_rate:g})"
            )
        if step in evaluated_after:
            points[step] = evaluation.losses(state.average)
            for target, value in points[step].items():
                if not np.isfinite(value):
                    raise DivergedError(
                        f"loss of {target} is {value:g} at step {step}; lower the learning rate "
                        f"({spec.learning_rate:g})"
                    )
            save()
            report(step, points[step])
            saved = time.monotonic()
        elif time.monotonic() - saved > checkpoint_seconds:
            save()
            saved = time.monotonic()
    return True


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

    def restore(self, found: Checkpoint) -> None:
        """Replaces the state by that of a checkpoint."""
        self.step = found.step
        for mine, theirs in (
            (self.flat, found.weights),
            (self.average, found.average),
            (self.first_moment, found.first_moment),
            (self.second_moment, found.second_moment),
        ):
            mine.copy_(theirs)
        self.working.copy_(self.flat)


def _power(share: float) -> float:
    """Exponent gamma of the power average whose weights have the standard deviation `share`.

    The average at step t gives step s the weight (s / t)^gamma. The standard deviation of these
    weights, as a proportion of t, is sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)).

    Source: Karras et al., arXiv:2312.02696, section 3.1.
    """
    low, high = 0.0, 1e4
    while high - low > 1e-9 * high:
        gamma = (low + high) / 2
        low, high = (
            (gamma, high)
            if ((gamma + 1) ** 0.5 / ((gamma + 2) * (gamma + 3) ** 0.5)) > share
            else (low, gamma)
        )
    return low
