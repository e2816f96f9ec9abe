"""What a tracker shows of a sweep: one run for each trial and one for the sweep itself.

The runs are made from the journal alone, so that whoever makes them, and whenever, makes the same
ones, with the same ids.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bimix_sweep import files, locations
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.mixture.objective import weighted_loss
from bimix_sweep.sweep.history.events import (
    AnyEvent,
    CompleteEvent,
    EndEvent,
    PointEvent,
    ProposalEvent,
    RefitEvent,
    SweepEvent,
)
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.snapshot import phase_of
from bimix_sweep.sweep.views.follower import Follower
from bimix_sweep.sweep.workspace.redaction import masked
from bimix_sweep.text import printable

RESULTS = ("RECIPE.json", "report.html")
"""Files of a complete sweep that the sweep's run keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Metrics of a run at one step."""

    step: int
    """Optimizer step of a trial; number of the refit of a sweep, from 1."""
    at: float
    """Time of the measurement, seconds since 1970."""
    values: Mapping[str, float]
    """{metric: value}; the first metric is in every row of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """One run of a tracker, as it is to be."""

    id: str
    """Id of the run, 16 hexadecimal digits; the same whenever the run is made."""
    sweep_id: str
    """Id that all runs of the sweep share."""
    sweep: str
    """Name of the sweep."""
    name: str
    kind: Literal["trial", "sweep"]
    began: float
    """Seconds since 1970."""
    ended: float | None
    """Seconds since 1970; None while the run goes on."""
    state: str
    """"running", "finished" or "failed"."""
    settings: Mapping[str, str | float]
    """What was decided before the run began."""
    rows: Sequence[Row]
    """Metrics in the order of their steps."""
    summary: Mapping[str, str | float] = field(default_factory=dict)
    """What is known of the whole run so far."""
    files: Sequence[str] = ()
    """Paths or URIs of the files to keep with the run."""

    @property
    def axis(self) -> str | None:
        """Metric to draw the others over; None for the step."""
        return "trials" if self.kind == "sweep" else None

    @property
    def mark(self) -> str:
        """Hash of the content, by which a later process knows that the run was sent."""
        content = json.dumps(asdict(self), sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


class SweepRuns:
    """The runs of a sweep, followed through its journal."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._follower = Follower(folder, self._note)
        self._began_at = 0.0
        self._complete_at = 0.0
        self._refits: list[tuple[float, RefitEvent]] = []
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._points: dict[str, dict[int, float]] = {}

    @property
    def complete(self) -> bool:
        """True where the sweep's results are written."""
        return self._follower.complete

    def poll(self) -> None:
        """Reads new events.

        Raises:
            JournalError: the journal is damaged.
            OSError: the journal cannot be read.
        """
        self._follower.poll()

    def _note(self, event: AnyEvent, at: float) -> None:
        """Keeps what the history of a sweep does not: refits from before a change, and times."""
        match event:
            case SweepEvent():
                self._began_at = at
                for kept in (self._refits, self._began, self._ended, self._points):
                    kept.clear()
            case ProposalEvent():
                self._began[event.trial] = at
            case PointEvent():
                self._points.setdefault(event.trial, {})[event.step] = at
            case EndEvent():
                self._ended[event.trial] = at
            case RefitEvent() if event.optimum is not None:
                self._refits.append((at, event))
            case CompleteEvent():
                self._complete_at = at

    def versions(self) -> dict[str, tuple[Any, ...]]:
        """{name of a run: value that changes with the run}; cheap, so asked at every poll.

        The name of the sweep's run is "", that of a trial's is the trial's.
        """
        history = self._follower.history
        if history is None:
            return {}
        found: dict[str, tuple[Any, ...]] = {
            "": (len(self._refits), phase_of(history), history.decision is None)
        }
        for name, record in history.state.trials.items():
            anew = history.begun_anew.get(name, 0)
            found[name] = (anew, len(record.points), record.state, len(history.changes))
        return found

    def run(self, name: str) -> TrackedRun:
        """Makes the run that `versions` names."""
        history = self._follower.history
        assert history is not None  # noqa: S101
        return self._trial(history, name) if name else self._sweep(history)

    @property
    def sweep_id(self) -> str:
        """Id of the sweep: a hash of when and as what it began, which no change alters."""
        history = self._follower.history
        assert history is not None  # noqa: S101
        return _hash(self._began_at, history.spec.seed)

    def _trial(self, history: SweepHistory, name: str) -> TrackedRun:
        """A trial that began anew is another run, because a tracker cannot take back a curve."""
        record, spec = history.state.trials[name], history.spec
        anew = history.begun_anew.get(name, 0)
        times, rows = self._points.get(name, {}), []
        began = self._began.get(name, self._began_at)
        for step, losses in sorted(record.points.items()):
            objective = weighted_loss(losses, spec.weights, spec.objective, spec.goals)
            values = {"objective": objective} | {f"loss/{t}": v for t, v in losses.items()}
            if spec.tokens_per_step:
                values["tokens"] = step * spec.tokens_per_step
            rows.append(Row(step=step, at=times.get(step, began), values=values))
        settings: dict[str, str | float] = {
            "role": record.role,
            "reason": masked(printable(history.proposals[name].reason)),
            "seed": str(record.seed),  # up to 2**63: a float would lose digits
            "steps": record.steps,
            "size": record.size or spec.size,
        }
        settings |= {f"proportion/{domain}": p for domain, p in record.mixture.as_dict().items()}
        summary = {"state": record.state}
        if record.state == "failed":
            summary["failure"] = masked(printable(record.failure))
        return TrackedRun(
            id=_hash(self.sweep_id, name, anew),
            sweep_id=self.sweep_id,
            sweep=history.first.name,
            name=f"{name} (attempt {anew + 1})" if anew else name,
            kind="trial",
            began=began,
            ended=None if record.state == "running" else self._ended.get(name, began),
            state=record.state,
            settings=settings,
            rows=rows,
            summary=summary,
        )

    def _sweep(self, history: SweepHistory) -> TrackedRun:
        spec, complete = history.spec, history.complete
        summary: dict[str, str | float] = {"phase": phase_of(history)}
        if history.decision is not None:
            summary["decision"] = masked(printable(history.decision.reason))
        if complete:
            recipe = Recipe.read(locations.join(self._folder, "RECIPE.json"))
            summary |= {f"recommended/{name}": p for name, p in recipe.proportions.items()}
            summary |= {f"regret_{name}": value for name, value in recipe.regret.items()}
        return TrackedRun(
            id=self.sweep_id,
            sweep_id=self.sweep_id,
            sweep=history.first.name,
            name=history.first.name,
            kind="sweep",
            began=self._began_at,
            ended=self._complete_at if complete else None,
            state="finished" if complete else "running",
            settings={
                "folder": self._folder,
                "seed": str(spec.seed),
                "steps": spec.steps,
                "size": spec.size,
                "objective": spec.objective,
                "max_trials": spec.max_trials,
                "tolerance": spec.tolerance,
            },
            rows=[*self._refit_rows()],
            summary=summary,
            files=[locations.join(self._folder, name) for name in RESULTS] if complete else [],
        )

    def _refit_rows(self) -> Iterator[Row]:
        for number, (at, refit) in enumerate(self._refits, 1):
            values: dict[str, float] = {"trials": refit.num_trials}
            assert refit.optimum is not None  # noqa: S101
            for key in ("regret_expected", "regret_upper95"):
                if (value := getattr(refit.decision, key)) is not None:
                    values[key] = value
            values["predicted_objective"] = refit.optimum.objective
            values |= {f"optimum/{name}": p for name, p in refit.optimum.mixture.items()}
            for name, (low, high) in refit.optimum.interval.items():
                values |= {f"interval_low/{name}": low, f"interval_high/{name}": high}
            if refit.law is not None:
                values |= {f"law_error/{name}": error for name, error in refit.law.error.items()}
            yield Row(step=number, at=at, values=values)


def _hash(*parts: object) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()


def copied(path: str, scratch: str) -> Path:
    """Copies a file of the sweep's folder or URI into a local folder; returns the copy."""
    copy = Path(scratch, Path(path.partition("?")[0]).name)
    copy.write_bytes(files.read_bytes(path))
    return copy
