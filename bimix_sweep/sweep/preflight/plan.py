"""The plan of a sweep: what it will cost and may find out, computed before anything runs."""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from bimix_sweep.config import SweepConfig
from bimix_sweep.design.initial_design import moved_references, too_few
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.simulation import PlannedRegret, simulate
from bimix_sweep.errors import ConfigError, DataError
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.sweep.history.confirmation_trials import max_confirmation_trials
from bimix_sweep.sweep.history.spec import sweep_spec
from bimix_sweep.sweep.history.trainer_facts import TrainerFacts
from bimix_sweep.sweep.preflight.plan_cost import limit_sentences, sweep_cost, wall_hours
from bimix_sweep.sweep.run_checks import check_before_run, estimated_tokens
from bimix_sweep.sweep.text_sources import given_tokenizer, vocabulary_of
from bimix_sweep.sweep.trainers.base import references_realised
from bimix_sweep.sweep.trainers.builtin import proxy_specs, vocabulary_cost

NOISE = 0.003
"""Relative standard deviation of a loss between two seeds of one mixture, typical of small proxies
on real text."""
NOT_READ = (
    "the entropy mixture is not known before the text is tokenised; this plan takes the uniform "
    "mixture for it"
)
"""Note of a plan whose configuration names the entropy mixture."""
SIMULATION_SECONDS = 45.0
"""Default limit of a simulation in seconds; enough for about 15 sweeps of 40 trials on 3
domains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cost and expected result of a sweep before it runs."""

    trials: int
    """Maximum number of proxy trials."""
    confirmation_trials: int
    """Maximum number of confirmation trials."""
    weights: Mapping[str, float]
    """{target: weight in the objective}, sum 1."""
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
    trial_hours: float | None
    """Wall hours of one trial at the target fidelity (largest size, most steps); None where not
    known. Another trial takes the fraction given by size x steps."""
    measured: bool
    """Whether `trial_hours` was measured here, not given by the user."""
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
    stated: tuple[str, ...]
    """Sentences about today's mixture and the prior: what was normalised or left out."""
    realised: tuple[str, ...]
    """Sentences about proportions of the natural mixture that the shortest trial cannot realise,
    and about those of today's mixture that a confirmation trial cannot."""
    regret: tuple[PlannedRegret, ...]
    """Regret of simulated sweeps by number of trials; empty without a simulation."""
    tolerance: float
    """Expected regret at which the sweep stops by itself."""
    earliest_stop: int
    """Number of trials before which the stopping rule never stops."""
    noise: float
    """Relative standard deviation of a loss between two seeds in the simulation."""
    vocabulary: str | None
    """A sentence on what the vocabulary costs each trial; None where the trainer is no built-in
    one."""

    @property
    def stops_at(self) -> int | None:
        """Approximate number of trials after which simulated sweeps would stop by themselves.

        None if simulated sweeps would not stop within the budget, or without a simulation.
        """
        trials = next(
            (
                max(point.trials, self.earliest_stop)
                for point in self.regret
                if point.stated <= self.tolerance
            ),
            None,
        )
        return trials if trials is not None and trials <= self.trials else None

    def to_json(self) -> dict[str, Any]:
        """Returns all fields and `stops_at` as JSON-able values."""
        return asdict(self) | {
            "limits": list(self.limits),
            "not_tested": list(self.not_tested),
            "stated": list(self.stated),
            "realised": list(self.realised),
            "sizes": list(self.sizes),
            "shorter": list(self.shorter),
            "regret": [asdict(point) for point in self.regret],
            "stops_at": self.stops_at,
        }


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
        DataError: text that the built-in trainer needs is missing, or it would refuse the sweep.
    """
    tokens = _checked_tokens(config) if config.trainer == "builtin" else {}
    largest = _largest(config) if config.trainer == "builtin" else None
    at_once = slots or _configured_slots(config)
    measured = hours is None and config.trainer == "builtin"
    if hours is None and largest is not None:
        hours = _timed(config, largest) / 3600
    facts = _facts(config, tokens)
    spec = _unlimited(sweep_spec(config, facts), at_once)
    regret = simulate(spec, noise=noise, seconds=seconds) if seconds > 0 else []
    cost = sweep_cost(config, spec, regret, hours)
    return Plan(
        trials=config.budget.trials,
        confirmation_trials=max_confirmation_trials(spec),
        weights=spec.weights,
        steps=config.proxy.lengths[-1],
        shorter=config.proxy.lengths[:-1],
        tokens=float(config.proxy.tokens),
        sizes=config.proxy.sizes,
        slots=at_once,
        trial_hours=hours,
        measured=measured,
        cost=cost.trials,
        core_hours=cost.core_hours,
        gpu_hours=cost.gpu_hours,
        wall_hours=wall_hours(spec, cost.trials, at_once, hours),
        limits=tuple(limit_sentences(config, spec, cost, hours)),
        regret=tuple(regret),
        tolerance=config.stop.tolerance,
        earliest_stop=spec.rule.min_trials + spec.patience - 1,
        noise=noise,
        vocabulary=None if largest is None else vocabulary_cost(largest),
        warning=too_few(len(spec.domains), len(spec.fidelities), spec.max_trials),
        not_tested=spec.beyond.sentences,
        moved=moved_references(spec.domains),
        stated=_stated_notes(config, facts),
        realised=references_realised(config, facts) if config.trainer == "builtin" else (),
    )


def _facts(config: SweepConfig, tokens: Mapping[str, float]) -> TrainerFacts:
    """Returns the facts of a trainer that measures each trial once, at its end."""
    steps, unread = (
        config.proxy.lengths[-1],
        config.trainer == "builtin" and config.stated.asks_entropy,
    )
    return TrainerFacts(
        steps=steps,
        eval_steps=(steps,),
        sizes=config.proxy.sizes,
        domain_tokens=tokens,
        entropy=config.domain_set(dict(tokens)).uniform() if unread else None,
    )


def _stated_notes(config: SweepConfig, facts: TrainerFacts) -> tuple[str, ...]:
    """Returns the notes on the stated mixtures, and on an entropy mixture that is not known yet."""
    notes = config.stated_mixtures(dict(facts.domain_tokens), facts.entropy).notes
    return notes if facts.entropy is None else (*notes, NOT_READ)


def _checked_tokens(config: SweepConfig) -> dict[str, float]:
    """Returns {domain: estimated tokens} for domains without stated tokens, after all checks.

    Raises:
        DataError: text is missing, or the built-in trainer would refuse the sweep.
    """
    _check_paths(config)
    check_before_run(config)
    return estimated_tokens(config)


def _check_paths(config: SweepConfig) -> None:
    """Checks that the files of all domains and targets exist; reads none of them."""
    for kind, entries in (("domain", config.domains), ("target", config.targets)):
        for name, entry in entries.items():
            if entry.has_text:
                try:
                    entry.as_source().stored_bytes()
                except DataError as error:
                    raise DataError(f"{kind} {name}: {error}") from error


def _unlimited(spec: SweepSpec, slots: int) -> SweepSpec:
    """Returns the spec without limits on hours, and with at most as many slots as trials."""
    return replace(spec, slots=min(slots, spec.max_trials), core_hours=None, gpu_hours=None)


def _largest(config: SweepConfig) -> ProxySpec:
    """Returns the largest proxy of a sweep with the built-in trainer."""
    return proxy_specs(config, vocabulary_of(config, given_tokenizer(config)))[-1]


def _timed(config: SweepConfig, spec: ProxySpec) -> float:
    """Measures the seconds of one trial at the target fidelity on this machine.

    The trial uses the number of threads that it will have in the sweep.
    """
    # Set before the first import of torch.
    os.environ["OMP_NUM_THREADS"] = str(max(1, int(config.resources.cpu)))
    from bimix_sweep.proxy.timing import training_seconds, visible_gpus

    device = "cuda" if config.resources.gpu else "cpu"
    if device == "cuda" and not visible_gpus():
        raise ConfigError(
            "resources.gpu is set and torch sees no GPU here, so a trial cannot be timed; plan "
            "on a machine that has one, or give --hours"
        )
    return training_seconds(
        spec,
        device=device,
        num_targets=len(config.resolved_targets()),
        validation_tokens=config.data.validation_tokens,
    )


def _configured_slots(config: SweepConfig) -> int:
    """Returns the trials at a time that the configuration states, or that this machine holds."""
    if config.resources.slots != "auto":
        return config.resources.slots
    return max(1, math.floor(len(os.sched_getaffinity(0)) / config.resources.cpu))
