"""Cost of a planned sweep: trials, hours of cores and GPUs, wall time, limits of the budget."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bimix_sweep.config import SweepConfig
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.simulation import PlannedRegret
from bimix_sweep.sweep.history.confirmation_trials import max_confirmation_trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of a whole sweep."""

    trials: float
    """Cost of the proxy trials, in units of one trial at the target fidelity."""
    core_hours: float | None
    """CPU core-hours of all trials, confirmation trials included; None where not known."""
    gpu_hours: float | None
    """GPU-hours of all trials, confirmation trials included; None where not known."""


def sweep_cost(
    config: SweepConfig, spec: SweepSpec, regret: Sequence[PlannedRegret], hours: float | None
) -> Cost:
    """Returns the cost of the sweep; `hours` are those of one trial at the target fidelity."""
    units = _cost_of_trials(spec, regret)
    resources = config.resources
    cores, gpus = (
        None
        if hours is None
        else (units + max_confirmation_trials(spec)) * hours * each * resources.nodes
        for each in (resources.cpu, resources.gpu)
    )
    return Cost(trials=units, core_hours=cores, gpu_hours=gpus)


def wall_hours(spec: SweepSpec, cost: float, at_once: int, hours: float | None) -> float | None:
    """Returns the maximum wall hours of the sweep; None where those of one trial are not known."""
    if hours is None:
        return None
    return (_rounds(spec, cost) + math.ceil(max_confirmation_trials(spec) / at_once)) * hours


def limit_sentences(
    config: SweepConfig, spec: SweepSpec, cost: Cost, hours: float | None
) -> list[str]:
    """Returns one sentence for each limit of the budget that is set."""
    sentences, confirmation = [], max_confirmation_trials(spec)
    for name, limit, whole, each in (
        ("core_hours", config.budget.core_hours, cost.core_hours, config.resources.cpu),
        ("gpu_hours", config.budget.gpu_hours, cost.gpu_hours, config.resources.gpu),
    ):
        if limit is None:
            continue
        if hours is None or whole is None:
            sentences.append(
                f"budget.{name} is {limit:g}; how many trials that pays for is not known"
            )
        elif whole <= limit:
            sentences.append(f"budget.{name} is {limit:g}, enough for all of it")
        else:
            trials = config.budget.trials + confirmation
            mean = (cost.trials + confirmation) / trials
            paid = math.floor(limit / (mean * hours * each * config.resources.nodes))
            sentences.append(
                f"budget.{name} is {limit:g}, which pays for about {paid} of {trials} trials"
            )
    return sentences


def _cost_of_trials(spec: SweepSpec, regret: Sequence[PlannedRegret]) -> float:
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
