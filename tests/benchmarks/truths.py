"""Simulated truths: functions from mixtures to losses, each of another family, each trained on all 512 published 1M runs (17 domains, 13 targets).

law-like   our transfer law + the Gaussian process on its residual (circular by design: the easy case)
alien      a Gaussian process with a constant mean, which no mixing law fits
boosted    LightGBM for each target, smoothed by a kernel interpolation of its predictions at 1500 random mixtures
net        a small tanh network on square roots of proportions
log-linear c + exp(t.r) for each target
"""

import csv
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import linalg, optimize

from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.objective import Objective
from bimix_sweep.law.optimum.solver import minimise
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng
from tests.benchmarks.recording import shared

FAMILIES = ("law-like", "alien", "boosted", "net", "log-linear")
STEP = 1000.0


@cache
def published(split: str = "train", size: str = "1m") -> LossTable:
    """The 512 runs ("train") or the 256 others ("test", "1m" or "60m") of the published 17-domain swarm."""
    parts = []
    for what in ("mixture", "pile_loss"):
        with shared("regmix", f"{split}_{what}_{size}.csv").open() as file:
            parts.append({row["index"]: row for row in csv.DictReader(file)})
    mixtures, losses = parts
    keys = [key for key in mixtures if key in losses]
    domains = [name for name in mixtures[keys[0]] if name.startswith("train_")]
    targets = [name for name in losses[keys[0]] if name != "index"]
    shares = np.array([[float(mixtures[key][name]) for name in domains] for key in keys])
    missing = np.full(len(keys), np.nan)
    return LossTable(
        domains=tuple(map(_short, domains)),
        targets=tuple(map(_short, targets)),
        trials=tuple(keys),
        steps=np.full(len(keys), STEP),
        sizes=missing,
        seeds=missing,
        proportions=shares / shares.sum(axis=1, keepdims=True),
        losses=np.array([[float(losses[key][name]) for name in targets] for key in keys]),
    )


