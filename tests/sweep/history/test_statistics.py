"""The numbers a person decides by, from sweeps whose answers are known."""

import math
from dataclasses import replace

import pytest
from ray.util.metrics import Gauge

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.sweep.cluster.gauges import GAUGES, SweepGauges, readings
from bimix_sweep.sweep.history.events import SweepEvent, read_event
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.rebuilding import rebuild
from bimix_sweep.sweep.history.refits import PastRefit
from bimix_sweep.sweep.history.statistics import StatisticsCollector, information_rate
from bimix_sweep.sweep.history.stored_spec import StoredSpec
from bimix_sweep.sweep.history.usage import Hours


def begun(**changes):
    domains = DomainSet(names=("web", "code"), tokens=(1e9, 1e9))
    fields = {
        "domains": domains,
        "targets": ("web", "code"),
        "weights": {"web": 3.0, "code": 1.0},
        "own": {},
        "steps": 400,
        "size": 1e5,
        "max_trials": 10,
        "tolerance": 0.004,
    }
    return SweepEvent(
        name="s",
        config_digest="c",
        data={},
        spec=StoredSpec.of(SweepSpec(**(fields | changes))),
        versions={},
    )


def proposal(trial, role="sweep"):
    return {
        "kind": "proposal",
        "trial": trial,
        "role": role,
        "mixture": {"web": 0.5, "code": 0.5},
        "reason": "initial",
        "seed": 0,
        "num_points": 0,
        "fit": {},
    }


def point(trial, step, web, code):
    return {"kind": "point", "trial": trial, "step": step, "losses": {"web": web, "code": code}}


def end(trial, state="finished"):
    return {"kind": "end", "trial": trial, "state": state, "reason": ""}


def refit(points, regret, optimum=True):
    return {
        "kind": "refit",
        "num_points": points,
        "num_trials": 2,
        "num_over": 1,
        "seconds": 0.25,
        "decision": {
            "stop": False,
            "reason": "",
            "regret_expected": regret,
            "regret_upper95": None if regret is None else 2 * regret,
        },
        "law": {"choice": {"web": "bimix"}, "digest": "d", "error": {"web": 0.01, "code": 0.03}}
        if optimum
        else None,
        "optimum": {
            "mixture": {"web": 0.7, "code": 0.3},
            "objective": 2.5,
            "region": {},
            "interval": {"web": [0.6, 0.8], "code": [0.2, 0.4]},
        }
        if optimum
        else None,
    }


def past_refit(points, regret):
    return PastRefit.of(read_event(refit(points, regret)), num_failed=0)


def test_the_figures_are_those_of_the_record():
    events = [
        begun(core_hours=5.0).to_json(),
        proposal("t0000"),
        proposal("t0001"),
        proposal("t0002"),
        proposal("confirm-0", "confirmation"),
        {
            "kind": "start",
            "trial": "t0000",
            "where": "here",
            "cores": 2.0,
            "gpus": 0.5,
            "at": 0.0,
            "epoch": 1,
        },
        {**point("t0000", 200, 3.0, 3.0), "at": 900.0, "epoch": 1},
        {**point("t0000", 400, 2.0, 4.0), "at": 1800.0, "epoch": 1},
        {**end("t0000"), "at": 3600.0, "epoch": 1},
        point("t0001", 400, 1.0, 1.0),
        end("t0001", "failed"),
        point("confirm-0", 400, 4.0, 2.0),
        end("confirm-0"),
        refit(2, 0.02),
        refit(3, None, optimum=False),
    ]
    figures = StatisticsCollector().take(rebuild(events, "here"))
    assert figures.trials == {"running": 1, "finished": 2, "failed": 1}
    assert figures.points == 3  # of the sweep's trainings
    assert figures.objective_best == pytest.approx(
        (3 * 2 + 4) / 4
    )  # of t0000 at its last step; the failed one had less
    assert (figures.objective_predicted, figures.optimum, figures.interval["web"]) == (
        2.5,
        {"web": 0.7, "code": 0.3},
        [0.6, 0.8],
    )
    assert (figures.regret_expected, figures.regret_upper95, figures.tolerance) == (
        0.02,
        0.04,
        0.004,
    )
    assert (figures.core_hours, figures.gpu_hours) == (pytest.approx(2), pytest.approx(0.5))
    assert figures.budget_left == {"trials": 7, "core_hours": pytest.approx(3)}
    assert (figures.phase, figures.refit_seconds, figures.law_error) == (
        "sweep",
        0.25,
        {"web": 0.01, "code": 0.03},
    )
    shown = {(name, label): value for name, label, value in readings(figures)}
    assert shown["bimix_law_error_mean", ""] == pytest.approx(0.02)
    assert (shown["bimix_optimum_lower", "code"], shown["bimix_optimum_upper", "code"]) == (
        0.2,
        0.4,
    )
    assert [label for (name, label), value in shown.items() if name == "bimix_phase" and value] == [
        "sweep"
    ]
    assert {name for name, _ in shown} == GAUGES.keys() - {"bimix_information_per_core_hour"}


