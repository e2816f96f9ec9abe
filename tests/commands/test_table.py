"""One command line from the files of other projects to a recipe, and pipes."""

import csv
import json
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from typer.testing import CliRunner

import bimix_sweep
from bimix_sweep.cli import BROKEN_PIPE, app
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng
from tests.benchmarks.recording import SHARED

DOMAINS = ("web", "code", "law")
USE = np.array([[1.0, 0.1], [0.3, 1.0], [0.1, 0.1]])
"""(domains, targets) use of a domain's tokens for a target."""


def planted(proportions):
    return 3.0 * (0.1 + proportions @ USE) ** -0.2


def best():
    found = minimize(
        lambda r: planted(r).mean(),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda r: r.sum() - 1},
    )
    return found.x


MIXTURES = rng(0, "finished runs").dirichlet(np.ones(3), size=16).round(3)
MIXTURES /= MIXTURES.sum(axis=1, keepdims=True)
LOSSES = planted(MIXTURES) * np.exp(1e-3 * rng(1, "noise").normal(size=(16, 2)))


def bimix(*words, given=None):
    done = CliRunner().invoke(app, [str(word) for word in words], given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def written(path, header, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def regmix(folder):
    mixtures = written(
        folder / "mixture.csv",
        ["index", *(f"train_the_pile_{name}" for name in DOMAINS)],
        [[n + 1, *row] for n, row in enumerate(MIXTURES.tolist())],
    )
    losses = written(
        folder / "loss.csv",
        ["index", *(f"metric/the_pile_{name}_val_loss" for name in DOMAINS[:2])],
        [[n + 1, *row] for n, row in enumerate(LOSSES.tolist())][::-1],
    )
    strip = ["--strip", "train_the_pile_", "--strip", "the_pile_"]
    return [mixtures, losses, *strip, "--loss", "metric/*_val_loss"], DOMAINS


def olmix(folder):
    """As allenai/olmix writes its swarms; the metrics have another order of rows."""
    names = [f"all-dressed:{name}" for name in DOMAINS]
    first = [[f"x{n:02}9", f"swarm-{n:04}", n] for n in range(16)]
    mixtures = written(
        folder / "ratios.csv",
        ["run", "name", "index", *names],
        [[*key, *row] for key, row in zip(first, MIXTURES.tolist(), strict=True)],
    )
    losses = written(
        folder / "metrics.csv",
        ["run", "name", "index", "arc_easy:rc::olmes", "eval/downstream/mmlu (BPB v2)"],
        [[*key, *row] for key, row in zip(first, LOSSES.tolist(), strict=True)][::-1],
    )
    return [mixtures, losses], names


def marin(folder):
    names = ["dolma/web", "dolmino/code", "nemotron_cc/hq"]
    table = written(
        folder / "marin.csv",
        [
            "wandb_run_id",
            "status",
            *(f"phase_0_{name}" for name in names),
            "eval/paloma/c4_en/bpb",
            "eval/uncheatable_eval/github/bpb",
            "throughput/total_tokens",
        ],
        [[f"r{n}", "completed", *row, *LOSSES[n], 1e9] for n, row in enumerate(MIXTURES.tolist())],
    )
    return [table, "--mixture", "phase_0_*", "--loss", "eval/*/bpb"], names


def wandb(folder):
    table = written(
        folder / "wandb_export.csv",
        ["Name", "State", "mixture.web", "mixture.code", "mixture.law", "eval/a/loss", "b loss"],
        [
            *(
                [f"run-{n}", "finished", *row, *LOSSES[n]]
                for n, row in enumerate(MIXTURES.tolist())
            ),
            ["run-16", "crashed", 1, 0, 0, 11.5, 11.5],
        ],
    )
    options = ["--mixture", "mixture.*", "--loss", "eval/*/loss", "--loss", "* loss"]
    return [table, *options, "--trial", "Name"], DOMAINS


def test_the_guides_command_for_charts_gives_the_curves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wandb(tmp_path)
    runs = [f"run-{n}" for n in range(16)]
    for name, losses in zip(("web", "code"), LOSSES.T, strict=True):
        header = ["Step"]
        for run in runs:
            header += [f"{run} - eval/{name}/loss{end}" for end in ("", "__MIN", "__MAX")]
        cells = np.repeat(losses, 3)
        written(tmp_path / f"chart_{name}.csv", header, [[100, *(2 * cells)], [200, *cells]])
    guide = (Path(bimix_sweep.__file__).parent / "docs" / "finished-runs.md").read_text()
    [command] = [line for line in guide.splitlines() if "chart_code.csv" in line]
    bimix(*shlex.split(command)[1:])
    table = LossTable.read(tmp_path / "runs.csv")
    assert (table.domains, table.targets) == (DOMAINS, ("web", "code"))
    for run, proportions, losses in zip(runs, MIXTURES, LOSSES, strict=True):
        rows = [n for n, trial in enumerate(table.trials) if trial == run]
        assert table.steps[rows].tolist() == [100, 200]
        np.testing.assert_allclose(table.proportions[rows], [proportions] * 2)
        np.testing.assert_allclose(table.losses[rows], [2 * losses, losses])


@pytest.mark.parametrize("origin", [regmix, olmix, marin, wandb])
def test_one_line_goes_from_the_files_of_another_project_to_a_recipe(tmp_path, origin):
    words, domains = origin(tmp_path)
    table = bimix("table", *words, "-o", "-")
    rows = list(csv.reader(StringIO(table.stdout)))
    assert rows[0][:4] == ["trial", *(f"r_{name}" for name in domains)]
    assert len(rows) == 17
    law = bimix("fit", "-", "-o", "-", given=table.stdout)
    assert json.loads(law.stdout)["domains"] == [*domains]
    bimix("optimum", "-", "-o", tmp_path / "RECIPE.json", given=law.stdout)
    recipe = Recipe.read(tmp_path / "RECIPE.json")
    assert [*recipe.proportions] == [*domains]
    found = np.array([*recipe.proportions.values()])
    assert np.abs(found - best()).max() < 0.1
    assert planted(found).mean() < planted(best()).mean() * 1.003


def test_the_published_pair_of_regmix_goes_to_a_recipe(tmp_path):
    if not (folder := SHARED / "regmix").is_dir():
        pytest.skip("the published runs of RegMix are not beside the checkout")
    files = []
    for name in ("train_mixture_1m.csv", "train_pile_loss_1m.csv"):
        lines = (folder / name).read_text().splitlines(keepends=True)[:41]  # 40 runs: seconds
        files.append(tmp_path / name)
        files[-1].write_text("".join(lines))
    strip = ["--strip", "train_the_pile_", "--strip", "the_pile_"]
    table = bimix("table", *files, *strip, "--loss", "metric/*_val_loss", "-o", "-").stdout
    law = bimix("fit", "-", "-o", "-", given=table).stdout
    bimix("optimum", "-", "-o", tmp_path / "r.json", given=law)
    recipe = Recipe.read(tmp_path / "r.json")
    assert len(recipe.proportions) == 17
    assert {"pile_cc", "europarl"} < set(recipe.proportions)
    assert json.loads(law)["own"]["pile_cc"] == "pile_cc"


def test_results_go_to_standard_output_and_notes_to_standard_error(tmp_path):
    words, _ = wandb(tmp_path)
    done = bimix("table", *words, "-o", tmp_path / "t.csv")
    assert done.stdout == ""
    assert "wrote 16 rows of 16 trials, 3 domains and 2 targets to" in done.stderr
    assert "note: " in done.stderr
    done = bimix("table", *words, "-o", tmp_path / "t.csv", "--json")
    assert json.loads(done.stdout)["targets"] == ["a", "b"]
    bimix("fit", tmp_path / "t.csv", "-o", tmp_path / "law.json")
    predicted = bimix("predict", tmp_path / "law.json", tmp_path / "t.csv", "-o", "-")
    rows = list(csv.DictReader(StringIO(predicted.stdout)))
    assert [float(row["loss_a"]) for row in rows] == pytest.approx(LOSSES[:, 0], rel=0.02)
    assert "wrote 16 rows to standard output" in predicted.stderr
    best_one = bimix("optimum", tmp_path / "law.json", "-o", "-")
    assert json.loads(best_one.stdout)["proportions"]


def test_a_table_without_steps_is_replayed_and_proposes_mixtures_without_steps(tmp_path):
    words, _ = wandb(tmp_path)
    table = bimix("table", *words, "-o", "-").stdout
    proposed = bimix("propose", "-", "--count", "1", "-o", "-", given=table)
    (row,) = csv.DictReader(StringIO(proposed.stdout))
    assert [*row] == ["trial", "seed", "r_web", "r_code", "r_law", "reason"]
    words = ("replay", "-", "--trials", "8", "-o", "-")
    history = [*csv.DictReader(StringIO(bimix(*words, given=table).stdout))]
    assert float(history[-1]["spearman"]) > 0.9
    law = bimix("fit", "-", "-o", "-", given=table).stdout
    said = bimix("optimum", "-", "-o", tmp_path / "r.json", "--final-tokens", "1e12", given=law)
    assert "(steps not stated) is not known" in " ".join(said.stderr.split())
    law = bimix("fit", "-", "-o", "-", "--tokens-per-step", "1e9", given=table).stdout
    said = bimix("optimum", "-", "-o", tmp_path / "r.json", "--final-tokens", "1e12", given=law)
    assert "The longest trial had 1e9 tokens: that the order" in " ".join(said.stderr.split())


def test_two_results_on_standard_output_are_refused(tmp_path):
    words, _ = wandb(tmp_path)
    done = CliRunner().invoke(app, [*map(str, ["table", *words]), "-o", "-", "--json"])
    assert done.exit_code == 1
    assert "-o - and --json both write to standard output" in done.stderr


def test_a_reader_that_ends_early_is_no_error(tmp_path):
    path = written(tmp_path / "t.csv", ["r_a", "r_b", "loss_x"], [[0.5, 0.5, 2], [0.25, 0.75, 3]])
    program = subprocess.Popen(
        [sys.executable, "-c", "from bimix_sweep.cli import app; app()", "table", path, "-o", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    program.stdout.close()  # long before the program writes
    assert program.stderr.read() == ""
    program.stderr.close()
    assert program.wait(timeout=100) == BROKEN_PIPE
