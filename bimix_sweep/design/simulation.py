"""Simulation of a sweep before it runs: which regret to expect, on worlds drawn from the stated
priors.

No loss is known yet. Therefore worlds are drawn as `law.model.priors` states them (a transfer law
for each target, with a common part and a part of its own) and as `law.model.discrepancy` states the
discrepancy GP, with this sweep's domains, targets, bounds and weights. In each world the planning
loop of a sweep runs, and its measurements have the noise of real trials. The simulation returns the
regret of the predicted optimum relative to the world's own optimum. Loss curves have one point, the
last, which contributes most to a decision. Where proxies have several sizes, or several numbers of
steps, the worlds have a size axis, or a step axis, as the priors state it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.design.initial_design import random_mixtures
from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.law.fitting.discrepancy_fit import LENGTHSCALES
from bimix_sweep.law.fitting.marginal_likelihood import FRACTION_PENALTY, GP_FRACTIONS
from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.law_inputs import LawInputs, log_proportions
from bimix_sweep.law.model.priors import Problems
from bimix_sweep.law.model.shared_values import expected
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.goals import PLAIN
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.seeding import rng

SHARED_NOISE = 0.2
"""Fraction of the noise variance that all targets of a trial have in common."""
CHECKPOINTS = (8, 16, 32, 64, 128)
"""Numbers of trials after which the simulation evaluates its predicted optimum; the budget is one
more such number."""
FEATURES = 256
"""Number of random cosines (random Fourier features) that make up a draw of the discrepancy GP."""
LARGEST_LOSS = 10.0
"""Largest loss of a drawn world, whose losses are about 1 at the target fidelity. An untrained
model has log(vocabulary), a few times the loss of a trained one; the law's powers of steps and
sizes have no such limit and overflow at extreme ratios."""
MAX_SIMULATED = 32
"""Largest number of simulated sweeps; more sweeps change nothing that a plan needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRegret:
    """Regret of the simulated sweeps after a number of trials."""

    trials: int
    """Number of finished trials of the sweep."""
    mean: float
    """Mean over sweeps of the regret of the predicted optimum, a fraction of its loss."""
    worst: float
    """Largest regret of the sweeps."""
    stated: float
    """Mean of the expected regret that the sweeps computed for themselves, by which a sweep
    stops."""
    num_sweeps: int
    """Number of simulated sweeps that reached this number of trials."""
    cost: float
    """Mean cost of this number of trials, in units of one trial at the target fidelity."""


