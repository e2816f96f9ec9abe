"""Estimates how long a trial takes on this machine, from a few timed steps and one timed
evaluation."""

import time

import numpy as np
import torch

from bimix_sweep.proxy.evaluate import Evaluation
from bimix_sweep.proxy.precision import choose_precision
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.proxy.training_state import TrainingState

STEPS = 8
"""Number of timed steps; as many steps before them are not timed."""


def training_seconds(
    spec: ProxySpec, *, device: str, num_targets: int, validation_tokens: int
) -> float:
    """Estimated seconds of a trial that runs alone, uncompiled; measured on random tokens.

    Args:
        spec: the proxy.
        device: "cpu" or "cuda".
        num_targets: number of validation sets measured at each point.
        validation_tokens: tokens of each validation set.
    """
    generator = np.random.default_rng(0)
    state = TrainingState(
        spec, 0, torch.device(device), {**choose_precision(spec, device), "compile": False}
    )
    rows = torch.from_numpy(generator.integers(0, spec.vocabulary, (spec.batch, spec.context + 1)))
    times = []
    for _ in range(2 * STEPS):
        start = time.perf_counter()
        float(state.advance(rows))  # waits for a GPU
        times.append(time.perf_counter() - start)
    step = float(np.median(times[STEPS:]))
    shape = (max(1, validation_tokens // spec.context), spec.context + 1)
    held_out = {"text": generator.integers(0, spec.vocabulary, shape, dtype=np.uint32)}
    evaluation = Evaluation(spec, held_out, state.device, state.dtype)
    start = time.perf_counter()
    evaluation.losses(state.average)
    point = num_targets * (time.perf_counter() - start)
    return spec.steps * step + len(spec.eval_steps()) * point


def visible_gpus() -> list[str]:
    """Names of the GPUs that torch can use."""
    return (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if torch.cuda.is_available()
        else []
    )
