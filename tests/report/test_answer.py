"""The first sections of the page: the sentence that answers, the checks, and what is not known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bimix_sweep.design.comparison import ComparedMixture, Comparison
from bimix_sweep.law.optimum.gain import Gain
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.report.answer import answer
from bimix_sweep.report.bar import bar
from bimix_sweep.report.data import Progress, ReportData
from bimix_sweep.report.packing import unpack
from bimix_sweep.report.trust import checks
from bimix_sweep.report.unknowns import entries_of
from bimix_sweep.report.verdict import verdict

HALVES = Mixture(names=("python", "cpp", "english_docs"), proportions=(0.5, 0.25, 0.25))


def compared(role, objective):
    return ComparedMixture(
        role=role,
        mixture=HALVES,
        losses={},
        objective=objective,
        difference=objective - 3.0,
        noise95=0.02,
        differs=abs(objective - 3.0) > 0.02,
    )


def gain(lower, upper, measured=True):
    return Gain(
        baseline="today",
        mixture=HALVES,
        value=(lower + upper) / 2,
        lower=lower,
        upper=upper,
        measured=measured,
    )


COMPARISON = Comparison(
    mixtures=(compared("predicted", 3.0), compared("measured", 3.01), compared("today", 3.2)),
    seeds=(1, 2),
    recommended="predicted",
    reason="it is better",
    noise=0.01,
    bound=0.02,
)


@pytest.mark.parametrize(
    ("gained", "comparison", "sentence"),
    [
        (
            gain(0.041, 0.063),
            COMPARISON,
            "Use this: 5.2 % lower loss than today's mixture (4.1 to 6.3, 95 % interval); a tie "
            "with best measured.",
        ),
        (
            gain(-0.01, 0.02),
            replace(COMPARISON, bound=0.5),
            "Use this: no difference from today's mixture beyond the noise: 0.50 % (-1.0 to 2.0, "
            "95 % interval); a tie with best measured.",
        ),
        (
            gain(0.041, 0.063, measured=False),
            None,
            "Use this only to go on with the sweep: predicted 5.2 % lower loss than today's mixture "
            "(4.1 to 6.3, 95 % interval); no confirmation trial has compared it with others yet.",
        ),
        (
            gain(0.0, 0.0),
            replace(COMPARISON, recommended="today"),
            "Stay with today's mixture: no mixture was better.",
        ),
    ],
)
def test_one_sentence_says_what_to_use_what_it_gains_and_what_it_ties_with(
    sweep, gained, comparison, sentence
):
    assert verdict(replace(sweep, gain=gained, comparison=comparison)) == sentence


def test_the_answer_has_the_cost_the_next_command_and_the_mixture_to_copy(sweep):
    html = answer(sweep)
    assert "<strong>3.21 core-hours</strong><br>97 s of wall time" in html
    assert "bimix-sweep export &#x27;my sweep/RECIPE.json&#x27; --to megatron-lm</code>" in html
    forms = json.loads(unpack(html.split('id="form-texts">')[1].split("</script>")[0]))
    assert forms["megatron-lm"] == "0.4 python\n"
    assert [line.split(": ")[0] for line in forms["YAML"].splitlines()] == list(sweep.domains.names)


def test_gpu_hours_are_the_cost_where_gpus_were_used(sweep):
    used = replace(sweep.progress, gpu_hours=12.0)
    assert "<strong>12 GPU-hours</strong>" in answer(replace(sweep, progress=used))


def outcomes(data):
    return {check.name: check.outcome for check in checks(data)}


def test_checks_of_a_sound_sweep_pass_and_its_failed_trial_warns(sweep):
    found = outcomes(sweep)
    assert found.pop("Did the trials run?") == "warn"
    assert found.pop("Do bounds hold it back?", "pass") == "pass"
    assert set(found.values()) == {"pass"}
    assert len(found) >= 6


def test_checks_warn_and_fail_where_the_evidence_is_weak(sweep):
    errors = {
        target: {law: {"mean_relative_error": 0.2, "rank_correlation": 0.1}}
        for target, law in sweep.law.choice.items()
    }
    law = replace(sweep.law, cross_validation={"by_target": errors}, notes=("too few trials",))
    moved = replace(sweep.path[-1], movement_tv=0.3)
    weak = replace(
        sweep,
        law=law,
        path=(*sweep.path[:-1], moved),
        comparison=None,
        tolerance=1e-9,
        failed=dict.fromkeys(map(str, range(30)), "no loss"),
    )
    found = outcomes(weak)
    assert found["Did the fit have reservations?"] == "warn"
    assert found["Was it trained beside its rivals?"] == "warn"
    failing = {name for name, outcome in found.items() if outcome == "fail"}
    assert failing >= {
        "Does the law predict mixtures that it has not seen?",
        "Does it put mixtures in the right order?",
        "Would more trials gain much?",
        "Has the optimum settled?",
        "Did the trials run?",
    }


def test_what_trials_never_varied_and_never_varied_apart_is_named(sweep):
    first = np.linspace(0.1, 0.4, 8)
    names = ("a", "b", "c", "d")
    rows = np.stack([first, first / 2, 0.9 - 1.5 * first, np.full(8, 0.1)], axis=1)
    curves = [
        replace(curve, mixture=Mixture.from_array(names, row), targets=names[:3])
        for curve, row in zip(sweep.table.curves(), rows, strict=False)
    ]
    data = ReportData(
        name="x",
        domains=replace(sweep.domains, names=names, tokens=(), lower=(), upper=()),
        table=LossTable.from_curves(curves),
    )
    found = dict(entries_of(data))
    assert found["Never varied"].startswith("The proportion of d is about the same")
    assert found["Never varied apart"].startswith("a and b; a and c; b and c: the trials hardly")


def test_targets_of_weight_0_and_domains_without_a_decision_are_named(sweep):
    region = {"python": (0.0, 0.6), "cpp": (0.3, 0.5), "english_docs": (0.1, 0.2)}
    data = replace(
        sweep,
        weights={"python": 1.0, "cpp": 1.0, "english_docs": 0.0},
        optimum=replace(sweep.optimum, region=region),
    )
    found = dict(entries_of(data))
    assert found["Domains that the data do not decide"].startswith("1 of 3: python (0 to 60 %).")
    assert found["Targets that do not count"].startswith("english_docs: weight 0")


def test_the_bar_of_a_stopped_sweep_says_so_and_not_that_it_runs(sweep):
    stopped = Progress(
        state="stopped", words="no driver works on it", done=7, planned=22, seconds_left=60
    )
    html = bar(replace(sweep, progress=stopped), {"answer": "Answer"})
    assert '<strong class="state stopped">stopped</strong><span>no driver works on it' in html
    assert "7 of at most 22 trials" in html
    assert "left" not in html
    assert "running" not in html


def test_the_check_of_the_confirmation_trials_counts_the_passes_of_these_trials(sweep):
    """The law sees a trial that repeats its text as one of smaller proportions."""
    (rows,) = np.nonzero([sweep.roles.get(trial) == "confirmation" for trial in sweep.table.trials])
    assert len(rows)
    passes = np.full(sweep.table.proportions.shape, 0.5)
    passes[rows] = 40.0
    law = sweep.law.for_run(sweep.table.proportions[rows] / passes[rows])
    sizes = None if law.sizes is None else sweep.table.sizes[rows]
    losses = law.predict(sweep.table.proportions[rows], sweep.table.steps[rows], sizes)
    measured = sweep.table.losses.copy()
    measured[rows] = losses[:, [law.targets.index(name) for name in sweep.table.targets]]
    table = replace(sweep.table, losses=measured, epochs=passes)
    name = "Did the confirmation trials come out as predicted?"
    (check,) = (one for one in checks(replace(sweep, table=table)) if one.name == name)
    assert "the mean error is 0 %;" in check.text
    (check,) = (
        one for one in checks(replace(sweep, table=replace(table, epochs=None))) if one.name == name
    )
    assert "the mean error is 0 %;" not in check.text
