"""The commands that need no cluster, on a table whose law and optimum are planted."""

import csv
import json
import os
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
from scipy.optimize import minimize
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.export.registry import TRAINERS, VARIANTS
from bimix_sweep.mixture.curves import LossCurve
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng
from tests.support.in_process import config as planted_config
from tests.support.in_process import whole

DOMAINS = ("web", "code", "math")
SCALE, EXPONENT = np.array([2.0, 1.5, 1.0]), np.array([0.15, 0.25, 0.35])
STEPS = np.array([200.0, 283, 400, 566, 800])


def planted_losses(proportions, step):
    """BiMix with A = 1: r^-a (B s^-b + C) for each domain."""
    return proportions**-EXPONENT * SCALE * (4.0 * step**-0.5 + 1)


def planted_optimum():
    solved = minimize(
        lambda r: planted_losses(r, 800).mean(),
        np.full(3, 1 / 3),
        bounds=[(1e-3, 1)] * 3,
        constraints={"type": "eq", "fun": lambda r: r.sum() - 1},
        options={"ftol": 1e-14},
    )
    return solved.x


@pytest.fixture
def table(tmp_path):
    generator = rng(0, "planted table")
    curves = []
    for trial in range(14):
        shares = generator.dirichlet(np.full(3, 2.0)) * 0.94 + 0.02
        losses = np.stack([planted_losses(shares, step) for step in STEPS]) * np.exp(
            1e-3 * generator.normal(size=(len(STEPS), 3))
        )
        curves.append(
            LossCurve(
                trial=f"t{trial}",
                mixture=Mixture.from_array(DOMAINS, shares),
                targets=DOMAINS,
                steps=STEPS,
                losses=losses,
            )
        )
    path = tmp_path / "runs.csv"
    LossTable.from_curves(curves).write(path)
    return path


def bimix(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def law(table, tmp_path):
    done = bimix("fit", table, "-o", tmp_path / "law.json")
    assert done.exit_code == 0, done.output
    return tmp_path / "law.json"


def test_fit_says_which_law_was_chosen_for_each_target_and_how_far_it_is_off(table, tmp_path):
    done = bimix("fit", table, "-o", tmp_path / "law.json", "--json")
    said = json.loads(done.stdout)
    assert (said["num_trials"], said["num_mixtures"], set(said["choice"])) == (14, 14, set(DOMAINS))
    for target in DOMAINS:
        chosen = said["cross_validation"]["by_target"][target][said["choice"][target]]
        assert 0 < chosen["mean_relative_error"] < 0.01


def test_predictions_of_unseen_mixtures_meet_the_planted_law_and_keep_rows_and_columns(
    law, tmp_path
):
    shares = rng(1, "unseen").dirichlet(np.full(3, 3.0), size=5) * 0.94 + 0.02
    lines = [
        "id,r_math,r_web,r_code,step",
        *(f"m{i},{m},{w},{c},800" for i, (w, c, m) in enumerate(shares)),
    ]
    (tmp_path / "mixtures.csv").write_text("\n".join(lines) + "\n")
    done = bimix("predict", law, tmp_path / "mixtures.csv", "-o", tmp_path / "out.csv")
    assert done.exit_code == 0, done.output
    with (tmp_path / "out.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        "id",
        "r_math",
        "r_web",
        "r_code",
        "step",
        *(f"{kind}_{d}" for d in DOMAINS for kind in ("loss", "sd")),
        *("objective", "difference", "difference_low", "difference_high"),
    ]
    assert [row["id"] for row in rows] == [f"m{i}" for i in range(5)]
    predicted = np.array([[float(row[f"loss_{d}"]) for d in DOMAINS] for row in rows])
    assert predicted == pytest.approx(planted_losses(shares, 800), rel=0.01)
    assert all(float(row[f"sd_{d}"]) > 0 for row in rows for d in DOMAINS)


def test_predictions_say_how_far_each_mixture_is_from_the_recommended_one(law, tmp_path):
    bimix("optimum", law, "-o", tmp_path / "RECIPE.json")
    best = json.loads((tmp_path / "RECIPE.json").read_text())["proportions"]
    lines = ["r_web,r_code,r_math,step,difference"]
    rows = [list(best.values()), [0.2, 0.2, 0.6], [0.2, 0.2, 0.6]]
    lines += [
        f"{','.join(map(str, row))},{s},7" for row, s in zip(rows, (800, 800, 200), strict=True)
    ]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out.csv"
    said = bimix("predict", law, tmp_path / "m.csv", "-o", out).output
    assert "the output holds predictions in difference, not what" in said
    assert "the law states no weights, so each target has the same weight" in said
    assert (
        "to the recommended mixture (" + ", ".join(f"{d} {v:.4f}" for d, v in best.items()) in said
    )
    read = list(csv.DictReader(out.read_text().splitlines()))
    low, found, high = (
        np.array([float(row[f"difference{end}"]) for row in read]) for end in ("_low", "", "_high")
    )
    true = [
        planted_losses(np.array([rows[1]]), s).mean()
        / planted_losses(np.array([rows[0]]), s).mean()
        for s in (800, 200)
    ]
    assert (low[0], found[0], high[0]) == pytest.approx((0, 0, 0), abs=1e-6)
    assert found[1:] == pytest.approx(np.array(true) - 1, abs=0.01)
    assert ((low[1:] < np.array(true) - 1) & (np.array(true) - 1 < high[1:])).all()
    bimix("predict", law, tmp_path / "m.csv", "-o", out, "--noise")
    noisy = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["difference_high"] for row in noisy] == [row["difference_high"] for row in read]


