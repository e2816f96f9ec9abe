"""Runs one trial: measures the losses of the averaged weights during the trial, writes checkpoints,
and resumes exactly."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bimix_sweep.data.stream import MixtureStream
from bimix_sweep.errors import DivergedError, TrainingError
from bimix_sweep.mixture.goals import why_refused
from bimix_sweep.proxy import checkpoint
from bimix_sweep.proxy.evaluate import Evaluation
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.proxy.training_state import TrainingState

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
    """Runs a trial, or continues it from the checkpoint in `checkpoint_dir`.

    A trial that was stopped and continued gives bit for bit the numbers of an uninterrupted one.

    Args:
        spec: the model and the settings of the training.
        stream: the batches of the trial; their batch and context are those of the spec.
        validation: {target: (rows, context + 1)}.
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
        DivergedError: a loss is not finite, or is outside the range of losses.
        TrainingError: the checkpoint belongs to another trial, or stream and spec do not fit
            together.
    """
    _check_stream(spec, stream)
    state = TrainingState(spec, seed, torch.device(device), precision)
    evaluation = Evaluation(spec, validation, state.device, state.dtype)
    identity = {"seed": seed, "stream": stream.fingerprint(), "targets": [*validation]}
    keeper = _CheckpointKeeper(state, checkpoint_dir, identity)
    for step, losses in keeper.points.items():
        report(step, losses)
    return _run(
        stream,
        evaluation,
        keeper,
        report=report,
        checkpoint_seconds=checkpoint_seconds,
        should_stop=should_stop,
    )


def _run(
    stream: MixtureStream,
    evaluation: Evaluation,
    keeper: "_CheckpointKeeper",
    *,
    report: Callable[[int, dict[str, float]], None],
    checkpoint_seconds: float,
    should_stop: Callable[[], bool] | None,
) -> bool:
    """Advances a trial to its last step or a stop; arguments, result and errors as for `train`."""
    state, spec = keeper.state, keeper.state.spec
    evaluated_after = set(spec.eval_steps())
    while state.step < spec.steps:
        if should_stop is not None and should_stop():
            keeper.save()
            return False
        loss = state.advance(torch.from_numpy(stream.batch_at(state.step)))
        step, evaluated = state.step, state.step in evaluated_after
        if (step % CHECK_EVERY == 0 or evaluated) and not torch.isfinite(loss):
            raise DivergedError(
                f"the training loss is {float(loss):g} at step {step}; lower the learning rate "
                f"({spec.learning_rate:g})"
            )
        if evaluated:
            keeper.points[step] = evaluation.losses(state.average)
            _check_losses(keeper.points[step], step, spec.learning_rate)
            keeper.save()
            report(step, keeper.points[step])
        elif keeper.seconds > checkpoint_seconds:
            keeper.save()
    return True


class _CheckpointKeeper:
    """Checkpoint of a trial: restores the trial when it begins, and is written while it runs."""

    def __init__(
        self, state: TrainingState, folder: str | Path | None, identity: Mapping[str, Any]
    ) -> None:
        """Restores the state from the checkpoint in `folder`, where there is one.

        Args:
            state: state of the trial at its beginning.
            folder: folder of the checkpoint; None: no checkpoint.
            identity: what the checkpoint and the trial must have in common, besides the spec and
                the precision of `state`.
        """
        self.state = state
        """State of the trial."""
        self._folder = None if folder is None else Path(folder)
        self._identity = {**state.identity, **identity}
        self.points: dict[int, dict[str, float]] = {}
        """{step: {target: loss}} of the points so far."""
        self._saved = time.monotonic()
        if self._folder is None:
            return
        stored = checkpoint.load(self._folder, self._identity, len(state.flat))
        if stored is not None:
            state.restore(stored)
            self.points = {step: dict(losses) for step, losses in stored.points.items()}

    @property
    def seconds(self) -> float:
        """Seconds since the last checkpoint, or since the beginning."""
        return time.monotonic() - self._saved

    def save(self) -> None:
        """Writes a checkpoint, where the trial has a folder for it."""
        if self._folder is not None:
            self.state.checkpoint(self._identity, self.points).save(self._folder)
        self._saved = time.monotonic()


def _check_stream(spec: ProxySpec, stream: MixtureStream) -> None:
    """Raises TrainingError where the stream does not fit the spec."""
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


def _check_losses(losses: Mapping[str, float], step: int, learning_rate: float) -> None:
    """Raises DivergedError where a loss, nats per token, is not finite or is outside the range of
    losses."""
    for target, loss in losses.items():
        if why_refused({}, target, loss):
            raise DivergedError(
                f"loss of {target} is {loss:g} at step {step}; lower the learning rate "
                f"({learning_rate:g})"
            )
