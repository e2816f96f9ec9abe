"""The whole loop without a cluster: what was proposed, what was measured, what that says, what to run next.

The life of a trial: `propose` names its mixture and seed (it is running from then on), `record` adds a point of its curve,
`finish` or `abandon` ends it. `refit` looks at all of it for a person, `decide` says whether to stop.

Everything is a function of the spec and of the sequence of calls. Proposals carry the chain of their fits (`chain.py`); so
a journal of proposals, points and ends, played back through `restore_proposal`, `record`, `finish` and `abandon`, goes
on exactly as if nothing had happened. Refits never touch that chain, so watching a sweep does not change it.
"""

import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bimix_sweep.design.acquisition import Batch, Scales, dearest_due, next_mixture
from bimix_sweep.design.chain import LawChain, Moment, due, in_view
from bimix_sweep.design.initial import holding_floor, holding_mixture, initial_mixture, initial_scales, num_initial, repeated_mixture
from bimix_sweep.design.scale import Scale
from bimix_sweep.design.stopping import Decision, StoppingRule
from bimix_sweep.errors import DivergedError, LawError, SweepError
from bimix_sweep.law.contest import Question
from bimix_sweep.law.optimum import Optimum, ask, optimal_mixture
from bimix_sweep.law.selection import FittedLaw, fit_law
from bimix_sweep.law.warm import WarmStart
from bimix_sweep.mixture.curves import LEAST_LOSS, LOSS_NEEDED, MOST_LOSS, LossCurve
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import Array, total_variation
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng, seed_for