def test_the_sd_of_a_measured_run_is_wider_than_that_of_the_mean(law, tmp_path):
    (tmp_path / "m.csv").write_text("r_web,r_code,r_math\n.4,.3,.3\n")
    sds = []
    for flag in ([], ["--noise"]):
        bimix("predict", law, tmp_path / "m.csv", "-o", tmp_path / "out.csv", *flag)
        with (tmp_path / "out.csv").open() as stream:
            sds.append(float(next(csv.DictReader(stream))["sd_web"]))
    assert sds[1] > sds[0]


def test_a_step_beyond_the_fitted_ones_is_said_to_be_extrapolated(law, tmp_path):
    (tmp_path / "m.csv").write_text("r_web,r_code,r_math,step\n.4,.3,.3,8000\n")
    assert (
        "1 of 1 rows lie outside the fitted steps 200-800"
        in bimix("predict", law, tmp_path / "m.csv", "-o", tmp_path / "o.csv").output
    )


def test_the_optimum_of_the_fit_is_the_planted_one(law, tmp_path):
    done = bimix("optimum", law, "-o", tmp_path / "RECIPE.json", "--json")
    recipe = json.loads(done.stdout)
    assert recipe == json.loads((tmp_path / "RECIPE.json").read_text())
    found = np.array([recipe["proportions"][d] for d in DOMAINS])
    best = planted_losses(planted_optimum(), 800).mean()
    assert planted_losses(found, 800).mean() <= best * 1.001
    assert recipe["region"]["web"][0] <= found[0] <= recipe["region"]["web"][1]
    assert recipe["regret"]["upper95"] >= recipe["regret"]["expected"] >= 0


def test_bounds_weights_and_token_caps_move_the_optimum(law, tmp_path):
    (tmp_path / "w.json").write_text('{"math": 1, "web": 0, "code": 0}')
    (tmp_path / "have.json").write_text('{"web": 1e9, "code": 1e9, "math": 1e8}')

    def optimum(*options):
        done = bimix("optimum", law, "-o", tmp_path / "r.json", "--json", *options)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["proportions"]

    assert optimum("--max", "web=.2", "--min", "math=.5") == pytest.approx(
        {"web": 0.2, "math": 0.5, "code": 0.3}, abs=1e-5
    )
    assert optimum("--weight", tmp_path / "w.json")["math"] > optimum()["math"] + 0.2
    assert (
        optimum(
            "--domain-tokens", tmp_path / "have.json", "--final-tokens", "2e9", "--max-epochs", "2"
        )["math"]
        <= 0.1 + 1e-6
    )