def _short(name: str) -> str:
    return (
        name.replace("train_the_pile_", "").replace("metric/the_pile_", "").replace("_val_loss", "")
    )


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A planted world: losses without noise, and the best mean loss any mixture has in it."""

    family: str
    domains: tuple[str, ...]
    targets: tuple[str, ...]
    log_losses: Callable[[Array], Array]
    """(n, domains) -> (n, targets)."""
    best: float = np.nan
    """Smallest mean loss found by many starts."""

    def objective(self, mixtures: Array) -> Array:
        return np.exp(self.log_losses(np.atleast_2d(mixtures))).mean(axis=1)

    def regret(self, mixture: Array) -> float:
        return float(self.objective(mixture)[0] / self.best - 1)

    def measured(
        self, mixture: Array, generator: np.random.Generator, noise: float
    ) -> dict[str, float]:
        """One run: log losses with a relative noise of standard deviation `noise`, a fifth of its variance shared by the targets."""
        count = len(self.targets)
        scatter = noise * (
            np.sqrt(0.8) * generator.standard_normal(count)
            + np.sqrt(0.2) * generator.standard_normal()
        )
        return dict(
            zip(
                self.targets,
                map(float, np.exp(self.log_losses(mixture[None])[0] + scatter)),
                strict=True,
            )
        )


@cache
def truth(family: str) -> Truth:
    """The world of one family, trained once a process."""
    table = published()
    r, y = table.proportions, np.log(table.losses)
    made = Truth(
        family=family,
        domains=table.domains,
        targets=table.targets,
        log_losses=_FAMILIES[family](r, y, table),
    )
    return replace(made, best=_lowest(made, r))


def _law_like(r: Array, y: Array, table: LossTable) -> Callable[[Array], Array]:
    law = fit_law(table)
    return lambda x: np.log(law.predict(x, np.full(len(x), STEP)))


def _alien(r: Array, y: Array, table: LossTable) -> Callable[[Array], Array]:
    return _interpolated(r, y, length=0.5, noise=0.02)


def _boosted(r: Array, y: Array, table: LossTable) -> Callable[[Array], Array]:
    import lightgbm

    generator = rng(0, "boosted")
    more = np.concatenate(
        [generator.dirichlet(np.full(r.shape[1], k), 500) for k in (0.1, 0.4, 1.5)]
    )
    columns = []
    for target in y.T:
        model = lightgbm.LGBMRegressor(
            n_estimators=400,
            learning_rate=0.03,
            num_leaves=15,
            min_child_samples=8,
            verbose=-1,
            n_jobs=1,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            columns.append(np.asarray(model.fit(r, target).predict(more)))
    return _interpolated(more, np.stack(columns, axis=1), length=0.35, noise=0.1)


def _net(r: Array, y: Array, table: LossTable) -> Callable[[Array], Array]:
    from sklearn.neural_network import MLPRegressor

    mean, sd = y.mean(axis=0), y.std(axis=0)
    net = MLPRegressor(
        hidden_layer_sizes=(48, 48),
        activation="tanh",
        alpha=3e-3,
        solver="lbfgs",
        max_iter=600,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(np.sqrt(r), (y - mean) / sd)
    return lambda x: np.asarray(net.predict(np.sqrt(np.maximum(x, 0)))) * sd + mean


def _log_linear(r: Array, y: Array, table: LossTable) -> Callable[[Array], Array]:
    params = []
    for losses in np.exp(y).T:

        def residual(p: Array, losses: Array = losses) -> Array:
            return np.asarray((p[0] + np.exp(np.clip(p[1] + r @ p[2:], -30, 8))) / losses - 1)

        start = np.append([losses.min() * 0.8, np.log(losses.mean() * 0.4)], np.zeros(r.shape[1]))
        params.append(optimize.least_squares(residual, start, max_nfev=200).x)
    p = np.array(params)
    floors, intercepts, slopes = p[:, 0], p[:, 1], p[:, 2:]

    def log_losses(x: Array) -> Array:
        exponents = np.clip(intercepts + x @ slopes.T, -30, 8)
        return np.asarray(np.log(np.maximum(floors + np.exp(exponents), 0.05)))

    return log_losses


def _interpolated(r: Array, y: Array, *, length: float, noise: float) -> Callable[[Array], Array]:
    """Mean of a Gaussian process with a constant mean, RBF on sqrt(r); `noise` is the noise's variance over the process's."""
    mean = y.mean(axis=0)
    factor = linalg.cho_factor(_kernel(r, r, length) + noise * np.eye(len(r)))
    weights = linalg.cho_solve(factor, y - mean)
    return lambda x: _kernel(x, r, length) @ weights + mean


def _kernel(a: Array, b: Array, length: float) -> Array:
    left, right = np.sqrt(np.maximum(a, 0)), np.sqrt(np.maximum(b, 0))
    squared = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None] - 2 * left @ right.T
    return np.asarray(np.exp(-np.maximum(squared, 0) / (2 * length**2)))


_FAMILIES = {
    "law-like": _law_like,
    "alien": _alien,
    "boosted": _boosted,
    "net": _net,
    "log-linear": _log_linear,
}


def _lowest(truth: Truth, measured: Array) -> float:
    """The smallest mean loss over descents from the best random and measured mixtures."""
    generator, count = rng(0, "lowest"), len(truth.domains)

    def losses(points: Array) -> tuple[Array, Array]:
        steps = 1e-5
        grid = np.concatenate([points, *(points + steps * row for row in np.eye(count))])
        value = truth.objective(grid).reshape(count + 1, len(points))
        return value[0][:, None], ((value[1:] - value[0]) / steps).T[:, None, :]

    broad = np.concatenate([generator.dirichlet(np.full(count, k), 4000) for k in (0.1, 0.3, 1.0)])
    starts = [x[np.argsort(truth.objective(x))[:k]] for x, k in ((broad, 6), (measured, 4))]
    objective = Objective(losses=losses, weights=np.ones(1))
    found = [
        minimise(objective, np.zeros(count), np.ones(count), start, 1e-6, 40).value
        for start in np.concatenate(starts)
    ]
    return min(found)


def spec(truth: Truth, **changes: object) -> SweepSpec:
    """A sweep in a simulated world: one point a trial, all targets alike."""
    domains = DomainSet(names=truth.domains)
    given = {
        "domains": domains,
        "targets": truth.targets,
        "weights": dict.fromkeys(truth.targets, 1.0),
        "own": {t: t for t in truth.targets if t in truth.domains},
        "steps": int(STEP),
        "size": 1e6,
        "max_trials": 128,
        "patience": 3,
        "tolerance": 0.002,
        **changes,
    }
    return SweepSpec(**given)  # type: ignore[arg-type]


def advance(state: SweepState, truth: Truth, noise: float, until: int) -> None:
    """Run a simulated sweep on, `slots` trials at a time, until so many have finished."""
    while (done := sum(record.state == "finished" for record in state.trials.values())) < until:
        batch = []
        for _ in range(min(state.spec.slots, until - done)):
            proposal = state.propose(f"t{len(state.trials)}")
            if proposal is None:
                break
            batch.append(proposal)
        if not batch:
            return
        for proposal in batch:
            generator = rng(state.spec.seed, "noise", proposal.trial)
            losses = truth.measured(proposal.mixture.as_array(truth.domains), generator, noise)
            state.record(proposal.trial, int(STEP), losses)
            state.finish(proposal.trial)
