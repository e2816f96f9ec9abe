"""The events of a sweep, and the state they rebuild: live, after a restart and for the page, by this one path.

| kind | what it says |
| --- | --- |
| `sweep` | the first event: name, config and its digest, identity of the data, the spec |
| `change` | the sweep goes on with another config: what changed in words, the same as of `sweep`, and what becomes of trainings so far |
| `precision` | the number format of all trainings |
| `proposal` | a training was decided: mixture, reason, seed, role, the points and the law it was decided from |
| `start` | an attempt at it began: where, and how many CPU cores and GPUs it holds |
| `point` | losses of a training at a step |
| `end` | a training finished or failed |
| `refit` | what the points said at some moment: predicted optimum, region, regret, decision |
| `decision` | the sweep stopped proposing, and why |
| `finals` | the law and optimum that the final trainings test |
| `complete` | the comparison was made and the results written |
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bimix_sweep import files
from bimix_sweep.design.spec import SweepSpec
from bimix_sweep.design.state import Refit, SweepState
from bimix_sweep.design.stopping import Decision, StoppingRule
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import BimixSweepError, DivergedError, JournalError, SweepError
from bimix_sweep.law.fitted import FittedLaw
from bimix_sweep.mixture.domains import MOST_DOMAINS, DomainSet, Mixture
from bimix_sweep.sweep.hours import Hours
from bimix_sweep.sweep.losses import weighted_loss
from bimix_sweep.sweep.segments import Event, read
from bimix_sweep.sweep.shapes import check_shape

CHANGED = ("name", "config", "config_digest", "data", "spec")
"""Of the `sweep` event, what a `change` replaces."""
LIMITS = ("max_trials", "tolerance", "patience", "core_hours", "gpu_hours", "slots")
"""Of the spec, what only says how long to go on: the predicted optima and regrets of before stay answers to the question."""


def sweep_event(
    *, name: str, config_digest: str, data: Mapping[str, Any], spec: SweepSpec, versions: Mapping[str, str],
    config: Mapping[str, Any] | None = None,
) -> Event:  # fmt: skip
    """The first event; `config` is `SweepConfig.public`, what a change is compared with."""
    return {
        "kind": "sweep", "name": name, "config": dict(config or {}), "config_digest": config_digest, "data": dict(data),
        "spec": _spec_to_json(spec), "versions": dict(versions),
    }  # fmt: skip


def change_event(
    first: Event, *, what: Sequence[str], renamed: Mapping[str, str], dropped: Sequence[str], ended: Mapping[str, str]
) -> Event:
    """The sweep goes on as `first`, a `sweep` event, says.

    Args:
        what: the change in words, a line each.
        renamed, dropped, ended: as `SweepState.change` takes them.
    """
    return {
        "kind": "change", "what": list(what), **{key: first[key] for key in CHANGED}, "renamed": dict(renamed), "dropped": list(dropped),
        "ended": dict(ended),
    }  # fmt: skip


def proposal_event(proposal: Proposal, role: str) -> Event:
    """A training was decided; its size is there where the sweep has several, and so are its steps."""
    return {
        "kind": "proposal", "trial": proposal.trial, "role": role, "mixture": proposal.mixture.as_dict(), "reason": proposal.reason,
        "seed": proposal.seed, "num_points": proposal.num_points, "fit": dict(proposal.fit), **proposal.at,
    }  # fmt: skip


def refit_event(refit: Refit, num_over: int, by: str) -> Event:
    """What the points said; `by` tells a decision before a proposal from a look in between."""
    event: Event = {
        "kind": "refit", "by": by, "num_points": refit.num_points, "num_trials": refit.num_trials, "num_over": num_over,
        "seconds": round(refit.seconds, 4), "decision": asdict(refit.decision), "optimum": None,
    }  # fmt: skip
    if refit.optimum is not None and refit.law is not None:
        event["law"] = {"choice": dict(refit.law.choice), "digest": refit.law.digest, "error": _held_out_errors(refit.law)}
        event["optimum"] = {
            "mixture": refit.optimum.mixture.as_dict(),
            "objective": refit.optimum.objective,
            "region": {name: list(ends) for name, ends in refit.optimum.region.items()},
            "interval": {name: list(ends) for name, ends in refit.optimum.interval.items()},
        }
    return event


def _held_out_errors(law: FittedLaw) -> dict[str, float]:
    """{target: mean relative error of the chosen law on mixtures left out}, of targets that were cross-validated."""
    errors = law.cross_validation.get("by_target", {})
    found = {target: errors[target][name]["mean_relative_error"] for target, name in law.choice.items() if name in errors.get(target, {})}
    return {target: error for target, error in found.items() if math.isfinite(error)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTrial:
    """A training as the next driver finds it."""

    proposal: Proposal
    role: str
    state: str
    """"running" (to go on with), "finished" or "failed"."""
    objective: float | None
    """Its last weighted loss."""


@dataclass(slots=True, kw_only=True)
class SweepHistory:
    """Everything that happened so far."""

    first: Event
    """The `sweep` event, with what changes made of it."""
    spec: SweepSpec
    state: SweepState
    proposals: dict[str, Proposal] = field(default_factory=dict)
    """Every training by name, the final ones too, in order."""
    precision: dict[str, Any] | None = None
    starts: dict[str, list[Event]] = field(default_factory=dict)
    """Attempts at each training."""
    fruitless: dict[str, int] = field(default_factory=dict)
    """Attempts at each training since its last point."""
    refits: list[Event] = field(default_factory=list)
    decision: Decision | None = None
    """Set when the sweep stopped proposing."""
    finals: Event | None = None
    complete: bool = False
    changes: list[Event] = field(default_factory=list)
    retired: set[str] = field(default_factory=set)
    """Final trainings from before a change that say nothing about the sweep as it is now: failed, or of other data."""
    hours: Hours = field(default_factory=Hours)
    """Of compute that trainings used."""
    seconds: float = 0.0
    """Wall time that drivers spent: gaps between them are left out."""
    _last: tuple[int, float] = (0, 0.0)
    _num_failed: int = 0

    @classmethod
    def begin(cls, first: Event) -> "SweepHistory":
        """An empty history from the `sweep` event.

        Raises:
            BimixSweepError: it is no such event, or its spec does not fit together.
        """
        if first["kind"] != "sweep":
            raise SweepError("the journal begins with it; need a sweep event first")
        spec = _spec_from_json(first["spec"])
        return cls(first=first, spec=spec, state=SweepState(spec))

    def apply(self, event: Event) -> None:
        """Take in one event.

        Raises:
            SweepError, DivergedError, MixtureError: it does not fit what happened before; nothing is changed then.
        """
        take = getattr(self, f"_take_{event['kind']}", None) if event["kind"].isalpha() else None
        if take is None:
            raise SweepError(f"a {event['kind']} event is not known; this journal is of a newer program, so update bimix-sweep")
        take(event)
        self.hours.take(event, event.get("at", time.time()))  # the journal sets `at` while it writes
        if "at" in event:
            if event["epoch"] == self._last[0]:
                self.seconds += max(0.0, event["at"] - self._last[1])
            self._last = (event["epoch"], event["at"])

    def replay(self, event: Event) -> None:
        """`apply` for an event of a journal, which may be of a program that took losses of any size: such a training has failed.

        Raises: as `apply`.
        """
        try:
            self.apply(event)
        except DivergedError as error:
            self.apply({**event, "kind": "end", "state": "failed", "reason": str(error)})

    def restore_refits(self) -> None:
        """Give the state the decisions of earlier refits, so that its streak goes on where it was."""
        for event in self.refits:
            refit = Refit(
                num_points=event["num_points"], num_trials=event["num_trials"], law=None, optimum=None,
                decision=Decision(**event["decision"]), seconds=event["seconds"],
            )  # fmt: skip
            self.state.restore_refit(refit, event["num_over"], counted=event.get("by") != "watch")

    @property
    def num_over(self) -> int:
        """Trainings of the sweep that finished or failed."""
        return sum(record.role == "sweep" and record.state != "running" for record in self.state.trials.values())

    @property
    def num_points(self) -> int:
        """Points recorded of the trainings the law is fitted to."""
        return sum(len(record.points) for record in self.state.trials.values() if record.role == "sweep")

    def running(self, role: str | None = None) -> list[str]:
        """Names of trainings that have not ended."""
        return [name for name, record in self.state.trials.items() if record.state == "running" and role in (None, record.role)]

    def objective(self, trial: str) -> float | None:
        """Weighted loss at a training's last step; None before its first point."""
        points = self.state.trials[trial].points
        return weighted_loss(points[max(points)], self.spec.weights, self.spec.objective) if points else None

    def past(self) -> list[PastTrial]:
        """All trainings so far, for a driver that starts."""
        return [
            PastTrial(
                proposal=proposal, role=self.state.trials[name].role, state=self.state.trials[name].state, objective=self.objective(name)
            )
            for name, proposal in self.proposals.items()
        ]

    def _take_change(self, event: Event) -> None:
        spec = _spec_from_json(event["spec"])
        same_data = event["data"] == self.first["data"] and not event["renamed"] and not event["dropped"]
        same_question = same_data and replace(spec, **{name: getattr(self.spec, name) for name in LIMITS}) == self.spec
        self.state.change(spec, renamed=event["renamed"], dropped=event["dropped"], ended=event["ended"])
        self.first = {**self.first, **{key: event[key] for key in CHANGED}}
        self.spec, self.decision, self.finals, self.complete = spec, None, None, False
        records = self.state.trials
        self.proposals = {name: replace(proposal, mixture=records[name].mixture) for name, proposal in self.proposals.items()}
        self.retired |= {n for n, record in records.items() if record.role == "final" and (record.state == "failed" or not same_data)}
        self.refits = judged_again(self.refits, spec.rule) if same_question else []
        self._num_failed = sum(record.role == "sweep" and record.state == "failed" for record in records.values())
        self.changes.append(event)

    def _take_precision(self, event: Event) -> None:
        self.precision = event["precision"]

    def _take_proposal(self, event: Event) -> None:
        proposal = Proposal(
            trial=event["trial"], mixture=Mixture.from_mapping(event["mixture"]), reason=event["reason"], seed=event["seed"],
            num_points=event["num_points"], fit=event["fit"], size=event.get("size"), steps=event.get("steps"),
        )  # fmt: skip
        if proposal.trial not in self.state.trials:  # the state that made the proposal has it already
            if event["role"] == "sweep":
                self.state.restore_proposal(proposal)
            else:
                self.state.add_trial(proposal, event["role"])
        self.proposals[proposal.trial] = proposal

    def _take_start(self, event: Event) -> None:
        self.starts.setdefault(event["trial"], []).append(event)
        self.fruitless[event["trial"]] = self.fruitless.get(event["trial"], 0) + 1

    def _take_point(self, event: Event) -> None:
        self.state.record(event["trial"], event["step"], event["losses"])
        self.fruitless[event["trial"]] = 0

    def _take_end(self, event: Event) -> None:
        record = self.state.trials.get(event["trial"])
        if record is not None and record.state == "failed":
            return
        if event["state"] == "finished":
            self.state.finish(event["trial"])
        else:
            self.state.abandon(event["trial"], event["reason"])
            self._num_failed += self.state.trials[event["trial"]].role == "sweep"

    def _take_refit(self, event: Event) -> None:
        self.refits.append({**event, "num_finished": max(0, event["num_over"] - self._num_failed)})

    def _take_decision(self, event: Event) -> None:
        self.decision = Decision(**event["decision"])
        self.state.restore_decision(self.decision)

    def _take_finals(self, event: Event) -> None:
        self.finals = event

    def _take_complete(self, event: Event) -> None:
        self.complete = True


