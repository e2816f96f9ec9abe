"""The plan of a sweep: what it will cost and may find out, computed before anything runs."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bimix_sweep.config import SweepConfig
from bimix_sweep.design.initial_design import moved_references, too_few
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.simulation import PlannedRegret, simulate
from bimix_sweep.errors import ConfigError, DataError
from bimix_sweep.sweep.history.confirmation_trials import MAX_CONFIRMATION_TRIALS
from bimix_sweep.sweep.history.spec import sweep_spec
from bimix_sweep.sweep.run_checks import VALIDATION_TOKENS, check_before_run, estimated_tokens
from bimix_sweep.sweep.trainers.base import natural_realised
from bimix_sweep.sweep.trainers.builtin import proxy_specs

NOISE = 0.003
"""Relative standard deviation of a loss between two seeds of one mixture, typical of small proxies
on real text."""
SIMULATION_SECONDS = 45.0
"""Default limit of a simulation in seconds; enough for about 15 sweeps of 40 trials on 3
domains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cost and expected result of a sweep before it runs."""

    trials: int
    """Maximum number of proxy trials."""
    confirmation_result: int
    """Maximum number of confirmation trials."""
    steps: int
    """Optimizer steps of each trial; of the longest where there are several numbers."""
    shorter: tuple[int, ...]
    """Other numbers of steps, rising."""
    tokens: float
    """Tokens of one trial of `steps` steps."""
    sizes: tuple[float, ...]
    """Non-embedding parameters, rising."""
    slots: int
    """Number of trials at a time."""
    training_hours: float | None
    """Wall hours of one trial at the target fidelity (largest size, most steps); None where not
    known. Another trial takes the fraction given by size x steps."""
    measured: bool
    """Whether `training_hours` was measured here, not given by the user."""
    cost: float
    """Cost of the proxy trials, in units of one trial at the target fidelity. The simulated sweeps
    say how many trials of each fidelity run; without a simulation all trials after the initial ones
    are taken to be of the target fidelity."""
    core_hours: float | None
    """CPU core-hours of all trials; None where not known."""
    gpu_hours: float | None
    """GPU-hours of all trials; None where not known."""
    wall_hours: float | None
    """Maximum wall hours of the whole sweep; None where not known. No slot is idle while a mixture
    is to be tried, and the last proxy trials and the confirmation trials add their time."""
    limits: tuple[str, ...]
    """Sentences that say what a limit of the budget does to the sweep."""
    warning: str | None
    """A sentence that says what is wrong with the sweep; None where nothing is."""
    not_tested: tuple[str, ...]
    """Sentences that say how far the final run lies beyond the trials."""
    moved: str | None
    """A sentence that the uniform or the natural mixture lies outside bounds or caps; None if
    neither does."""
    realised: tuple[str, ...]
    """Sentences about proportions of the natural mixture that the shortest trial cannot realise."""
    regret: tuple[PlannedRegret, ...]
    """Regret of simulated sweeps by number of trials; empty without a simulation."""
    tolerance: float
    """Expected regret at which the sweep stops by itself."""
    earliest_stop: int
    """Number of trials before which the stopping rule never stops."""
    noise: float
    """Relative standard deviation of a loss between two seeds in the simulation."""

    @property
    def stops_at(self) -> int | None:
        """Approximate number of trials after which simulated sweeps would stop by themselves.

        None if simulated sweeps would not stop within the budget, or without a simulation.
        """
        found = next(
            (
                max(look.trials, self.earliest_stop)
                for look in self.regret
                if look.stated <= self.tolerance
            ),
            None,
        )
        return found if found is not None and found <= self.trials else None

    def to_json(self) -> dict[str, Any]:
        """Returns all fields and `stops_at` as JSON-able values."""
        return asdict(self) | {
            "limits": list(self.limits),
            "not_tested": list(self.not_tested),
            "realised": list(self.realised),
            "sizes": list(self.sizes),
            "shorter": list(self.shorter),
            "regret": [asdict(look) for look in self.regret],
            "stops_at": self.stops_at,
        }


@dataclass(frozen=True, kw_only=True)
class _Proxies:
    """The facts about trials that a spec needs, before any trainer was prepared."""

    steps: int
    sizes: tuple[float, ...]
    eval_steps: tuple[int, ...]
    domain_tokens: Mapping[str, float]


def make_plan(
    config: SweepConfig,
    *,
    slots: int | None = None,
    hours: float | None = None,
    noise: float = NOISE,
    seconds: float = SIMULATION_SECONDS,
) -> Plan:
    """Computes the cost and the expected regret of a sweep.

    Args:
        config: the configuration of the sweep.
        slots: trials at a time on the cluster that will run the sweep; default: the configuration's
            number, or else what this machine holds.
        hours: wall hours of one trial at the target fidelity (largest size, most steps); default:
            measured here for the built-in trainer, unknown for others.
        noise: relative standard deviation of a loss between two seeds.
        seconds: limit of the simulation in seconds; 0 leaves it out.

    Raises:
        ConfigError: the built-in trainer's proxies need a GPU, and this machine has none.
        DataError: nothing is at the path of text that the built-in trainer needs, or the built-in
            trainer would refuse the sweep (`checks`).
    """
    tokens: dict[str, float] = {}
    if config.trainer == "builtin":
        _look_for_text(config)
        check_before_run(config)
        tokens = estimated_tokens(config)
    at_once = slots or (
        config.resources.slots if config.resources.slots != "auto" else _slots_here(config)
    )
    measured = hours is None and config.trainer == "builtin"
    if measured:
        hours = _timed(config) / 3600
    *shorter, steps = config.proxy.lengths
    proxies = _Proxies(
        steps=steps, sizes=config.proxy.sizes, eval_steps=(steps,), domain_tokens=tokens
    )
    spec = _unlimited(sweep_spec(config, proxies), at_once)
    regret = simulate(spec, noise=noise, seconds=seconds) if seconds > 0 else []
    cost = _cost(spec, regret)
    cores, gpus = (
        None
        if hours is None
        else (cost + MAX_CONFIRMATION_TRIALS) * hours * each * config.resources.nodes
        for each in (config.resources.cpu, config.resources.gpu)
    )
    rounds = _rounds(spec, cost) + math.ceil(MAX_CONFIRMATION_TRIALS / at_once)
    return Plan(
        trials=config.budget.trials,
        confirmation_result=MAX_CONFIRMATION_TRIALS,
        steps=steps,
        shorter=tuple(shorter),
        tokens=float(config.proxy.tokens),
        sizes=config.proxy.sizes,
        slots=at_once,
        training_hours=hours,
        measured=measured,
        cost=cost,
        core_hours=cores,
        gpu_hours=gpus,
        wall_hours=None if hours is None else rounds * hours,
        limits=tuple(_limits(config, hours, cores, gpus, cost)),
        regret=tuple(regret),
        tolerance=config.stop.tolerance,
        earliest_stop=spec.rule.min_trials + spec.patience - 1,
        noise=noise,
        warning=too_few(len(spec.domains), len(spec.fidelities), spec.max_trials),
        not_tested=spec.beyond.sentences,
        moved=moved_references(spec.domains),
        realised=natural_realised(config, tokens) if config.trainer == "builtin" else (),
    )


def _look_for_text(config: SweepConfig) -> None:
    """Checks that the files of all domains and targets exist; reads none of them."""
    from bimix_sweep.data.sources import Source

    for kind, entries in (("domain", config.domains), ("target", config.targets)):
        for name, entry in entries.items():
            if entry.path is not None:
                try:
                    Source(path=entry.path).stored_bytes()
                except DataError as error:
                    raise DataError(f"{kind} {name}: {error}") from error


def _unlimited(spec: SweepSpec, slots: int) -> SweepSpec:
    """Returns the spec without limits on hours, and with at most as many slots as trials."""
    return replace(spec, slots=min(slots, spec.max_trials), core_hours=None, gpu_hours=None)


def _cost(spec: SweepSpec, regret: Sequence[PlannedRegret]) -> float:
    """Returns the cost of all proxy trials, in units of one at the target fidelity.

    The cost is known for the initial trials, or for the trials of the simulation up to its last
    recorded point. Each further trial costs the simulation's mean; without a simulation, one unit.
    """
    first = spec.initial_fidelities[: spec.max_trials]
    known, cost = (
        (regret[-1].trials, regret[-1].cost)
        if regret
        else (len(first), sum(spec.cost_of(fidelity) for fidelity in first))
    )
    each = cost / known if regret else 1.0
    return cost + (spec.max_trials - known) * each


def _rounds(spec: SweepSpec, cost: float) -> float:
    """Returns the maximum wall time of the proxy trials, in units of one trial.

    The unit is a trial at the target fidelity. Where the fidelities differ, the last trial may be
    such a one, begun when the others have kept all slots busy until then.
    """
    if len(spec.fidelities) == 1:
        return math.ceil(spec.max_trials / spec.slots)
    longest = min(1.0, cost)
    return (cost - longest) / spec.slots + longest


def _timed(config: SweepConfig) -> float:
    """Measures the seconds of one trial at the target fidelity on this machine.

    The trial uses the number of threads that it will have in the sweep.
    """
    # Set before the first import of torch.
    os.environ["OMP_NUM_THREADS"] = str(max(1, int(config.resources.cpu)))
    from bimix_sweep.proxy.timing import training_seconds, visible_gpus

    spec = proxy_specs(config, config.proxy.vocabulary)[-1]
    device = "cuda" if config.resources.gpu else "cpu"
    if device == "cuda" and not visible_gpus():
        raise ConfigError(
            "resources.gpu is set and torch sees no GPU here, so a training cannot be timed; plan "
            "on a machine that has one, or give --hours"
        )
    return training_seconds(
        spec,
        device=device,
        num_targets=len(config.resolved_targets()),
        validation_tokens=VALIDATION_TOKENS,
    )


def _slots_here(config: SweepConfig) -> int:
    """Returns the number of trials that the cores of this machine hold at a time."""
    return max(1, math.floor(len(os.sched_getaffinity(0)) / config.resources.cpu))


def _limits(
    config: SweepConfig, hours: float | None, cores: float | None, gpus: float | None, cost: float
) -> list[str]:
    """Returns one sentence for each limit of the budget that is set."""
    said = []
    for name, limit, whole, each in (
        ("core_hours", config.budget.core_hours, cores, config.resources.cpu),
        ("gpu_hours", config.budget.gpu_hours, gpus, config.resources.gpu),
    ):
        if limit is None:
            continue
        if hours is None or whole is None:
            said.append(
                f"budget.{name} is {limit:g}; how many trainings that pays for is not known"
            )
        elif whole <= limit:
            said.append(f"budget.{name} is {limit:g}, enough for all of it")
        else:
            mean = (cost + MAX_CONFIRMATION_TRIALS) / (
                config.budget.trials + MAX_CONFIRMATION_TRIALS
            )
            paid = math.floor(limit / (mean * hours * each * config.resources.nodes))
            said.append(
                f"budget.{name} is {limit:g}, which pays for about {paid} of "
                f"{config.budget.trials + MAX_CONFIRMATION_TRIALS} trainings"
            )
    return said
