"""A sweep too large for a fit before every proposal: `EACH` is lowered here, so that a few dozen
trainings are many.
"""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from bimix_sweep.design import refit_schedule
from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.refit_schedule import due
from bimix_sweep.mixture.domains import DomainSet

NAMES = ("code", "docs", "web")
STEPS = (100, 200, 400)
DOMAINS = DomainSet(names=NAMES, tokens=(1e9, 3e9, 6e9))
SPEC = SweepSpec(
    domains=DOMAINS,
    targets=NAMES,
    weights=dict.fromkeys(NAMES, 1.0),
    own={n: n for n in NAMES},
    steps=400,
    size=1e5,
    eval_steps=STEPS,
    min_step=100,
    seed=7,
    max_trials=24,
    tolerance=1e-9,
)
LARGE = replace(SPEC, slots=4, max_trials=60)


def curve(proposal):
    """{step: {target: loss}} of a planted law with noise."""
    generator = np.random.default_rng([proposal.seed % 2**32, *proposal.trial.encode()])
    useful = 0.05 + proposal.mixture.as_array(NAMES) ** 0.8
    offset = generator.normal(0, 0.003, 3)
    losses = {
        step: (1 + 6 * step**-0.45) * useful**-0.15 * np.exp(offset + generator.normal(0, 0.001, 3))
        for step in STEPS
    }
    return {step: dict(zip(NAMES, values.tolist(), strict=True)) for step, values in losses.items()}


@pytest.fixture
def early(monkeypatch):
    """From 8 trainings on a law serves until half of those beyond have ended again."""
    monkeypatch.setattr(refit_schedule, "EACH", 8)
    monkeypatch.setattr(refit_schedule, "GROWTH", 0.5)


class Recorded:
    """A state and everything that was done to it, in order."""

    def __init__(self, spec, events=()):
        self.state, self.events = SweepState(spec), []
        for event in events:
            self.take(event)

    def take(self, event):
        what, *given = event
        {"proposal": self.state.restore_proposal, "point": self.state.record, "end": self._end}[
            what
        ](*given)
        self.events.append(event)

    def _end(self, trial, failed):
        if failed:
            self.state.abandon(trial, "exploded")
        else:
            self.state.finish(trial)

    def go_on(self, number):
        """Proposals up to `number`, four trainings at a time, of which the eldest ends; every tenth
        fails.
        """
        while len(self.state.proposals) < number or any(
            record.state == "running" for record in self.state.trials.values()
        ):
            running = [
                p for p in self.state.proposals if self.state.trials[p.trial].state == "running"
            ]
            if len(self.state.proposals) < number and len(running) < 4:
                proposal = self.state.propose(f"t{len(self.state.proposals)}")
                self.events.append(("proposal", proposal))
                continue
            for place, proposal in enumerate(running):
                record = self.state.trials[proposal.trial]
                points = curve(proposal)
                for step in [step for step in points if step not in record.points][
                    : 1 if place else None
                ]:
                    self.take(("point", proposal.trial, step, points[step]))
            self.take(("end", running[0].trial, running[0].trial.endswith("8")))
            if len(self.state.proposals) >= number:
                return


def test_small_sweeps_put_nothing_off():
    assert {due(count, slots) for count in range(140) for slots in (1, 31)} == {1}
    assert (due(2000, 64), due(100, 64), due(180, 64)) == (95, 4, 4)


@pytest.mark.usefixtures("early")
def test_a_large_sweep_restarted_anywhere_proposes_as_if_nothing_had_happened():
    whole = Recorded(LARGE)
    whole.go_on(40)
    places = [number for number, event in enumerate(whole.events) if event[0] == "proposal"]
    for stop in places[12::5]:
        again = Recorded(LARGE, whole.events[:stop])
        for event in whole.events[stop:]:
            if event[0] == "proposal":
                proposal = again.state.propose(event[1].trial)
                assert proposal == event[1]
            else:
                again.take(event)


@pytest.mark.usefixtures("early")
def test_a_law_serves_until_enough_trainings_have_ended_and_one_proposal_carries_it():
    sweep = Recorded(LARGE)
    sweep.go_on(50)
    carrying = [number for number, proposal in enumerate(sweep.state.proposals) if proposal.fit]
    over = [sweep.state.proposals[number].fit["num_over"] for number in carrying]
    later = [(before, after) for before, after in itertools.pairwise(over) if before > 12]
    assert later
    assert all(after - before >= due(after, 1) > 1 for before, after in later)
    mixtures = {proposal.mixture.proportions for proposal in sweep.state.proposals[carrying[-1] :]}
    assert len(mixtures) == len(sweep.state.proposals) - carrying[-1] > 3


@pytest.mark.usefixtures("early")
def test_watching_a_large_sweep_does_not_change_it():
    quiet, watched = Recorded(LARGE), Recorded(LARGE)
    quiet.go_on(24)
    for number in range(1, 25):
        watched.go_on(number)
        if len(watched.state.trial_record.evidence()) > 3:
            watched.state.refit(watching=True)
    again = Recorded(LARGE)
    for number in range(1, 25):
        again.go_on(number)
    assert watched.state.proposals == again.state.proposals
    assert len(quiet.state.proposals) == 24


def test_what_a_proposal_carries_does_not_grow_with_the_trainings():
    few, many = Recorded(SPEC), Recorded(replace(SPEC, max_trials=40))
    few.go_on(10)
    many.go_on(24)
    sizes = [
        len(json.dumps([p.fit for p in sweep.state.proposals if p.fit][-1]))
        for sweep in (few, many)
    ]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)
    assert sizes[1] < len(json.dumps(many.state.refit().law.to_json())) / 2


def test_laws_of_earlier_refits_are_let_go():
    sweep = Recorded(SPEC)
    for number in range(6, 12):
        sweep.go_on(number)
        sweep.state.decide()
    assert len(sweep.state.history) > 3
    assert [refit.law is None for refit in sweep.state.history] == [True] * (
        len(sweep.state.history) - 1
    ) + [False]


def test_what_was_evidence_at_a_moment_stays_known():
    sweep = Recorded(LARGE)
    sweep.go_on(16)
    position, then = (
        sweep.state.trial_record.now(),
        {record.trial: dict(record.points) for record in sweep.state.trial_record.evidence()},
    )
    sweep.go_on(30)
    assert sweep.state.trials["t18"].state == "failed"
    assert {
        record.trial: record.points for record in sweep.state.trial_record.evidence_at(position)
    } == then
    assert {record.trial: record.points for record in sweep.state.trial_record.evidence()} != then


def test_while_the_sweep_goes_on_a_law_sees_the_first_and_the_last_trainings_and_in_the_end_all(
    monkeypatch,
):
    monkeypatch.setattr(refit_schedule, "FIRST", 4)
    monkeypatch.setattr(refit_schedule, "LAST", 6)
    sweep = Recorded(SPEC)
    sweep.go_on(16)
    seen = sweep.state.refit(watching=True).law
    finished = sweep.state.trial_record.evidence()
    assert seen.num_trials == 10 < len(finished)
    assert [tuple(row) for row in seen.trials.proportions] == [
        record.mixture.proportions for record in [*finished[:4], *finished[-6:]]
    ]
    assert sweep.state.refit(anew=True).law.num_trials == len(finished)