def judged_again(refits: Sequence[Event], rule: StoppingRule) -> list[Event]:
    """The same refits with the decisions that another rule would have made of them."""
    judged: list[Event] = []
    before, counted = None, 0
    for event in refits:
        figures = {key: event["decision"].get(key) for key in ("movement_tv", "regret_expected", "regret_upper95")}
        counts = event["num_over"] > counted and event.get("by") != "watch"
        before = rule.judge(before, num_finished=event["num_finished"], num_over=event["num_over"], counts=counts, **figures)
        counted = event["num_over"] if counts else counted
        judged.append({**event, "decision": asdict(before)})
    return judged


def rebuild(events: Iterable[Event], where: str) -> SweepHistory:
    """The history that events tell.

    Args:
        where: the journal's folder, for messages.

    Raises:
        JournalError: there is none, or one does not fit; it is named by its number.
    """
    history: SweepHistory | None = None
    for event in events:
        try:
            check_shape(event)
            if history is None:
                history = SweepHistory.begin(event)
            else:
                history.replay(event)
        except (BimixSweepError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise JournalError(f"{where}: event {event.get('seq', 1)} ({event['kind']}) cannot be used: {error}") from error
    if history is None:
        raise JournalError(f"{where} holds no events; nothing was started there")
    return history


def replay(folder: str | Path) -> SweepHistory:
    """What happened in a sweep's folder, read only.

    Raises:
        JournalError: the journal is empty, damaged or does not fit together.
    """
    journal = files.join(folder, "journal")
    return rebuild(read(journal).events, journal)


def _spec_to_json(spec: SweepSpec) -> dict[str, Any]:
    content: dict[str, Any] = {
        "targets": list(spec.targets), "weights": dict(spec.weights), "own": dict(spec.own), "objective": spec.objective,
        "steps": spec.steps, "size": spec.size, "eval_steps": list(spec.eval_steps), "min_step": spec.min_step, "seed": spec.seed,
        "max_trials": spec.max_trials, "slots": spec.slots, "tolerance": spec.tolerance, "patience": spec.patience,
        "core_hours": spec.core_hours, "gpu_hours": spec.gpu_hours, **({"smaller": list(spec.smaller)} if spec.smaller else {}),
        **({"shorter": list(spec.shorter)} if spec.shorter else {}),
    }  # fmt: skip
    for key, domains in (("domains", spec.domains), ("final_domains", spec.final_domains)):
        content[key] = {
            name: {"tokens": tokens if math.isfinite(tokens) else None, "min": low, "max": high}
            for name, tokens, low, high in zip(domains.names, domains.tokens, domains.lower, domains.upper, strict=True)
        }
    return content


def _spec_from_json(content: Mapping[str, Any]) -> SweepSpec:
    fields = dict(content)
    for key in ("domains", "final_domains"):
        entries = fields[key]
        if not 1 <= len(entries) <= MOST_DOMAINS:
            raise SweepError(f"{key} has {len(entries)} entries; need 1 to {MOST_DOMAINS}")
        fields[key] = DomainSet(
            names=tuple(entries),
            tokens=tuple(math.inf if e["tokens"] is None else float(e["tokens"]) for e in entries.values()),
            lower=tuple(float(e["min"]) for e in entries.values()),
            upper=tuple(float(e["max"]) for e in entries.values()),
        )
    fields |= {key: tuple(fields[key]) for key in ("targets", "eval_steps", "smaller", "shorter") if key in fields}
    return SweepSpec(**fields)