def test_export_writes_what_megatron_takes(law, tmp_path):
    bimix("optimum", law, "-o", tmp_path / "RECIPE.json")
    (tmp_path / "domains.yaml").write_text(
        "".join(f"{d}: {{path: /data/{d}, tokens_per_document: 100}}\n" for d in DOMAINS)
    )
    done = bimix(
        "export",
        tmp_path / "RECIPE.json",
        "--to",
        "megatron-lm",
        "-o",
        tmp_path / "blend.txt",
        "--domains",
        tmp_path / "domains.yaml",
    )
    assert done.exit_code == 0, done.output
    words = [
        word for word in (tmp_path / "blend.txt").read_text().split() if not word.startswith("#")
    ]
    recipe = json.loads((tmp_path / "RECIPE.json").read_text())["proportions"]
    found = {
        words[i + 1]: float(words[i])
        for i in range(0, len(words) - 1, 2)
        if words[i + 1].startswith("/data/")
    }
    assert found == {f"/data/{d}": share for d, share in recipe.items()}
    done = bimix(
        "export",
        tmp_path / "RECIPE.json",
        "--to",
        "all",
        "-o",
        tmp_path / "all",
        "--domains",
        tmp_path / "domains.yaml",
        "--json",
    )
    told = json.loads(done.stdout)
    assert len(told["written"]) >= 3
    assert set(told["notes"]) == set(told["written"])
    assert (
        "Unit of the weights: proportion of tokens."
        in told["notes"][f"{tmp_path}/all/nanotron.yaml"]
    )


