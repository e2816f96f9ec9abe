"""Accuracies of a planted truth through every command that reads a table: the best mixture is known
beforehand.
"""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bimix_sweep.cli import app

NAMES = ("web", "code", "books")
BEST = np.array([0.69, 0.21, 0.10])
PART = (BEST + 0.02) ** 1.5


def needed(shares):
    """Sum of c_i (r_i + .02)^-1/2 over its minimum: on the simplex it is least, 1, at BEST."""
    return (PART * (shares + 0.02) ** -0.5).sum(axis=-1) / (PART * (BEST + 0.02) ** -0.5).sum()


def accuracy(shares):
    """0.62 at BEST and falling to 0.25, chance, away from it."""
    return 0.25 + 0.37 * np.exp(-0.8 * (needed(shares) - 1))


def loss(shares):
    """Nats per token, least where there is much code."""
    return 2.0 * (0.05 + shares[..., 1]) ** -0.1


def mixtures(count, seed):
    return np.random.default_rng(seed).dirichlet([1, 1, 1], count)


def write(path, shares, **losses):
    """A loss table; columns of `losses` are named as they are given."""
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["trial", "step", *(f"r_{name}" for name in NAMES), *losses])
        for n, row in enumerate(shares):
            out.writerow([f"t{n}", 100, *row, *(values[n] for values in losses.values())])
    return path


