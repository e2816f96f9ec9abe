"""What is written as an event is read as the same event, and written again as the same bytes."""

from dataclasses import fields

import pytest

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.journal.codec import decode, encode
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.final_run import FinalRun
from bimix_sweep.mixture.goals import Goal
from bimix_sweep.sweep.history.event_fields import (
    ConfirmationMixture,
    StoredDecision,
    StoredLawSummary,
    StoredOptimum,
)
from bimix_sweep.sweep.history.events import (
    ChangeEvent,
    CompleteEvent,
    ConfirmationEvent,
    DecisionEvent,
    EndEvent,
    PointEvent,
    PrecisionEvent,
    ProposalEvent,
    RefitEvent,
    RetryEvent,
    StartEvent,
    SweepEvent,
    read_event,
)
from bimix_sweep.sweep.history.stored_spec import StoredSpec

PLAIN = SweepSpec(
    domains=DomainSet(names=("web", "code"), tokens=(1e9, float("inf"))),
    targets=("web", "code"),
    weights={"web": 1.0, "code": 3.0},
    own={"web": "web"},
    steps=400,
    size=1e5,
    max_trials=8,
)
RICH = SweepSpec(
    domains=DomainSet(names=("web", "code"), upper=(1.0, 0.5)),
    targets=("exam",),
    weights={"exam": 1.0},
    own={},
    goals={"exam": Goal(direction="max", range=(0.0, 1.0))},
    steps=400,
    shorter=(100, 200),
    size=1e6,
    smaller=(1e5,),
    eval_steps=(100, 400),
    max_trials=8,
    core_hours=2.0,
    max_before_caps=(1.0, 1.0),
    final=FinalRun(tokens=1e12, size=7e9, max_epochs=1.0),
    tokens_per_step=16384,
    unique_tokens={"web": 5e8},
)
CONFIG = {"name": "s", "config": {"seed": 0}, "config_digest": "c", "data": {"store": "d"}}
DECISION = StoredDecision(stop=True, reason="r", regret_expected=0.001, regret_upper95=0.002)
HALF = {"web": 0.5, "code": 0.5}
PROPOSAL = {"role": "sweep", "mixture": HALF, "reason": "r", "seed": 1, "num_points": 0, "fit": {}}
REFIT = {"num_points": 3, "num_trials": 2, "num_over": 1, "seconds": 0.25, "decision": DECISION}
OPTIMUM = StoredOptimum(
    mixture=HALF, objective=2.5, region={"web": [0.4, 0.6]}, interval={"web": [0.3, 0.7]}
)
EVENTS = [
    SweepEvent(**CONFIG, spec=StoredSpec.of(PLAIN), versions={"numpy": "2"}),
    SweepEvent(**CONFIG, spec=StoredSpec.of(RICH), versions={}),
    ChangeEvent(
        **CONFIG,
        what=["w"],
        spec=StoredSpec.of(PLAIN),
        renamed={"web": "web@old"},
        dropped=["t0000"],
        ended={"t0001": "r"},
    ),
    PrecisionEvent(precision={"dtype": "bfloat16"}),
    ProposalEvent(trial="t0000", **PROPOSAL),
    ProposalEvent(trial="t0000", size=1e5, steps=100, **PROPOSAL),
    StartEvent(trial="t0000", where="here", cores=2, gpus=0.5),
    PointEvent(trial="t0000", step=100, losses={"web": 3.25}),
    EndEvent(trial="t0000", state="failed", reason="r", cause="budget"),
    RetryEvent(trial="t0000", reopens=True),
    RefitEvent(by="watch", **REFIT, optimum=None),
    RefitEvent(**REFIT, optimum=OPTIMUM, law=StoredLawSummary(choice={"web": "bimix"}, digest="d")),
    DecisionEvent(decision=DECISION),
    ConfirmationEvent(
        law={}, num_points=3, mixtures=[ConfirmationMixture(labels=["uniform"], mixture=HALF)]
    ),
    CompleteEvent(),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_an_event_is_read_as_it_was_written(event):
    line = encode({"seq": 3, "epoch": 1, "at": 5.0, **event.to_json()})
    read = read_event(decode(line[:-1]))
    assert (read.seq, read.epoch, read.at) == (3, 1, 5.0)
    assert read.model_copy(update={"seq": None, "epoch": None, "at": None}) == event
    assert encode({"seq": 3, "epoch": 1, "at": 5.0, **read.to_json()}) == line


@pytest.mark.parametrize("spec", [PLAIN, RICH])
def test_a_spec_is_read_as_it_was_written(spec):
    assert StoredSpec.of(spec).spec() == spec


def test_every_field_of_a_spec_is_stored():
    assert set(StoredSpec.model_fields) == {field.name for field in fields(SweepSpec)}


def test_a_whole_number_stays_whole_in_the_journal():
    assert '"tokens_per_step":16384,' in encode(EVENTS[1].to_json()).decode()
    assert '"cores":2,' in encode(EVENTS[6].to_json()).decode()