FINAL = "final"
"""Role of the trainings at the end; the others have the role "sweep"."""
DROPPED = "dropped"
"""Role of trainings that a change of the sweep took out: recorded, but no evidence, and not counted in the budget."""
NUM_JOINED = 4
"""Trainings that must hold a domain which joins later. On 17 published domains 4 of them beside 40 runs without the domain ranked unseen
mixtures that hold it about as well as 48 fresh runs (rank correlation .977 against .983; 2 of them: .973, none: .87)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec:
    """What a sweep is asked to find."""

    domains: DomainSet
    """Where proxies may be sampled: the config's bounds."""
    final_domains: DomainSet
    """Where the optimum may lie: the config's bounds and the token caps of the final run."""
    targets: tuple[str, ...]
    """Validation sets, each measured at every point."""
    weights: Mapping[str, float]
    """Importance of each target, >= 0; one that is missing counts 0."""
    own: Mapping[str, str]
    """Target -> the domain it is the validation split of."""
    objective: str = "mean"
    """"mean" or "worst"."""
    steps: int
    """Optimizer steps of a training, of the longest where there are several numbers: the law is asked about this step."""
    shorter: tuple[int, ...] = ()
    """Numbers of steps of cheaper trainings, rising."""
    size: float
    """Non-embedding parameters of a proxy, of the largest where there are several sizes: the law is asked about this one."""
    smaller: tuple[float, ...] = ()
    """Sizes of cheaper proxies, rising."""
    eval_steps: tuple[int, ...] = ()
    """Steps at which losses are measured in a training of `steps`."""
    min_step: int = 0
    """Its points before it (the warm-up) are left out of the fit; of a shorter training the same share of its steps."""
    seed: int = 0
    """Decides everything random."""
    max_trials: int
    """Budget of trainings, failed ones counted, the final ones not."""
    slots: int = 1
    """Trainings that run at once."""
    tolerance: float = 0.002
    """Expected regret at which to stop, a fraction of the objective."""
    patience: int = 3
    """Refits in a row that must agree."""
    core_hours: float | None = None
    """Most CPU core-hours of all trainings, the final ones among them; None: no limit."""
    gpu_hours: float | None = None
    """The same of GPU-hours."""

    def __post_init__(self) -> None:
        if self.domains.names != self.final_domains.names:
            raise SweepError(f"the sweep has domains {', '.join(self.domains.names)}, the final run {', '.join(self.final_domains.names)}")
        if not self.targets:
            raise SweepError("no targets; need at least one validation set")
        if self.max_trials < 1:
            raise SweepError(f"budget.trials is {self.max_trials}; need at least 1")
        if unknown := [name for name in self.weights if name not in self.targets]:
            raise SweepError(f"weights name {', '.join(unknown)}; the targets are {', '.join(self.targets)}")
        if not any(weight > 0 for weight in self.weights.values()):
            raise SweepError("all target weights are 0; need one above 0")
        if list(self.sizes) != sorted({*self.sizes}) or self.sizes[0] <= 0:
            raise SweepError(f"sizes of the proxies are {', '.join(f'{size:g}' for size in self.sizes)}; need rising numbers above 0")
        if list(self.lengths) != sorted({*self.lengths}) or self.lengths[0] < 1:
            raise SweepError(f"steps of the trainings are {', '.join(map(str, self.lengths))}; need rising whole numbers from 1")

    @property
    def sizes(self) -> tuple[float, ...]:
        """All sizes, rising."""
        return (*self.smaller, self.size)

    @property
    def lengths(self) -> tuple[int, ...]:
        """All numbers of steps, rising."""
        return (*self.shorter, self.steps)

    @property
    def asked(self) -> Scale:
        """The scale that the law is asked about, and that of the final trainings: the largest size for the most steps."""
        return Scale(size=self.size, steps=self.steps)

    @property
    def scales(self) -> tuple[Scale, ...]:
        """Every size for every number of steps, from the cheapest to the one asked about."""
        every = (Scale(size=size, steps=steps) for size in self.sizes for steps in self.lengths)
        return tuple(sorted(every, key=lambda scale: (scale.cost, scale.size)))

    @property
    def initial_scales(self) -> tuple[Scale, ...]:
        """Scales of the first trainings, whose mixtures are chosen before the law is asked."""
        scales = self.scales
        order = initial_scales(num_initial(len(self.domains), self.max_trials), len(scales), self.max_trials)
        return tuple(scales[index] for index in order)

    @property
    def num_initial(self) -> int:
        """How many first trainings."""
        return len(self.initial_scales)

    def scale_of(self, proposal: "Proposal") -> Scale:
        """Of a training."""
        return Scale(
            size=self.size if proposal.size is None else proposal.size, steps=self.steps if proposal.steps is None else proposal.steps
        )

    def cost_of(self, scale: Scale) -> float:
        """Of a training, in units of one at the scale asked about."""
        return scale.cost / self.asked.cost

    def first_step(self, steps: int) -> int:
        """From where on the points of a training of so many steps are in the fit."""
        return self.min_step * steps // self.steps

    @property
    def rule(self) -> StoppingRule:
        """When the sweep stops."""
        return StoppingRule(
            tolerance=self.tolerance, patience=self.patience, max_trials=self.max_trials,
            min_trials=len(self.domains) + 3 + sum(scale != self.scales[0] for scale in self.initial_scales),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A training to run, and enough to go on from it after a restart."""

    trial: str
    """Name of the training."""
    mixture: Mixture
    """What to train on."""
    reason: str
    """Why this one: `initial: uniform`, `regret -3.1e-4`, `replicate`."""
    seed: int
    """Seed of the training. Equal for different mixtures, so that chance cancels in comparisons; each replicate has the next."""
    size: float | None = None
    """Non-embedding parameters; None: the sweep's only size, or its largest."""
    steps: int | None = None
    """Optimizer steps; None: the sweep's only number of steps, or its largest."""
    num_points: int = 0
    """Points recorded when it was made."""
    fit: Mapping[str, Any] = field(default_factory=dict)
    """What the law it was made from had seen and where the next fit starts (JSON), in the first proposal made from it; else empty."""

    @property
    def at(self) -> dict[str, float]:
        """`size` and `steps` as far as they are told: each where the sweep has several of them."""
        return {name: value for name, value in (("size", self.size), ("steps", self.steps)) if value is not None}


@dataclass(slots=True, kw_only=True)
class TrialRecord:
    """One training as far as it is known."""

    trial: str
    """Name."""
    mixture: Mixture
    """What it trains on."""
    seed: int
    """Seed of the training."""
    size: float
    """Non-embedding parameters."""
    steps: int
    """Optimizer steps when it is whole."""
    role: str = "sweep"
    """"sweep" (proposed by the loop), "final" or "dropped"."""
    state: str = "running"
    """"running", "finished" or "failed"."""
    failure: str = ""
    """Why it failed."""
    points: dict[int, dict[str, float]] = field(default_factory=dict)
    """Step -> target -> loss."""

    @property
    def scale(self) -> Scale:
        """Its size and steps."""
        return Scale(size=self.size, steps=self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """What the points recorded so far say."""

    num_points: int
    """Points recorded."""
    num_trials: int
    """Trainings with at least one of them."""
    law: FittedLaw | None
    """None while the points determine none; of the last refit only: laws are large."""
    optimum: Optimum | None
    """Of its law."""
    decision: Decision
    """Whether to stop."""
    seconds: float
    """Wall time it took."""


class SweepState:
    """The loop of a sweep. It plans, it does not run anything."""

    def __init__(self, spec: SweepSpec) -> None:
        self.spec = spec
        self.trials: dict[str, TrialRecord] = {}
        self.proposals: list[Proposal] = []
        self.history: list[Refit] = []
        self.stopped: Decision | None = None
        self._arrivals: list[tuple[str, int]] = []  # (trial, step) of each point that is evidence
        self._over: list[str] = []  # trainings of the sweep that ended
        self._chain = LawChain(self._fit_of, self.spec.slots)
        self._asked: tuple[Moment, Question] | None = None  # of the law proposals are made from
        self._batch: tuple[Moment, Batch] | None = None
        self._num_counted = 0  # trainings over at the last refit that counted
        self._watched: WarmStart | None = None  # of that refit
        self._joined: tuple[str, ...] = ()  # domains that joined by a change

    # what happened

    def add_trial(self, proposal: Proposal, role: str) -> None:
        """Take in a training that the loop did not propose, such as a final one; its points are recorded alike."""
        if proposal.trial in self.trials:
            raise SweepError(f"trial {proposal.trial} is already there; need a new name")
        scale = self.spec.scale_of(proposal)
        if scale.size not in self.spec.sizes:
            known = ", ".join(f"{size:g}" for size in self.spec.sizes)
            raise SweepError(f"trial {proposal.trial} has size {scale.size:g}; the sweep trains proxies of size {known}")
        if scale.steps not in self.spec.lengths:
            known = ", ".join(map(str, self.spec.lengths))
            raise SweepError(f"trial {proposal.trial} has {scale.steps} steps; the sweep trains proxies for {known} steps")
        self.trials[proposal.trial] = TrialRecord(
            trial=proposal.trial, mixture=proposal.mixture, seed=proposal.seed, size=scale.size, steps=int(scale.steps), role=role
        )  # fmt: skip

    def restore_proposal(self, proposal: Proposal) -> None:
        """Take in a proposal made earlier, from the journal. Nothing is computed."""
        self.add_trial(proposal, "sweep")
        if proposal.fit:
            over = int(proposal.fit.get("num_over", len(self._over)))
            self._chain.link(self._moment(proposal.num_points, over, len(self.proposals)), proposal.fit)
        self.proposals.append(proposal)

    def restore_decision(self, decision: Decision) -> None:
        """Take in a decision made earlier, from the journal."""
        self.stopped = decision if decision.stop else None

    def restore_refit(self, refit: Refit, num_over: int, *, counted: bool) -> None:
        """Take in a refit made earlier, from the journal, so that the streak goes on where it was.

        Args:
            refit: without law and optimum.
            num_over: trainings that had ended then.
            counted: it was made to decide, not to watch.
        """
        self.history.append(refit)
        if counted:
            self._num_counted = max(self._num_counted, num_over)

    def change(self, spec: SweepSpec, *, renamed: Mapping[str, str], dropped: Collection[str], ended: Mapping[str, str]) -> None:
        """Go on with another spec, from a sweep in any state. The next fit starts cold, and what was decided is open again.

        Args:
            spec: of the same targets; a domain that it lacks has no share in any training.
            renamed: {domain: the name it has from now on}.
            dropped: trainings that are evidence no more.
            ended: {running training: why it cannot go on}.

        Raises:
            SweepError, MixtureError: the targets are others, or a training holds a domain that is gone.
        """
        if set(spec.targets) != set(self.spec.targets):
            raise SweepError(f"the targets were {', '.join(self.spec.targets)}, not {', '.join(spec.targets)}; a sweep keeps its targets")
        mixtures = {name: record.mixture.moved(renamed, spec.domains.names) for name, record in self.trials.items()}
        before = {renamed.get(name, name) for name in self.spec.domains.names}
        self._joined = (*(name for name in self._joined if name in spec.domains.names), *(n for n in spec.domains.names if n not in before))
        self.spec, self.history, self.stopped = spec, [], None
        self._chain = LawChain(self._fit_of, spec.slots)
        self._asked, self._batch, self._watched, self._num_counted = None, None, None, 0
        self.proposals = [replace(proposal, mixture=mixtures[proposal.trial]) for proposal in self.proposals]
        for name, record in self.trials.items():
            record.mixture = mixtures[name]
        for name in dropped:
            record = self._trial(name)
            if record.role == "sweep":
                record.role = DROPPED
        self._arrivals = [arrival for arrival in self._arrivals if self.trials[arrival[0]].role == "sweep"]
        self._over = [name for name in self._over if self.trials[name].role == "sweep"]
        for name, reason in ended.items():
            self.abandon(name, reason)

    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool:
        """Add one point of a curve.

        Args:
            trial: a training that was proposed or added.
            step: optimizer step, >= 1.
            losses: {target: loss}; nats per token or another positive loss.

        Returns:
            False where that step of that training is already there: the first value stays.

        Raises:
            SweepError: unknown training, unknown or missing targets, step < 1.
            DivergedError: a loss is not between LEAST_LOSS and MOST_LOSS.
        """
        record = self._trial(trial)
        if step < 1:
            raise SweepError(f"trial {trial}: step is {step}; need at least 1")
        if set(losses) != set(self.spec.targets):
            raise SweepError(f"trial {trial}: losses of {', '.join(losses)}; need {', '.join(self.spec.targets)}")
        for target, loss in losses.items():
            if not LEAST_LOSS < loss < MOST_LOSS:
                raise DivergedError(f"trial {trial}: loss of {target} is {loss} at step {step}; need {LOSS_NEEDED}")
        if step in record.points:
            return False
        record.points[int(step)] = {target: float(losses[target]) for target in self.spec.targets}
        if record.role not in (FINAL, DROPPED):
            self._arrivals.append((trial, int(step)))
        return True

    def finish(self, trial: str) -> None:
        """The training is done."""
        self._end(self._trial(trial), "finished")

    def abandon(self, trial: str, reason: str) -> None:
        """The training failed for good: its points no longer count, and its mixture is not proposed again."""
        record = self._trial(trial)
        self._end(record, "failed")
        record.failure = reason

    def table(self) -> LossTable:
        """The curves of finished and running trainings, the final ones among them.

        Raises:
            TableError: nothing was recorded yet.
        """
        return LossTable.from_curves(self._curve(record) for record in self.trials.values() if record.points and record.state != "failed")

    def counted(self, records: Iterable[TrialRecord]) -> LossTable:
        """The points of trainings that a law is fitted to: those from `SweepSpec.first_step` on.

        Raises:
            TableError: there are none.
        """
        late = (replace(r, points={s: p for s, p in r.points.items() if s >= self.spec.first_step(r.steps)}) for r in records)
        return LossTable.from_curves(self._curve(record) for record in late if record.points)

    def evidence(self) -> list[TrialRecord]:
        """The trainings the law is fitted to: with points, not failed or dropped, and not the final ones, which test it."""
        return [
            record for record in self.trials.values() if record.points and record.state != "failed" and record.role not in (FINAL, DROPPED)
        ]

    @property
    def num_proposed(self) -> int:
        """Trainings that count in the budget."""
        return sum(record.role == "sweep" for record in self.trials.values())

    @property
    def next_scale(self) -> Scale:
        """Of the training proposed next; the one asked about, the dearest, where the law will choose it."""
        order = self.spec.initial_scales
        if self._lacking(("running", "finished")):
            return self.spec.scales[0]
        return order[self.num_proposed] if self.num_proposed < len(order) else self.spec.asked

    # what it says

    def propose(self, trial: str) -> Proposal | None:
        """The next training, from now on running; None when the sweep stopped or its budget is spent.

        Asked again for a name it already proposed, it answers the same.
        """
        if trial in self.trials:
            return next((proposal for proposal in self.proposals if proposal.trial == trial), None)
        if self.stopped or self.num_proposed >= self.spec.max_trials:
            return None
        generator = rng(self.spec.seed, "proposal", len(self.proposals))
        lacking = self._lacking(("running", "finished"))
        found = self._law_for_proposals() if self.num_proposed >= self.spec.num_initial and not lacking else None
        fit: dict[str, Any] = {}
        if found is None:
            mixture, reason, scale = self._first_mixture(tuple(lacking), generator)
        else:
            fit = self._chain.carried(*found)
            if due(found[0].num_over, self.spec.slots) > 1:
                mixture, reason, scale = self._batch_of(*found).next(generator, dearest=self._dearest_next(len(self.proposals)))
            else:
                states = {record.trial: record.state for record in self.trials.values()}
                so_far = self._so_far(states, dearest=self._dearest_next(len(self.proposals)))
                mixture, reason, scale = next_mixture(self._question(*found), self.spec.domains, generator=generator, **so_far)
        proposal = Proposal(
            trial=trial, mixture=mixture, reason=reason, seed=self._seed(mixture, scale), num_points=len(self._arrivals), fit=fit,
            size=scale.size if self.spec.smaller else None, steps=int(scale.steps) if self.spec.shorter else None,
        )  # fmt: skip
        self.restore_proposal(proposal)
        return proposal

    def refit(self, *, watching: bool = False, anew: bool = False) -> Refit:
        """Fit the law to all points, find its optimum and judge whether to stop; appended to `history`.

        Args:
            watching: for a person's eyes: it does not count in the streak that stops the sweep.
            anew: start from no earlier fit and see all trainings (`chain.in_view`), so that the law is a function of the points alone, whatever a sweep went through.
        """
        evidence = self.evidence()
        law = self._fit("refit", evidence if anew else in_view(evidence), len(self._arrivals), None if anew else self._watched)
        return self._judged(law, watching=watching)

    def decide(self) -> Decision:
        """Whether to stop, by the last refit; refits first where as many trainings ended since as are due. A stop is final.

        The law is the one that proposals are made from (`chain.py`): one fit serves both, and a restart decides alike.
        """
        if self.stopped:
            return self.stopped
        num_over, spent = len(self._over), len(self._over) >= self.spec.max_trials
        needed = 1 if spent else due(num_over, self.spec.slots)
        if not self.history or num_over - self._num_counted >= needed:
            found = self._chain.law_of(self._now())
            refit = self._judged(found[1] if found else None)
        else:
            refit = self.history[-1]
        if refit.decision.stop:
            self.stopped = refit.decision
        return refit.decision

    # parts

    def _judged(self, law: FittedLaw | None, *, watching: bool = False) -> Refit:
        start, optimum = time.perf_counter(), None
        over = [record for record in self.trials.values() if record.role == "sweep" and record.state != "running"]
        before = self.history[-1] if self.history else None
        figures: dict[str, float] = {}
        if law:
            optimum = optimal_mixture(
                law, self.spec.final_domains, weights=self.spec.weights, objective=self.spec.objective, step=self.spec.steps,
                size=self.spec.size, generator=rng(self.spec.seed, "optimum", len(self._arrivals)),
            )  # fmt: skip
            regret = {"regret_expected": optimum.regret.expected, "regret_upper95": optimum.regret.upper95}
            figures = {name: value for name, value in regret.items() if math.isfinite(value)}  # what overflowed is not known
            if before and before.optimum:
                figures["movement_tv"] = total_variation(optimum.mixture.as_array(), before.optimum.mixture.as_array())
        counts, lacking = len(over) > self._num_counted and not watching, self._lacking(("finished",))
        decision = self.spec.rule.judge(
            before.decision if before else None, num_finished=sum(record.state == "finished" for record in over),
            num_over=len(over), counts=counts, **({} if lacking else figures),
        )  # fmt: skip
        if lacking:
            said = ", ".join(f"{name} joined and is held by {count} of {NUM_JOINED} finished trainings" for name, count in lacking.items())
            decision = replace(decision, reason=f"{decision.reason}; {said}" if decision.stop else said)
        if counts:
            self._num_counted, self._watched = len(over), WarmStart.of(law) if law else None
        refit = Refit(
            num_points=len(self._arrivals), num_trials=len(self.evidence()), law=law, optimum=optimum, decision=decision,
            seconds=time.perf_counter() - start,
        )  # fmt: skip
        if before is not None:
            self.history[-1] = replace(before, law=None)
        self.history.append(refit)
        return refit

    def _trial(self, trial: str) -> TrialRecord:
        if trial not in self.trials:
            raise SweepError(f"trial {trial} is not known; propose or add it before its points are recorded")
        return self.trials[trial]

    def _curve(self, record: TrialRecord) -> LossCurve:
        steps = sorted(record.points)
        return LossCurve(
            trial=record.trial, mixture=record.mixture, targets=self.spec.targets, steps=np.array(steps, dtype=np.float64),
            losses=np.array([[record.points[step][target] for target in self.spec.targets] for step in steps]),
            size=record.size, seed=record.seed,
        )  # fmt: skip

    def _first_mixture(self, lacking: tuple[str, ...], generator: np.random.Generator) -> tuple[Mixture, str, Scale]:
        """A mixture, why, and its scale, before the law is asked."""
        order, cheapest = self.spec.initial_scales, self.spec.scales[0]
        scale = order[self.num_proposed] if self.num_proposed < len(order) and not lacking else cheapest
        seen = self._rows(self.trials)
        if lacking:
            return *holding_mixture(self.spec.domains, lacking, seen, generator), scale
        if scale == cheapest:
            return *initial_mixture(self.spec.domains, seen, generator), scale
        first, there = (self._rows(n for n, r in self.trials.items() if r.role == "sweep" and r.scale == s) for s in (cheapest, scale))
        return repeated_mixture(self.spec.domains, first, there), f"initial: again {scale.beyond(cheapest)}", scale

    def _rows(self, trials: Iterable[str]) -> Array:
        """(trials, domains) their mixtures."""
        rows = [self.trials[name].mixture.as_array(self.spec.domains.names) for name in trials]
        return np.reshape(rows, (-1, len(self.spec.domains)))

    def _dearest_next(self, num_proposals: int) -> bool:
        """Whether the dearest scale is due after so many proposals."""
        return dearest_due([self.spec.scale_of(proposal) for proposal in self.proposals[:num_proposals]], self.spec.asked)

    def _so_far(self, states: Mapping[str, str], *, dearest: bool = False) -> dict[str, Any]:
        """Mixtures and scales of trainings, as `next_mixture` takes them.

        Args:
            states: {training: its state}.
            dearest: only the dearest scale is a choice.
        """
        of = {state: [name for name in states if states[name] == state] for state in ("finished", "running", "failed")}
        scales = {state: [self.trials[name].scale for name in names] for state, names in of.items()}
        choices = (self.spec.asked,) if dearest else self.spec.scales[::-1]
        return {
            **{state: self._rows(names) for state, names in of.items()},
            "scales": Scales(choices=choices, finished=scales["finished"], running=scales["running"]),
        }

    def _lacking(self, states: Collection[str]) -> dict[str, int]:
        """Domains that joined and that too few trainings in these states hold, and how many do."""
        open_ends = zip(self.spec.domains.names, self.spec.domains.upper, strict=True)
        held = {name: 0 for name, high in open_ends if name in self._joined and high > 0}
        if not held:
            return {}
        least = dict(zip(self.spec.domains.names, holding_floor(self.spec.domains, tuple(held)), strict=True))
        for record in self.trials.values():
            if record.role == "sweep" and record.state in states:
                shares = record.mixture.as_dict()
                for name in held:
                    held[name] += shares.get(name, 0.0) >= least[name] * 0.999
        return {name: count for name, count in held.items() if count < NUM_JOINED}

    def _seed(self, mixture: Mixture, scale: Scale) -> int:
        earlier = sum(record.mixture == mixture and record.scale == scale for record in self.trials.values())
        return seed_for(self.spec.seed, "training", earlier)

    def _end(self, record: TrialRecord, state: str) -> None:
        if record.state == "running" and record.role not in (FINAL, DROPPED):
            self._over.append(record.trial)
        record.state = state

    def _moment(self, num_points: int, num_over: int, num_proposals: int) -> Moment:
        failed = sum(self.trials[name].state == "failed" for name in self._over[:num_over])
        return Moment(num_points=num_points, num_over=num_over, num_failed=failed, num_proposals=num_proposals)

    def _now(self) -> Moment:
        return self._moment(len(self._arrivals), len(self._over), len(self.proposals))

    def _evidence_of(self, moment: Moment) -> list[TrialRecord]:
        """`evidence` as it was."""
        points: dict[str, dict[int, dict[str, float]]] = {}
        for trial, step in self._arrivals[: moment.num_points]:
            points.setdefault(trial, {})[step] = self.trials[trial].points[step]
        failed = {name for name in self._over[: moment.num_over] if self.trials[name].state == "failed"}
        return [replace(record, points=points[name]) for name, record in self.trials.items() if name in points and name not in failed]

    def _fit(self, purpose: str, evidence: Sequence[TrialRecord], num_points: int, previous: WarmStart | None) -> FittedLaw | None:
        """The law of some trainings, None while they determine none.

        It starts from the previous one, but cold, and chooses everything anew, whenever the trainings have grown by a fifth.
        """
        usable = {record.mixture for record in evidence if any(step >= self.spec.first_step(record.steps) for step in record.points)}
        if len(usable) < 2:
            return None
        if previous is not None:
            octave = [math.floor(math.log(max(count, 1)) / math.log(1.2)) for count in (previous.num_trials, len(evidence))]
            previous = previous if octave[0] == octave[1] else None
        try:
            return fit_law(
                self.counted(evidence), own=self.spec.own, previous=previous, generator=rng(self.spec.seed, purpose, num_points),
            )  # fmt: skip
        except LawError:
            return None

    def _fit_of(self, moment: Moment, previous: WarmStart | None) -> FittedLaw | None:
        return self._fit("proposal fit", in_view(self._evidence_of(moment)), moment.num_points, previous)

    def _law_for_proposals(self) -> tuple[Moment, FittedLaw] | None:
        """The law of the chain of fits that proposals carry; None while too few first mixtures have been measured."""
        measured = {record.mixture for record in self.evidence()}
        if len(measured) < max(2, self.spec.num_initial // 2):
            return None
        return self._chain.law(self._now())

    def _question(self, moment: Moment, law: FittedLaw) -> Question:
        """What that law is asked; kept, because its beliefs cost as much as a fit."""
        if self._asked is None or self._asked[0] != moment:
            question = ask(
                law, self.spec.final_domains, weights=self.spec.weights, objective=self.spec.objective, step=self.spec.steps,
                size=self.spec.size,
            )  # fmt: skip
            self._asked = (moment, question)
        return self._asked[1]

    def _batch_of(self, moment: Moment, law: FittedLaw) -> Batch:
        """The batch that all proposals from that law belong to, as far as it has come."""
        if self._batch is None or self._batch[0] != moment:
            over = {name: self.trials[name].state for name in self._over[: moment.num_over]}
            states = {proposal.trial: over.get(proposal.trial, "running") for proposal in self.proposals[: moment.num_proposals]}
            batch = Batch(
                self._question(moment, law), self.spec.domains, generator=rng(self.spec.seed, "batch", moment.num_proposals),
                size=due(moment.num_over, self.spec.slots), **self._so_far(states),
            )  # fmt: skip
            self._batch = (moment, batch)
        batch = self._batch[1]
        while (number := moment.num_proposals + batch.made) < len(self.proposals):  # after a restart
            batch.next(rng(self.spec.seed, "proposal", number), dearest=self._dearest_next(number))
        return batch