def test_a_sweep_without_a_point_has_no_optimum_and_no_error():
    figures = StatisticsCollector().take(SweepHistory.begin(begun()))
    assert (
        figures.optimum,
        figures.regret_expected,
        figures.objective_best,
        figures.information_per_core_hour,
    ) == ({}, None, None, None)
    assert {name for name, _, _ in readings(figures)} == {
        "bimix_phase",
        "bimix_trials",
        "bimix_points",
        "bimix_points_per_second",
        "bimix_core_hours",
        "bimix_gpu_hours",
        "bimix_budget_left",
        "bimix_regret_tolerance",
    }


def test_a_look_again_sees_what_came_since():
    history, figurer = (
        rebuild(
            [begun().to_json(), proposal("t0000"), point("t0000", 400, 3.0, 3.0), end("t0000")],
            "here",
        ),
        StatisticsCollector(),
    )
    assert figurer.take(history).objective_best == 3.0
    for event in (proposal("t0001"), point("t0001", 400, 2.0, 2.0), end("t0001")):
        history.apply(read_event(event))
    figures = figurer.take(history)
    assert (figures.objective_best, figures.points) == (2.0, 2)
    assert figures.points_per_second > 0


@pytest.mark.parametrize("regret", [0.1, 1e-5])
def test_information_of_a_regret_halved_every_hour_is_ln_2(regret):
    refits = [past_refit(100 * hour, regret * 0.5**hour) for hour in range(1, 11)]
    assert information_rate(refits, points=1000, core_hours=10.0) == pytest.approx(math.log(2))
    assert information_rate(refits, points=1000, core_hours=20.0) == pytest.approx(math.log(2) / 2)


def test_information_is_of_the_later_half_of_the_points_and_needs_two_refits():
    early = [past_refit(10 * place, 0.5**place) for place in range(1, 40)]
    late = [past_refit(600, 0.01), past_refit(800, 0.01), past_refit(1000, 0.01)]
    assert information_rate([*early, *late], points=1000, core_hours=1.0) == pytest.approx(0)
    assert information_rate(late[:1], points=1000, core_hours=1.0) is None
    assert (
        information_rate(
            [past_refit(600, None), past_refit(800, 0.0), past_refit(900, 0.1)],
            points=1000,
            core_hours=1.0,
        )
        is None
    )


def test_hours_run_from_a_start_to_the_last_sign_of_every_attempt():
    hours = Hours()
    start = {"kind": "start", "trial": "t0000", "where": "here", "cores": 4.0, "gpus": 8.0}
    for event, at in (
        (start, 0),
        (point("t0000", 100, 1, 1), 1800),  # killed after half an hour; a night passes
        (start, 50_000),
        (point("t0000", 200, 1, 1), 50_900),
        (end("t0000"), 51_800),
        (end("t0000"), 90_000),
    ):
        hours.take(read_event(event), float(at))
    assert (hours.core_hours, hours.gpu_hours) == (4.0, 8.0)
    older = Hours()  # a start without cores, as older journals have it
    older.take(read_event({"kind": "start", "trial": "t", "where": "here"}), 0.0)
    older.take(read_event(end("t")), 3600.0)
    assert (older.core_hours, older.gpu_hours) == (1.0, 0.0)


def test_ray_takes_every_name_as_a_label():
    """Ray's own gauges refuse text that is not ASCII with a UnicodeEncodeError."""
    names = ["café", "dolma/web", 'a "b", c', "x\\y", "网", "{z}"]
    figures = replace(
        StatisticsCollector().take(SweepHistory.begin(begun())),
        name="café",
        optimum=dict.fromkeys(names, 0.5),
        law_error=dict.fromkeys(names, 0.01),
    )
    with pytest.raises(UnicodeEncodeError):
        Gauge("bimix_try", description="", tag_keys=("domain",)).set(1, tags={"domain": "café"})
    SweepGauges("/sweeps/café")(figures)