def test_export_writes_names_for_paths_only_where_asked_and_says_what_it_did_not_check(tmp_path):
    (tmp_path / "RECIPE.json").write_text('{"proportions": {"web": 0.25, "code": 0.75}}')
    words = ["export", tmp_path / "RECIPE.json", "--to", "megatron-lm", "-o", tmp_path / "b.txt"]
    done = bimix(*words)
    assert done.exit_code == 1
    assert "no domains file, and this form holds paths: give --domains FILE.yaml" in done.stderr
    assert not (tmp_path / "b.txt").exists()
    done = bimix(*words, "--names")
    assert (tmp_path / "b.txt").read_text() == "0.25 web 0.75 code\n"
    assert f"wrote megatron-lm (unit: proportion of tokens) to {tmp_path}/b.txt" in done.stderr
    assert "note: Names of domains stand in place of paths" in done.stderr
    assert "note: Not checked: your version" in done.stderr
    piped = bimix(*words[:-1], "-", "--names")
    assert piped.stdout == "0.25 web 0.75 code\n"
    assert "to standard output" in piped.stderr
    for more, message in (
        (["--json"], "-o - and --json both write to standard output"),
        (["--to", "all"], "--to all writes many files; need a folder"),
    ):
        assert message in bimix(*words[:-1], "-", "--names", *more).stderr
    done = bimix("export", tmp_path / "RECIPE.json", "--to", "all", "-o", tmp_path / "all")
    assert done.exit_code == 0
    assert "skipped levanter-2025.yaml: no domains file" in done.stderr
    assert not done.stdout
    assert (tmp_path / "all" / "json.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "gone.csv", "-o", "x.json"], "gone.csv cannot be read"),
        (["fit", "{table}", "--own", "web", "-o", "x.json"], "'web' is not NAME=VALUE"),
        (["fit", "{table}", "--own", "web=wbe", "-o", "x.json"], "wbe"),
        (["predict", "gone.json", "m.csv", "-o", "x.csv"], "gone.json cannot be read"),
        (["predict", "{table}", "m.csv", "-o", "x.csv"], "is not JSON"),
        (
            ["optimum", "{law}", "--max", "wbe=.2", "-o", "x.json"],
            "wbe is not a domain of the law; it knows web, code, math",
        ),
        (
            ["optimum", "{law}", "--max", "web=lots", "-o", "x.json"],
            "--max web is 'lots'; need a number, such as 0.2, 20%",
        ),
        (
            [
                "optimum",
                "{law}",
                "--max",
                "web=.2",
                "--max",
                "code=.2",
                "--max",
                "math=.2",
                "-o",
                "x.json",
            ],
            "max sum to 0.6",
        ),
        (
            ["optimum", "{law}", "--domain-tokens", "n.json", "-o", "x.json"],
            "--domain-tokens is given without --final-tokens; give both",
        ),
        (
            ["optimum", "{law}", "--max-epochs", "2", "-o", "x.json"],
            "--max-epochs is given without --final-tokens; give both",
        ),
        (
            ["optimum", "{law}", "--final-size", "-7e9", "-o", "x.json"],
            "size of the final run is -7e+09; need a number above 0",
        ),
        (["optimum", "{law}", "--kl", "1", "-o", "x.json"], "--prior and --kl go together"),
        (["export", "gone.json", "--to", "json", "-o", "x"], "gone.json cannot be read"),
        (
            ["replay", "{table}", "--trials", "99", "-o", "x.csv"],
            "trials 99 do not fit a table of 14 runs",
        ),
        (
            ["replay", "{table}", "--trials", "9", "--policy", "clever", "-o", "x.csv"],
            "policy 'clever' is not known",
        ),
        (
            [
                "optimum",
                "{law}",
                "--domain-tokens",
                "n.json",
                "--final-tokens",
                "1e9",
                "--max-epochs",
                "0",
                "-o",
                "x.json",
            ],
            "max_epochs of the final run is 0; need a number above 0",
        ),
        (
            ["optimum", "{law}", "--weight", "huge.json", "-o", "x.json"],
            "huge.json needs to hold JSON like",
        ),
        (["optimum", "deep.json", "-o", "x.json"], "nested too deep"),
        (["optimum", "{law}", "-o", ""], "is no file name"),
        (["optimum", "{law}", "-o", "foo://x"], "is no place to "),
        (
            ["optimum", "{law}", "--within", "nan", "-o", "x.json"],
            "--within is nan; need a fraction",
        ),
        (["fit", "{table}", "--min-step", "nan", "-o", "x.json"], "--min-step is nan"),
        (["run", "gone.yaml"], "gone.yaml cannot be read"),
        (
            ["watch", "nosuch"],
            "nosuch holds no sweep and no job; start one with: bimix-sweep run, or submit",
        ),
        (
            ["optimum", "{law}", "--weight", "latin.json", "-o", "x.json"],
            "latin.json is not UTF-8 text (unexpected end of data at byte 2)",
        ),
        (["predict", "latin.json", "m.csv", "-o", "x.csv"], "latin.json is not UTF-8 text"),
        (
            ["fit", "bare.csv", "-o", "x.json"],
            "no r_<domain> column; need at least one (if web, code are proportions, call them "
            "r_web, r_code)",
        ),
        (
            ["predict", "{law}", "bare.csv", "-o", "x.csv"],
            "(if web, code are proportions, call them r_web, r_code)",
        ),
    ],
)
def test_bad_input_ends_in_one_clear_line_and_writes_nothing(
    words, message, table, law, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.csv").write_text("r_web,r_code,r_math\n.4,.3,.3\n")
    (tmp_path / "n.json").write_text('{"web": 1e9}')
    (tmp_path / "huge.json").write_text('{"web": 1' + "0" * 400 + "}")
    (tmp_path / "deep.json").write_text("[" * 50_000)
    (tmp_path / "latin.json").write_bytes(b'{"\xe9')
    (tmp_path / "bare.csv").write_text("trial,step,web,code,loss_web\nt,800,.4,.6,0.9\n")
    before = sorted(tmp_path.rglob("*"))
    done = bimix(*(word.format(table=table, law=law) for word in words))
    assert done.exit_code == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_mixture_that_does_not_sum_to_one_is_refused(law, tmp_path):
    (tmp_path / "m.csv").write_text("r_web,r_code,r_math\n.4,.3,.2\n")
    done = bimix("predict", law, tmp_path / "m.csv", "-o", tmp_path / "out.csv")
    assert done.exit_code == 1
    assert "the proportions of row 1 sum to 0.9; need 1" in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_a_replay_of_the_planted_table_knows_the_law_after_a_few_runs(table, tmp_path):
    done = bimix(
        "replay",
        table,
        "--trials",
        "8",
        "--policy",
        "informative,random",
        "-o",
        tmp_path / "history.csv",
    )
    assert done.exit_code == 0, done.output
    with (tmp_path / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["policy"], row["trials"]) for row in rows] == [
        (p, str(n)) for p in ("informative", "random") for n in (5, 6, 7, 8)
    ]
    assert float(rows[3]["mre"]) < 1
    assert float(rows[3]["spearman"]) > 0.95
    assert 0 <= float(rows[3]["regret"]) < 0.01
    assert list(rows[0]) == ["policy", "seed", "trials", "spearman", "mre", "regret"]
    done = bimix(
        "replay", table, "--trials", "6", "--slots", "3", "--json", "-o", tmp_path / "h.csv"
    )
    told = json.loads(done.stdout)
    assert [len(row["runs"]) for row in told] == [6]
    assert {*told[0]["runs"]} <= {*LossTable.read(table).trials}
    assert told[0]["regret"] >= 0