def read(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def call(*words, code=0):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def noisy(values, seed=1):
    return values + np.random.default_rng(seed).normal(0, 0.002, len(values))


def optimum(law, out, *options):
    call("optimum", law, "-o", out, *options)
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def shares():
    return mixtures(40, 0)


@pytest.mark.parametrize(("unit", "goal"), [(1, "max:0:1"), (100, "max:0:100")])
def test_an_accuracy_is_maximised_and_shown_in_its_own_unit(tmp_path, shares, unit, goal):
    table = write(tmp_path / "runs.csv", shares, loss_exam=unit * noisy(accuracy(shares)))
    said = call("fit", table, "--goal", f"exam={goal}", "-o", tmp_path / "L.json")
    assert f"maximised in 0 to {unit}" in said
    assert "note" not in said
    law = json.loads((tmp_path / "L.json").read_text())
    assert law["goals"] == {"exam": {"goal": "max", "range": [0, unit]}}
    said = call("optimum", tmp_path / "L.json", "-o", tmp_path / "R.json")
    assert "are of the distance of exam from the best end of its range" in said
    recipe = json.loads((tmp_path / "R.json").read_text())
    row = next(line for line in said.splitlines() if line.split()[:1] == ["exam"])
    sd = recipe["predicted_sd"]["exam"]
    assert row.split()[1:4] == [f"{recipe['predicted_losses']['exam']:.4g}", f"{sd:.2g}", "1"]
    assert f"maximised in 0 to {unit}" in row
    assert 0 < sd / unit < 0.05
    found = np.array([recipe["proportions"][name] for name in NAMES])
    assert np.abs(found - BEST).max() < 0.06
    assert accuracy(found) > accuracy(BEST) - 0.003
    assert recipe["predicted_losses"]["exam"] / unit == pytest.approx(0.62, abs=0.015)
    assert recipe["goals"] == law["goals"]
    low, high = recipe["interval"]["web"]
    assert low < BEST[0] < high


def test_predictions_of_unseen_mixtures_are_accuracies_and_their_intervals_hold(tmp_path, shares):
    table = write(tmp_path / "runs.csv", shares, loss_exam=noisy(accuracy(shares)))
    call("fit", table, "--goal", "exam=max:0:1", "-o", tmp_path / "L.json")
    unseen = mixtures(200, 7)
    asked = write(tmp_path / "m.csv", unseen, loss_exam=accuracy(unseen), note=["x"] * 200)
    said = call("predict", tmp_path / "L.json", asked, "-o", tmp_path / "p.csv")
    assert "in the unit of exam, which is maximised in 0 to 1" in said
    assert "holds predictions in loss_exam, not what" in said
    assert "the loss of exam is its distance from the best end of its range" in said
    rows = read(tmp_path / "p.csv")
    assert [row["trial"] for row in rows] == [f"t{n}" for n in range(200)]
    mean, sd = (np.array([float(row[f"{what}_exam"]) for row in rows]) for what in ("loss", "sd"))
    missed = np.abs(mean - accuracy(unseen))
    assert missed.mean() < 0.012
    assert (missed < 1.96 * sd).mean() >= 0.8
    objective = np.array([float(row["objective"]) for row in rows])
    assert objective == pytest.approx(1 - mean + 0.01)
    better, worse = np.argsort(accuracy(unseen))[[-10, 10]]
    assert mean[better] > mean[worse]
    assert ((mean >= 0) & (mean <= 1)).all()


def test_a_table_of_losses_and_accuracies_lies_between_their_optima_as_the_weights_say(
    tmp_path, shares
):
    columns = {"loss_exam": noisy(accuracy(shares)), "loss_text": noisy(loss(shares), 2)}
    table = write(tmp_path / "runs.csv", shares, **columns)
    call("fit", table, "--goal", "exam=max:0:1", "--goal", "text=min", "-o", tmp_path / "L.json")
    fine = mixtures(20_000, 3)
    for weight in (0.0, 0.5, 1.0):
        (tmp_path / "w.json").write_text(json.dumps({"exam": weight, "text": 1 - weight}))
        recipe = optimum(tmp_path / "L.json", tmp_path / "R.json", "--weight", tmp_path / "w.json")
        found = np.array([recipe["proportions"][name] for name in NAMES])

        def true(rows, weight=weight):
            return (1 - weight) * loss(rows) - weight * accuracy(rows)

        assert true(found) < true(fine).min() + 0.006
        assert recipe["predicted_losses"]["text"] == pytest.approx(loss(found), rel=0.02)
    # An accuracy of 0.51 has the loss 0.5: weights 1 / 0.5 and 1 / 4 over their sum are 8/9 and 1/9.
    (tmp_path / "w.json").write_text(json.dumps({"exam": 8 / 9, "text": 1 / 9}))
    by_weights, by_references = (
        optimum(tmp_path / "L.json", tmp_path / "R.json", *option)["proportions"]
        for option in (
            ("--weight", tmp_path / "w.json"),
            ("--reference", "exam=0.51", "--reference", "text=4"),
        )
    )
    assert by_references == pytest.approx(by_weights, abs=1e-6)


def test_a_metric_below_zero_has_a_goal_with_a_range_of_either_direction(tmp_path, shares):
    margin = 4 * noisy(accuracy(shares)) - 2  # from -1 up
    for sign, goal in ((1, "max:-3:3"), (-1, "min:-3:3")):
        table = write(tmp_path / "runs.csv", shares, loss_margin=sign * margin)
        if sign == 1:
            said = call("fit", table, "-o", tmp_path / "L.json", code=1)
            assert "if margin is another metric state its goal and range" in said
        call("fit", table, "--goal", f"margin={goal}", "-o", tmp_path / "L.json")
        recipe = optimum(tmp_path / "L.json", tmp_path / "R.json")
        assert recipe["proportions"]["web"] == pytest.approx(BEST[0], abs=0.06)
        assert recipe["predicted_losses"]["margin"] == pytest.approx(sign * 0.48, abs=0.06)


def test_a_target_named_as_an_accuracy_is_not_fitted_before_its_direction_is_stated(
    tmp_path, shares
):
    table = write(tmp_path / "runs.csv", shares, loss_arc_acc=100 * noisy(accuracy(shares)))
    law = tmp_path / "L.json"
    for words in (
        ("fit", table, "-o", law),
        ("propose", table, "--count", 1, "-o", tmp_path / "m.csv"),
        ("replay", table, "--trials", 8, "-o", tmp_path / "h.csv"),
    ):
        said = " ".join(call(*words, code=1).split())
        assert "arc_acc is named like a metric of which more is better" in said
        assert "--goal arc_acc=max:0:100 if more is better, --goal arc_acc=min" in said
    assert not law.exists()
    call("fit", table, "--goal", "arc_acc=min", "-o", law)


def test_values_between_zero_and_one_are_asked_about_and_a_stated_goal_ends_that(tmp_path, shares):
    table = write(tmp_path / "runs.csv", shares, loss_exam=noisy(accuracy(shares)))
    said = call("fit", table, "-o", tmp_path / "L.json")
    assert "note: exam is minimised as a loss, and all its values lie between 0 and 1" in said
    assert "note" not in call("fit", table, "--goal", "exam=min", "-o", tmp_path / "L.json")
    own = write(tmp_path / "own.csv", shares, loss_web=noisy(0.9 - 0.1 * shares[:, 0]))
    assert "minimised as a loss" not in call("fit", own, "-o", tmp_path / "L.json")


def test_the_next_mixtures_and_a_replay_follow_the_goal(tmp_path, shares):
    table = write(tmp_path / "runs.csv", shares, loss_exam=noisy(accuracy(shares)))
    held = write(tmp_path / "held.csv", shares[:20], loss_exam=noisy(accuracy(shares))[:20])
    goal = ("--goal", "exam=max:0:1")
    call("propose", table, "--count", 3, "-o", tmp_path / "m.csv", *goal)
    rows = read(tmp_path / "m.csv")
    near = np.array([[float(row[f"r_{name}"]) for name in NAMES] for row in rows])
    assert accuracy(near).mean() > np.quantile(accuracy(shares), 0.7)
    said = call("replay", table, "--trials", 14, "--heldout", held, "-o", tmp_path / "h.csv", *goal)
    assert "20 of 20 runs of" in said
    assert "are in" in said
    last = read(tmp_path / "h.csv")[-1]
    assert float(last["spearman"]) > 0.85
    assert float(last["regret"]) < 0.03
    assert "does not go with" in call(
        "propose", tmp_path, "--count", 1, "-o", tmp_path / "m.csv", *goal, code=1
    )


@pytest.mark.parametrize(
    "goals",
    [
        {"exam": {"goal": "up", "range": [0, 1]}},
        {"exam": {"goal": "max", "range": None}},
        {"exam": {"goal": "max", "range": [1, 0]}},
        {"exam": {"goal": "max", "range": [0, 1e300]}},
        {"other": {"goal": "max", "range": [0, 1]}},
        {"exam": 3},
        [],
    ],
)
def test_a_law_file_with_goals_that_are_none_is_refused(tmp_path, shares, goals):
    table = write(tmp_path / "runs.csv", shares[:8], loss_exam=noisy(accuracy(shares[:8])))
    call("fit", table, "--goal", "exam=max:0:1", "-o", tmp_path / "L.json")
    content = json.loads((tmp_path / "L.json").read_text()) | {"goals": goals}
    (tmp_path / "L.json").write_text(json.dumps(content))
    said = call("optimum", tmp_path / "L.json", "-o", tmp_path / "R.json", code=1)
    assert "L.json: the law file is damaged" in said