def simulate(spec: SweepSpec, *, noise: float, seconds: float) -> list[PlannedRegret]:
    """Simulates as many sweeps in drawn worlds as fit into a time.

    Args:
        spec: the sweep; its stopping rule is left out.
        noise: relative standard deviation of one measured loss.
        seconds: approximate time limit; at least one sweep is started.

    Returns:
        One entry for each checkpoint that was reached, in order of the number of trials.
    """
    until = time.monotonic() + seconds
    whole: dict[int, list[list[float]]] = {}
    cut: dict[int, list[list[float]]] = {}
    checkpoints = sorted(
        {*(n for n in CHECKPOINTS if spec.num_initial < n < spec.max_trials), spec.max_trials}
    )
    for number in range(MAX_SIMULATED):
        reached = list(_sweep(spec, noise, number, checkpoints, until))
        for trials, *values in reached:
            complete = reached[-1][0] == checkpoints[-1]
            (whole if complete else cut).setdefault(trials, []).append(values)
        if time.monotonic() > until:
            break
    return [
        PlannedRegret(
            trials=trials,
            mean=float(real.mean()),
            worst=float(real.max()),
            stated=float(stated.mean()),
            num_sweeps=len(real),
            cost=float(cost.mean()),
        )
        for trials, (real, stated, cost) in sorted(
            (trials, np.array(values).T) for trials, values in (whole or cut).items()
        )
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A drawn law for every target."""

    params: Array
    """(targets, parameters) rows of the transfer law; the columns for steps and sizes are left out
    where there is one number of steps or one size."""
    target_fidelity: Fidelity
    """Target fidelity; its size is the reference size N0."""
    log_step: float
    """log s0, the mean of log steps over the numbers of steps."""
    amplitude: Array
    """(targets,) standard deviation of the discrepancy of a log loss."""
    frequencies: Array
    """(targets, FEATURES, domains) frequencies of the cosines over square roots of proportions."""
    phases: Array
    """(targets, FEATURES) phases of the cosines."""
    weights: Array
    """(targets,) weights of the targets, sum 1."""
    worst: bool
    """Whether the objective is the largest product of a target's loss and its weight over the mean
    weight, instead of the weighted mean."""

    @classmethod
    def draw(cls, spec: SweepSpec, noise: float, generator: np.random.Generator) -> "World":
        """Draws one world; loss levels are about 1, since only ratios of losses matter.

        The fraction of the variance between trials that is discrepancy is drawn from the prior of
        the fit; the rest is noise.
        """
        names, targets = spec.domains.names, spec.targets
        count = len(targets)
        common = expected(len(names), spec.size)
        drawn = replace(
            common,
            columns=common.columns
            + common.columns_sd * generator.standard_normal(common.columns.shape[1]),
            transfer_weights=common.transfer_weights
            + common.transfer_weights_sd * generator.standard_normal(len(names)),
        )
        prior = Problems(
            level=np.zeros(count),
            own=np.array([names.index(spec.own[t]) if t in spec.own else -1 for t in targets]),
            bimix=np.zeros(count, dtype=bool),
            floor=np.zeros(count, dtype=bool),
            pivot=np.zeros(count),
            determined=np.zeros(count),
            num_domains=len(names),
            step_terms=1 if spec.shorter else 0,
            num_sizes=len(spec.sizes) if spec.smaller else 0,
            reference_size=spec.size,
        ).prior(drawn)
        params = prior.mean + prior.sd * generator.standard_normal(prior.mean.shape)
        params[:, col.LEVEL] = 0.0
        params[:, col.PIVOT] = tl.effective_proportion(
            params, log_proportions(spec.domains.uniform().as_array()[None]), np.zeros(1)
        )[1][:, 0]
        weights = np.array([spec.weights.get(target, 0.0) for target in targets])
        belief = np.exp(-FRACTION_PENALTY * GP_FRACTIONS)
        share = generator.choice(GP_FRACTIONS, size=count, p=belief / belief.sum())
        length = generator.choice(LENGTHSCALES)
        return cls(
            params=params,
            target_fidelity=spec.target_fidelity,
            log_step=float(np.log(spec.lengths).mean()),
            weights=weights / weights.sum(),
            worst=spec.objective == "worst",
            amplitude=noise * np.sqrt(share / (1 - share)),
            frequencies=generator.standard_normal((count, FEATURES, len(names))) / length,
            phases=generator.uniform(0, 2 * np.pi, (count, FEATURES)),
        )

    def losses(self, proportions: Array, fidelity: Fidelity | None = None) -> Array:
        """Computes (n, domains) -> (n, targets) losses without noise, by default at the target
        fidelity."""
        n, fidelity = len(proportions), fidelity or self.target_fidelity
        design = LawInputs(
            log_proportions=log_proportions(proportions),
            mixture=np.arange(n),
            stage=np.zeros(n, dtype=np.int64),
            log_step=np.log([fidelity.steps]) - self.log_step,
            log_size=np.log([fidelity.size / self.target_fidelity.size]),
        )
        waves = np.cos(
            np.sqrt(proportions) @ self.frequencies.transpose(0, 2, 1) + self.phases[:, None, :]
        )
        discrepancies = self.amplitude * np.sqrt(2 / FEATURES) * waves.sum(axis=2).T
        return np.asarray(
            np.exp(
                np.minimum(
                    tl.evaluate(self.params, design, ()).log_loss.T + discrepancies,
                    np.log(LARGEST_LOSS),
                )
            )
        )

    def objective(self, proportions: Array) -> Array:
        """Computes (n, domains) -> (n,) objective at the target fidelity."""
        losses = self.losses(proportions)
        if self.worst:
            return np.asarray((losses * self.weights).max(axis=1) * (self.weights > 0).sum())
        return np.asarray(losses @ self.weights)

    def pulled(self, spec: SweepSpec, proportions: Array) -> Array:
        """Computes (n, domains) -> (n,) objective with the pull to the sweep's prior."""
        mixtures = [Mixture.from_array(spec.domains.names, row) for row in proportions]
        pulls = np.array([spec.pull(one) for one in mixtures])
        return np.asarray(self.objective(proportions) + pulls)

    def best(self, spec: SweepSpec, generator: np.random.Generator) -> float:
        """Returns the lowest objective inside the bounds, the pull to a prior included: descends
        (SLSQP) from the best of many random mixtures."""
        domains = spec.domains
        if spec.prior is not None and spec.kl > 0:
            held = spec.prior.as_array(domains.names) > 0
            domains = replace(domains, upper=tuple(np.where(held, domains.upper, 0.0)))
        candidates = np.concatenate(
            [random_mixtures(domains, generator, 2000), domains.uniform().as_array()[None]]
        )
        values = self.pulled(spec, candidates)
        start = candidates[np.argmin(values)]
        solved = optimize.minimize(
            lambda r: float(
                self.pulled(spec, (np.maximum(r, 0) / np.maximum(r, 0).sum())[None])[0]
            ),
            start,
            method="SLSQP",
            options={"maxiter": 100, "ftol": 1e-10},
            bounds=list(zip(domains.lower_array, domains.upper_array, strict=True)),
            constraints={"type": "eq", "fun": lambda r: r.sum() - 1},
        )
        inside = abs(solved.x.sum() - 1) < 1e-6
        return float(min(values.min(), solved.fun)) if inside else float(values.min())


def _sweep(
    spec: SweepSpec, noise: float, number: int, checkpoints: list[int], until: float
) -> Iterator[tuple[int, float, float, float]]:
    """Yields (trials, regret of the predicted optimum, expected regret, cost) at each checkpoint
    that one simulated sweep reaches in time."""
    generator = rng(spec.seed, "planning", number)
    world = World.draw(spec, noise, generator)
    best = world.best(spec, generator)
    state = SweepState(
        replace(
            spec,
            goals=dict.fromkeys(spec.targets, PLAIN),  # a world's losses are plain losses
            final=None,  # nothing wears off in a world: its caps are in the domains
            unique_tokens={},
            seed=int(generator.integers(2**31)),
            eval_steps=(spec.steps,),
            min_step=0,
        )
    )
    done, cost = 0, 0.0
    while done < spec.max_trials:
        batch = []
        for slot in range(min(spec.slots, spec.max_trials - done)):
            if (proposal := state.propose(f"t{done + slot}")) is None:
                return
            batch.append(proposal)
        for proposal in batch:
            scatter = (
                np.sqrt(1 - SHARED_NOISE) * generator.standard_normal(len(spec.targets))
                + np.sqrt(SHARED_NOISE) * generator.standard_normal()
            )
            mixture = proposal.mixture.as_array(spec.domains.names)[None]
            fidelity = spec.fidelity_of(proposal)
            measured = world.losses(mixture, fidelity)[0] * np.exp(noise * scatter)
            cost += spec.cost_of(fidelity)
            state.record(
                proposal.trial,
                int(fidelity.steps),
                dict(zip(spec.targets, map(float, measured), strict=True)),
            )
            state.finish(proposal.trial)
            done += 1
        passed = [count for count in checkpoints if done - len(batch) < count <= done]
        if passed and (refit := state.refit()).optimum is not None:
            mixture = refit.optimum.mixture.as_array(spec.domains.names)[None]
            regret = max(0.0, float(world.pulled(spec, mixture)[0]) / best - 1)
            yield from ((count, regret, refit.optimum.regret.expected, cost) for count in passed)
        if time.monotonic() > until:
            return
