"""Planted laws of proxies with two sizes, or with two numbers of steps, without a cluster: the optimum
of each moves with its axis."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import optimize

from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.mixture.domains import DomainSet

NAMES = ("code", "docs", "web")
HELP = np.array([[1.0, 0.2, 0.05], [0.1, 1.0, 0.3], [0.02, 0.25, 1.0]])
POWER = np.array([0.3, 0.15, 0.2])
SMALL, LARGE = 1e5, 4e5
SHORT, LONG = 200, 800
DOMAINS = DomainSet(names=NAMES, tokens=(1e9, 3e9, 6e9))
COMMON = {
    "domains": DOMAINS,
    "targets": NAMES,
    "weights": dict.fromkeys(NAMES, 1.0),
    "own": {n: n for n in NAMES},
    "steps": LONG,
    "size": LARGE,
    "seed": 7,
    "max_trials": 60,
    "tolerance": 1e-9,
}
SIZES = SweepSpec(smaller=(SMALL,), eval_steps=(100, 200, 400, 800), min_step=100, **COMMON)
"""Two sizes."""
STEPS = SweepSpec(shorter=(SHORT,), eval_steps=(200, 320, 500, 800), min_step=200, **COMMON)
"""Two numbers of steps."""
FOUR = replace(STEPS, smaller=(SMALL,))
"""Two sizes and two numbers of steps."""

GROWTH = np.array([0.12, -0.08, -0.1])
"""Growth of each target's slope with size."""
SIZE_LEVEL = np.array([0.09, 0.36, 0.18])
"""Scale of each target's level over sizes."""
FALL = np.array([[0.2, 0.35], [0.7, 0.9], [0.4, 0.6]])
"""Scale and power of each target's fall with the step."""


def losses_by_size(shares, step, size):
    """(3,) planted losses of one mixture; their optimum moves with size."""
    useful = 0.03 + HELP @ np.asarray(shares) ** 0.9
    return (
        3
        * useful ** -(POWER * (size / LARGE) ** GROWTH)
        * (1 + 0.4 * (step / 200) ** -0.6 + SIZE_LEVEL * (size / LARGE) ** -0.34)
    )


def losses_by_step(shares, step, size):
    """(3,) planted losses of one mixture; their optimum moves with the step."""
    useful = 0.03 + HELP @ np.asarray(shares) ** 0.9
    return (
        3
        * useful**-POWER
        * (1 + FALL[:, 0] * (step / 200) ** -FALL[:, 1] + 0.2 * (size / LARGE) ** -0.34)
    )


@dataclass(frozen=True, eq=False)
class Planted:
    """A planted law with a cheap fidelity and the target fidelity."""

    axis: str
    """Field of a trial that has two values: "size" or "steps"."""
    several: SweepSpec
    """Sweep of both fidelities."""
    losses: Callable
    """Planted losses of (shares, step, size)."""
    points: tuple[float, ...]
    """Steps of the points, fractions of a trial's own steps."""
    cheap: float
    """Value of the axis at the cheap fidelity."""
    dear: float
    """Value of the axis at the target fidelity."""

    @property
    def alone(self) -> SweepSpec:
        """Sweep of the target fidelity alone."""
        return replace(self.several, smaller=(), shorter=())

    def best(self, value: float) -> optimize.OptimizeResult:
        """Planted optimum at a value of the axis."""
        return _best(self, value)

    def mean(self, shares, value: float) -> float:
        """Planted objective at a value of the axis."""
        at = {"step": LONG, "size": LARGE} | {self._argument: value}
        return float(self.losses(shares, **at).mean())

    @property
    def _argument(self) -> str:
        return "step" if self.axis == "steps" else "size"

    def regret(self, shares) -> float:
        """Regret of a mixture at the target fidelity."""
        return self.mean(shares, self.dear) / self.best(self.dear).fun - 1

    def train(self, state, proposal):
        """Offsets of targets and trials are a function of the spec's seed and the trial."""
        generator, record = (
            np.random.default_rng([state.spec.seed, *proposal.trial.encode()]),
            state.trials[proposal.trial],
        )
        offset = generator.normal(0, 0.003, 3)
        for part in self.points:
            step = round(part * record.steps)
            losses = self.losses(proposal.mixture.as_array(), step, record.size) * np.exp(
                offset + generator.normal(0, 0.00075, 3)
            )
            state.record(proposal.trial, step, dict(zip(NAMES, map(float, losses), strict=True)))
        state.finish(proposal.trial)

    def sweep(self, spec, cost):
        """A sweep until its trials cost as much as so many at the target fidelity."""
        state, spent = SweepState(spec), 0.0
        while spent < cost:
            proposal = state.propose(f"t{len(state.trials)}")
            self.train(state, proposal)
            spent += spec.cost_of(state.trials[proposal.trial].fidelity)
        return state


@cache
def _best(planted: Planted, value: float) -> optimize.OptimizeResult:
    return optimize.minimize(
        lambda x: planted.mean(x, value),
        np.full(3, 1 / 3),
        method="SLSQP",
        bounds=[(1e-6, 1)] * 3,
        constraints=[{"type": "eq", "fun": lambda x: x.sum() - 1}],
    )


BY_SIZE = Planted("size", SIZES, losses_by_size, (0.125, 0.25, 0.5, 1), SMALL, LARGE)
BY_STEPS = Planted("steps", STEPS, losses_by_step, (0.25, 0.4, 0.625, 1), SHORT, LONG)
