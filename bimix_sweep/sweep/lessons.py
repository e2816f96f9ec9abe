"""What each trial of a sweep taught: why it was proposed, and what its losses changed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bimix_sweep.design.evidence import points_to_fit
from bimix_sweep.errors import SweepError
from bimix_sweep.law.posterior.leave_one_out import leave_one_out
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.refits import PastRefit
from bimix_sweep.sweep.history.snapshot import percent
from bimix_sweep.sweep.outcome import law_so_far
from bimix_sweep.sweep.workspace.paths import sweep_folder

SURPRISE = 1.0
"""Smallest error of a left-out prediction, in its standard deviations, that is called a surprise."""
MOVED = 0.02
"""Smallest difference of a proportion to the predicted optimum that is told."""
_FALL = re.compile(r"(?P<kind>.*?)(, )?regret -(?P<fall>[0-9.e+-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What one trial taught."""

    trial: str
    state: str
    """"finished" or "failed"."""
    mixture: Mapping[str, float]
    """Proportions."""
    why: str
    """Why it was proposed, in words."""
    regret_before: float | None
    """Expected regret of the refit before the trial ended; None before the first law."""
    regret_after: float | None
    """Expected regret of the first refit with the trial; None where there is none yet, or no law."""
    ended_with: tuple[str, ...]
    """Trials that ended between the same two refits, this one left out."""
    surprises: Mapping[str, float]
    """{target: measured loss over the one predicted from all other trials, less 1}, of the targets
    in which the trial differs from what the others tell."""


def lessons(folder: str) -> list[Lesson]:
    """Returns the lessons of the trials of a sweep's search that ended, in the order of their ends.

    Args:
        folder: path or URI of the sweep.

    Raises:
        SweepError: no trial has ended.
        JournalError, LawError, TableError: the journal is damaged, or the trials determine no law.
    """
    history = replay(sweep_folder(folder))
    over = history.state.trial_record.over
    if not over:
        raise SweepError(f"{folder}: no trial has ended; wait for the first one")
    surprises = _surprises(history)
    by_end = {refit.num_over: refit for refit in history.refits}
    ends = sorted(count for count in by_end if count <= len(over))
    found = []
    for place, trial in enumerate(over):
        first = max((count for count in ends if count <= place), default=0)
        last = min((count for count in ends if count > place), default=len(over))
        record = history.state.trials[trial]
        found.append(
            Lesson(
                trial=trial,
                state=record.state,
                mixture=record.mixture.as_dict(),
                why=_why(history, trial),
                regret_before=_regret(by_end.get(first)),
                regret_after=_regret(by_end.get(last)),
                ended_with=tuple(name for name in over[first:last] if name != trial),
                surprises=surprises.get(trial, {}),
            )
        )
    return found


def in_words(reason: str) -> str:
    """The reason of a proposal in words, for people who do not know the journal's short form."""
    kind, _, detail = reason.partition(": ")
    if kind == "initial":
        return {
            "uniform": "the uniform mixture, where every sweep begins",
            "natural": "the natural mixture, where every sweep begins",
            "space-filling": "first mixtures, spread over all that is possible",
        }.get(detail, f"first mixtures ({detail})")
    if (found := _FALL.fullmatch(reason)) is None:
        return reason
    fall = percent(float(found["fall"]))
    kinds = {
        "": "",
        "replicate": "the same mixture with another seed, ",
        "at another size": "the same mixture at another size, ",
        "for another number of steps": "the same mixture for another number of steps, ",
    }
    return f"{kinds.get(found['kind'], found['kind'] + ', ')}to lower the expected regret by {fall}"


def _why(history: SweepHistory, trial: str) -> str:
    """The reason of a proposal, its part of the regret then, and where it lies from the optimum."""
    proposal = history.proposals[trial]
    words, found = in_words(proposal.reason), _FALL.fullmatch(proposal.reason)
    before = [r for r in history.refits if r.num_points <= proposal.num_points and r.optimum]
    if found is None or not before:
        return words
    regret, optimum = _regret(before[-1]), before[-1].optimum
    if regret:
        words += f" of {percent(regret)}"
    if optimum is None or found["kind"]:
        return words
    moved = {
        name: proportion - optimum.mixture.get(name, 0.0)
        for name, proportion in proposal.mixture.as_dict().items()
    }
    more, less = max(moved, key=lambda n: moved[n]), min(moved, key=lambda n: moved[n])
    if moved[more] < MOVED:
        return f"{words}, near the optimum of then"
    return f"{words}, with more {more} and less {less} than the optimum of then"


def _regret(refit: PastRefit | None) -> float | None:
    return None if refit is None else refit.decision.regret_expected


def _surprises(history: SweepHistory) -> dict[str, dict[str, float]]:
    """{trial: {target: relative error of its prediction from all other trials}} of surprises."""
    law = law_so_far(history)
    table = points_to_fit(history.spec, history.state.trial_record.evidence())
    names = tuple(dict.fromkeys(table.trials))
    if len(names) != law.num_trials:
        return {}
    left_out = leave_one_out(law.conditioned)
    sds = np.sqrt(left_out.expected)
    return {
        name: {
            target: float(np.expm1(error))
            for target, error, sd in zip(
                law.targets, left_out.error[:, column], sds[:, column], strict=True
            )
            if sd > 0 and abs(error) > SURPRISE * sd
        }
        for column, name in enumerate(names)
    }