@pytest.fixture
def scaled(tmp_path):
    """24 trainings at size 1e5, 12 at 4e5, and 12 at 4e5 that end early."""
    generator, curves = rng(0, "scaled table"), []
    for trial in range(48):
        size, steps = (1e5 if trial < 24 else 4e5), STEPS[: 2 if trial >= 36 else 5]
        shares = generator.dirichlet(np.full(3, 2.0)) * 0.94 + 0.02
        losses = np.stack([planted_losses(shares, step) for step in steps]) * (size / 4e5) ** -0.05
        losses *= np.exp(1e-3 * generator.normal(size=(len(steps), 3)))
        curves.append(
            LossCurve(
                trial=f"t{trial}",
                mixture=Mixture.from_array(DOMAINS, shares),
                targets=DOMAINS,
                steps=steps,
                losses=losses,
                size=size,
            )
        )
    LossTable.from_curves(curves).write(tmp_path / "scaled.csv")
    return tmp_path / "scaled.csv"


def test_a_replay_of_runs_of_several_sizes_tells_what_they_cost(scaled, tmp_path):
    done = bimix(
        "replay",
        scaled,
        "--trials",
        "16",
        "--slots",
        "2",
        "-o",
        tmp_path / "history.csv",
    )
    assert done.exit_code == 0, done.output
    with (tmp_path / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["policy", "seed", "trials", "spearman", "mre", "regret", "cost"]
    assert float(rows[0]["cost"]) < float(rows[-1]["cost"]) < 16
    assert float(rows[-1]["mre"]) < 1


def test_the_next_mixtures_for_runs_of_several_sizes_say_size_and_steps(scaled, table, tmp_path):
    done = bimix("propose", scaled, "--count", "6", "-o", tmp_path / "next.csv", "--json")
    assert done.exit_code == 0, done.output
    with (tmp_path / "next.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    scales = [(float(row["size"]), int(row["steps"])) for row in rows]
    assert {*scales} <= {(1e5, 800), (4e5, 800), (4e5, 283)}
    assert len({*scales}) > 1
    assert [(job["size"], job["steps"]) for job in json.loads(done.stdout)["new"]] == scales
    assert bimix("propose", table, "--count", "2", "-o", tmp_path / "one.csv").exit_code == 0
    with (tmp_path / "one.csv").open() as stream:
        one = list(csv.DictReader(stream))
    assert {row["steps"] for row in one} == {"800"}
    assert "size" not in one[0]


@pytest.mark.parametrize(
    ("command", "given", "found"),
    [
        ("fit", {}, ("1", "1")),
        ("fit", {"OMP_NUM_THREADS": "3"}, (None, "3")),
        ("fit", {"OPENBLAS_NUM_THREADS": "2"}, ("2", None)),
        ("status", {}, (None, None)),  # as of all commands that train or look on
    ],
)
def test_fits_take_one_thread_unless_the_environment_says_how_many(tmp_path, command, given, found):
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    program = (
        "import contextlib, os, sys\n"
        "from bimix_sweep.cli import app\n"
        "assert not {'numpy', 'torch', 'ray', 'optuna'} & {*sys.modules}\n"
        "with contextlib.suppress(SystemExit):\n"
        "    app(sys.argv[1:])\n"
        f"print(*map(os.environ.get, {names}))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    words = {"fit": ("fit", "absent.csv", "-o", "law.json"), "status": ("status", "absent")}[
        command
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [str(value) for value in found]


def test_every_command_has_help_and_the_version_is_told():
    listed = bimix("--help").stdout
    for command in ("demo", "run", "resume", "fit", "predict", "optimum", "export", "report"):
        assert command in listed
        assert "Usage" in bimix(command, "--help").stdout
    assert bimix("--version").stdout.startswith("bimix-sweep ")


def test_a_size_means_nothing_to_a_law_without_sizes_and_that_is_said(law, tmp_path):
    done = bimix("optimum", law, "-o", tmp_path / "r.json", "--size", "1e9")
    assert done.exit_code == 1
    assert "size is 1e+09, and this law was fitted without sizes; leave it out" in done.output
    assert not (tmp_path / "r.json").exists()
    (tmp_path / "m.csv").write_text("r_web,r_code,r_math,size\n.4,.3,.3,1e9\n")
    said = bimix("predict", law, tmp_path / "m.csv", "-o", tmp_path / "o.csv").output
    assert "this law was fitted without sizes; the size column changes nothing" in said


def test_a_law_of_a_table_says_how_far_the_final_run_lies_beyond_it_as_far_as_it_knows(
    table, law, tmp_path
):
    final = ("--final-tokens", "8e12", "--final-size", "7e9")
    said = bimix("optimum", law, "-o", tmp_path / "r.json", *final).output
    assert "The sizes of the trials are not known: how far a final run of 7e9 parameters" in said
    assert "a final run of 8e12 tokens lies beyond them (800 steps) is not known" in said
    assert json.loads((tmp_path / "r.json").read_text())["extrapolation"] == {"step": 1.0}
    bimix("fit", table, "-o", tmp_path / "t.json", "--tokens-per-step", "1e6")
    said = bimix("optimum", tmp_path / "t.json", "-o", tmp_path / "r.json", *final).output
    assert "holds at 8e12 tokens (10,000 times as many) is assumed" in said
    assert "another problem" not in said
    recipe = json.loads((tmp_path / "r.json").read_text())
    assert recipe["extrapolation"] == {"step": 1.0, "tokens": 1e4}
    assert sum(recipe["tokens"].values()) == pytest.approx(8e12)
    assert "The final run is not stated" in bimix("optimum", law, "-o", tmp_path / "r.json").output


def test_what_holds_the_optimum_back_is_named_as_the_cap_it_is(law, tmp_path):
    (tmp_path / "have.json").write_text('{"web": 1e9, "code": 1e9, "math": 1e8}')
    words = ("optimum", law, "-o", tmp_path / "r.json")
    capped = bimix(
        *words,
        "--domain-tokens",
        tmp_path / "have.json",
        "--final-tokens",
        "2e9",
        "--max-epochs",
        "4",
    ).output
    assert "the limit of 4 epochs of math's 1e+08 tokens limits the optimum" in capped
    both = bimix(
        *words,
        "--domain-tokens",
        tmp_path / "have.json",
        "--final-tokens",
        "2e9",
        "--max-epochs",
        "4",
        "--max",
        "math=.1",
    ).output
    assert "the max of math limits the optimum" in both


def test_with_a_prior_its_cost_is_said_and_the_regret_counts_the_pull(law, tmp_path):
    (tmp_path / "prior.json").write_text('{"web": 90, "code": 5, "math": 5}')
    words = ("optimum", law, "--prior", tmp_path / "prior.json", "--kl", "1")
    said = bimix(*words, "-o", tmp_path / "r.json").output
    assert "--prior sums to 100, so its numbers count as numbers of tokens" in said
    recipe = json.loads((tmp_path / "r.json").read_text())
    assert recipe["prior"]["proportions"] == {"web": 0.9, "code": 0.05, "math": 0.05}
    assert recipe["prior"]["kl"] == 1
    taken = np.array([[*recipe["proportions"].values()]])
    loss, least = (
        float(planted_losses(rows, 800).mean()) for rows in (taken, np.array([planted_optimum()]))
    )
    assert recipe["prior"]["cost"] == pytest.approx(1 - least / loss, abs=0.005)
    assert recipe["prior"]["cost"] > 0.05 > recipe["regret"]["expected"]
    assert f"raises the loss of the optimum by {recipe['prior']['cost']:.2%}" in said
    free = bimix("optimum", law, "-o", tmp_path / "free.json")
    assert "prior:" not in free.output
    assert json.loads((tmp_path / "free.json").read_text())["prior"] is None


def test_the_first_number_of_an_optimum_is_the_gain_over_todays_mixture(law, tmp_path):
    (tmp_path / "today.json").write_text('{"web": 7e9, "code": 2e9, "math": 1e9}')
    words = ("optimum", law, "--today", tmp_path / "today.json", "-o", tmp_path / "r.json")
    said = bimix(*words).output.splitlines()
    recipe = json.loads((tmp_path / "r.json").read_text())
    gain = recipe["gain"]
    taken = np.array([[*recipe["proportions"].values()], [0.7, 0.2, 0.1]])
    best, today = planted_losses(taken, 800).mean(axis=1)
    assert gain["lower"] <= 1 - best / today <= gain["upper"]
    assert gain["value"] == pytest.approx(1 - best / today, abs=0.005)
    assert (gain["baseline"], gain["measured"]) == ("today", False)
    assert said[0].startswith("note: --today sums to 1e+10, so its numbers count")
    assert next(line for line in said if not line.startswith("note")) == (
        f"predicted gain over today's mixture: {gain['value']:.2%} of its loss (95 % interval "
        f"{gain['lower']:.2%} to {gain['upper']:.2%}), predicted by the law, not measured "
        "by confirmation trials."
    )
    without = bimix("optimum", law, "-o", tmp_path / "r.json")
    assert without.stdout.startswith("predicted gain over the uniform mixture: ")
    assert "Today's mixture is not stated, and the natural mixture is not known" in without.output
    (tmp_path / "have.json").write_text('{"web": 6e9, "code": 3e9, "math": 1e9}')
    tokens = ("--domain-tokens", tmp_path / "have.json", "--final-tokens", "1e9")
    natural = bimix("optimum", law, "-o", tmp_path / "r.json", *tokens).stdout
    assert natural.startswith("predicted gain over the natural mixture: ")
    gain = json.loads((tmp_path / "r.json").read_text())["gain"]
    assert gain["proportions"] == {"web": 0.6, "code": 0.3, "math": 0.1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"web": 0.7, "code": 0.2}', "--today sums to 0.9; need proportions with the sum 1"),
        ('{"web": 0.7, "cod": 0.3}', "--today names cod; the domains are web, code, math"),
        ('{"web": 1.7, "code": -0.7}', "--today gives code the value -0.7; need a number from 0"),
        ("[1]", "needs to hold JSON like"),
    ],
)
def test_todays_mixture_that_is_not_clear_is_refused_and_nothing_is_written(
    law, tmp_path, content, message
):
    (tmp_path / "today.json").write_text(content)
    done = bimix("optimum", law, "--today", tmp_path / "today.json", "-o", tmp_path / "r.json")
    assert done.exit_code == 1
    assert message in done.stderr
    assert not (tmp_path / "r.json").exists()


def test_an_optimum_says_what_it_comes_from_and_no_regret_reads_as_nothing(law, tmp_path):
    said = bimix("optimum", law, "-o", tmp_path / "r.json", "--max", "web=.9").output
    provenance = json.loads((tmp_path / "r.json").read_text())["provenance"]
    assert (
        provenance["law_digest"] == json.loads((tmp_path / "r.json").read_text())["law"]["digest"]
    )
    assert provenance["versions"]["bimix-sweep"] == version("bimix-sweep")
    assert provenance["problem"]["domains"]["web"]["max"] == 0.9
    assert provenance["targets"] == list(DOMAINS)
    assert "regret: expected <0.01%" in said
    assert "0.00%" not in said


def test_the_help_of_export_lists_every_id():
    said = " ".join(bimix("export", "--help").stdout.split())
    assert ", ".join(TRAINERS) in said
    assert len(TRAINERS) == 17
    assert ", ".join(VARIANTS) in said


def test_an_option_with_a_wrong_value_says_which_there_are(table):
    done = bimix("fit", table, "-o", "x.json", "--law", "bmix")
    assert done.exit_code == 2
    assert (
        "Invalid value for '--law': 'bmix' is not one of 'auto', 'bimix', 'transfer'."
        in done.stderr
    )


def test_two_mixtures_are_said_to_be_too_few_to_judge(table, tmp_path):
    runs = LossTable.read(table)
    runs.select([trial in ("t0", "t1") for trial in runs.trials]).write(tmp_path / "two.csv")
    said = bimix("fit", tmp_path / "two.csv", "-o", tmp_path / "law.json").output
    assert "2 mixtures are too few to judge" in said
    assert "not enough lower" not in said
    assert "too few to judge" not in bimix("fit", table, "-o", tmp_path / "law.json").output


def test_report_prints_json_when_asked(tmp_path):
    whole(tmp_path / "sweep", planted_config(7))
    said = json.loads(bimix("report", tmp_path / "sweep", "--json").stdout)
    assert said == {"report": str(tmp_path / "sweep" / "report.html")}
