"""Files as W&B, MLflow, spreadsheets and lm-eval write them."""

import json

import numpy as np
import pandas
import pytest

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.goals import Goal
from bimix_sweep.mixture.table import LossTable


def written(folder, text, name="runs.csv"):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("separator", "name"),
    [(",", "runs.csv"), (";", "runs.csv"), ("\t", "runs.csv"), ("\t", "r.tsv")],
)
def test_the_separator_is_read_from_the_header(tmp_path, separator, name):
    rows = [["trial", "r_a", "r_b", '"loss_x, y"', "loss_z"], ["t", ".25", ".75", "3", "2"]]
    text = "\ufeff" + "".join(separator.join(row) + "\n" for row in rows)
    table = LossTable.read(written(tmp_path, text, name))
    assert table.targets == ("x, y", "z")
    assert table.losses.tolist() == [[3, 2]]
    table.write(tmp_path / "again.tsv")
    assert LossTable.read(tmp_path / "again.tsv").targets == table.targets


def test_a_decimal_comma_is_refused_with_its_row(tmp_path):
    path = written(tmp_path, "r_a;r_b;loss_x\n0.5;0.5;3\n0,25;0,75;2\n")
    with pytest.raises(
        TableError, match="row 2 has r_a = '0,25'; need a number with a decimal point, not a comma"
    ):
        LossTable.read(path)


@pytest.mark.parametrize("missing", ["nan", "NaN", "", "null", "None", "N/A"])
def test_a_missing_loss_may_be_written_in_many_ways(tmp_path, missing):
    table = LossTable.read(written(tmp_path, f"r_a,loss_x,loss_y\n1,{missing},3\n1,2,4\n"))
    assert np.isnan(table.losses).tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["25,75", "50,50.4"], "2 of 2 rows summed to 100-100.4 and were normalised as percent"),
        (
            ["1000000,3000000", "7,7"],
            "2 of 2 rows summed to 14-4e+06 and were normalised as counts",
        ),
    ],
)
def test_percent_and_counts_become_proportions_with_a_note(tmp_path, rows, said):
    text = "r_a,r_b,loss_x\n" + "".join(f"{row},3\n" for row in rows)
    table = LossTable.read(written(tmp_path, text))
    np.testing.assert_allclose(table.proportions, [[0.25, 0.75], [0.5, 0.5]], atol=0.002)
    assert said in table.notes[0]


@pytest.mark.parametrize("rows", [["25,75", ".5,.5"], ["40,40.5"], ["0,0", "3,1"], [".4,.4"]])
def test_rows_that_are_neither_are_refused(tmp_path, rows):
    text = "r_a,r_b,loss_x\n" + "".join(f"{row},3\n" for row in rows)
    with pytest.raises(TableError, match=r"need 1 .* or in every row 100 percent or whole numbers"):
        LossTable.read(written(tmp_path, text))


WANDB = """"Name","State","Runtime","mix.web","mix.code","eval/web/loss","eval/code/loss","_step"
"misty-sun-1","finished","612","0.25","0.75","3.5","2.5","800"
"lone-sea-2","crashed","51","0.5","0.5","9.1","9.2","90"
"calm-fog-3","finished","640","1","","3.1","NaN","800"
"""


def test_a_csv_of_the_wandb_page_leaves_out_crashed_runs_and_fills_absent_domains(tmp_path):
    table = LossTable.join(
        written(tmp_path, WANDB), mixture=["mix.*"], loss=["eval/*/loss"], trial="Name"
    )
    assert table.trials == ("misty-sun-1", "calm-fog-3")
    assert table.proportions.tolist() == [[0.25, 0.75], [1, 0]]
    assert table.steps.tolist() == [800, 800]
    assert np.isnan(table.losses[1, 1])
    said = "\n".join(table.notes)
    assert "1 of 3 rows are left out, as their State is crashed" in said
    assert "1 empty proportions count as 0" in said
    assert "the steps are those of W&B's column _step" in said


RUNS = """"Name","State","mix.web","mix.code"
"misty - sun-1","finished","0.25","0.75"
"calm-fog-3","finished","1","0"
"""


def chart(metric, axis="Step", high="3.5"):
    """Two curves, as W&B's page exports a chart: a column for each run, empty where it has none."""
    first, second = f"misty - sun-1 - {metric}", f"calm-fog-3 - {metric}"
    names = [f"{name}{end}" for name in (first, second) for end in ("", "__MIN", "__MAX")]
    header = ",".join(f'"{name}"' for name in [axis, *names])
    return f"{header}\n100,4.5,4.5,4.5,,,\n200,3.25,3,{high},2.5,2.5,2.5\n300,,,,2,2,2\n"


def test_charts_of_several_runs_give_a_curve_for_each_run(tmp_path):
    files = [written(tmp_path, RUNS, "runs.csv")]
    for name in ("web", "code"):
        files.append(written(tmp_path, chart(f"eval/{name}/loss"), f"{name}.csv"))
    options = {"mixture": ["mix.*"], "loss": ["eval/*/loss"]}
    for given, targets in ((files[1], ("web",)), (files[1:], ("web", "code"))):
        table = LossTable.join(files[0], given, **options)
        assert (table.domains, table.targets) == (("web", "code"), targets)
        rows = zip(table.trials, table.steps, table.proportions[:, 0], table.losses, strict=True)
        assert sorted((*key, *losses) for *key, losses in rows) == [
            ("calm-fog-3", 200, 1, *[2.5] * len(targets)),
            ("calm-fog-3", 300, 1, *[2] * len(targets)),
            ("misty - sun-1", 100, 0.25, *[4.5] * len(targets)),
            ("misty - sun-1", 200, 0.25, *[3.25] * len(targets)),
        ]
        assert f"{files[1]}: 1 values are means of several points of a curve" in "".join(
            table.notes
        )


def test_charts_that_do_not_fit_together_are_refused(tmp_path):
    runs, web = (
        written(tmp_path, RUNS, "runs.csv"),
        written(tmp_path, chart("eval/web/loss"), "w.csv"),
    )
    other = written(tmp_path, chart("eval/web/loss").replace("4.5", "4"), "other.csv")
    with pytest.raises(
        TableError, match=r"eval/web/loss = 4 at step 100, and another chart has 4\.5"
    ):
        LossTable.join(runs, [web, other])
    over = written(tmp_path, chart("eval/code/loss", axis="tokens"), "over.csv")
    with pytest.raises(
        TableError, match=r"over\.csv: the x axes of the charts differ \(Step, tokens"
    ):
        LossTable.join(runs, [web, over])
    with pytest.raises(TableError, match=r"runs\.csv is no chart of W&B; of more than two files"):
        LossTable.join(runs, [web, runs])


def test_dictionaries_of_wandbs_api_are_opened(tmp_path):
    """As the public API's example writes runs: a DataFrame of `config`, `summary` and `name`."""
    frame = pandas.DataFrame(
        {
            "summary": [{"eval/web/loss": 3.5, "_wandb": {"runtime": 612}}, {"eval/web/loss": 3.1}],
            "config": [{"mix": {"dolma/web": 0.25, "code": 0.75}}, {"mix": {"dolma/web": 1}}],
            "name": ["misty-sun-1", "calm-fog-3"],
        }
    )
    frame.to_csv(tmp_path / "runs.csv")
    options = {"mixture": ["config.mix.*"], "loss": ["summary.eval/*/loss"], "trial": "name"}
    table = LossTable.join(tmp_path / "runs.csv", **options)
    assert table.domains == ("dolma/web", "code")
    assert table.proportions.tolist() == [[0.25, 0.75], [1, 0]]
    assert table.losses.tolist() == [[3.5], [3.1]]
    frame["config"] = ["{1: x}", "{}"]
    frame.to_csv(tmp_path / "runs.csv")
    with pytest.raises(TableError, match=r"row 1 has config = '{1: x}', which is no dictionary"):
        LossTable.join(tmp_path / "runs.csv", **options)


def test_a_csv_of_mlflow_is_read(tmp_path):
    """As `mlflow experiments csv` writes runs."""
    text = (
        "run_id,experiment_id,status,metrics.loss_web,params.r_web,params.r_code,tags.mlflow.user\n"
        "a1,7,FINISHED,3.5,0.25,0.75,me\nb2,7,FAILED,,0.5,0.5,me\nc3,7,FINISHED,3.1,1.0,0.0,me\n"
    )
    table = LossTable.join(
        written(tmp_path, text), mixture=["params.r_*"], loss=["metrics.loss_*"], trial="run_id"
    )
    assert (table.trials, table.domains, table.targets) == (("a1", "c3"), ("web", "code"), ("web",))
    assert "as their status is failed" in table.notes[0]


def results(acc, **more):
    """Results as `lm_eval --output_path` writes them."""
    tasks = {
        "arc_easy": {"alias": "arc_easy", "acc,none": acc, "acc_stderr,none": 0.01},
        "gsm8k": {
            "alias": "gsm8k",
            "exact_match,strict-match": acc / 2,
            "exact_match_stderr,strict-match": "N/A",
            "exact_match,flexible-extract": acc / 3,
        },
    }
    return json.dumps({"results": tasks, "n-shot": {"arc_easy": 0}, "model_name": "m", **more})


def test_results_of_lm_eval_are_joined_by_their_folder(tmp_path):
    for number, acc in enumerate([0.5, 0.25, 0.75]):
        folder = tmp_path / "out" / f"t{number}" / "__models__proxy"
        folder.mkdir(parents=True)
        (folder / "results_2026-01-01T10-00-00.json").write_text(results(acc))
    (folder / "results_2026-01-02T10-00-00.json").write_text(results(0.125))
    (folder / "samples.json").write_text("[]")
    mixtures = written(tmp_path, "run,r_a,r_b\nt2,0,1\nt0,1,0\nt1,.5,.5\n")
    accuracy = Goal(direction="max", range=(0, 1))
    table = LossTable.join(mixtures, tmp_path / "out", {"*": accuracy}, on="run=trial")
    assert table.targets == (
        "arc_easy/acc",
        "gsm8k/exact_match,strict-match",
        "gsm8k/exact_match,flexible-extract",
    )
    assert [table.losses[table.trials.index(f"t{n}"), 0] for n in range(3)] == [0.5, 0.25, 0.125]
    assert set(table.goals) == set(table.targets)
    said = "\n".join(table.notes)
    assert "replaces arc_easy/acc" in said
    assert "not used, no results: samples.json" in said


def test_a_list_of_results_and_faults_in_them(tmp_path):
    paths = [written(tmp_path, results(0.5 + n / 8), f"run{n}.json") for n in range(2)]
    mixtures = written(tmp_path, "trial,r_a,r_b\nrun1,0,1\nrun0,1,0\n")
    table = LossTable.join(mixtures, paths, loss=["*/acc"])
    assert (table.trials, table.targets) == (("run0", "run1"), ("arc_easy",))
    assert table.losses.tolist() == [[0.5], [0.625]]
    with pytest.raises(TableError, match=r"runs\.csv is no JSON file; of more than two files"):
        LossTable.join(mixtures, [paths[0], mixtures])
    with pytest.raises(TableError, match=r"bad\.json is not JSON"):
        LossTable.join(mixtures, written(tmp_path, "{", "bad.json"))
    with pytest.raises(TableError, match="no JSON file with results of lm-eval"):
        LossTable.join(mixtures, written(tmp_path, "{}", "empty.json"))


def test_a_goal_for_a_pattern_yields_to_a_goal_for_a_name(tmp_path):
    path = written(tmp_path, "r_a,loss_x/acc,loss_y/acc,loss_z\n1,.5,40,2\n1,.25,50,3\n")
    percent, fraction = (Goal(direction="max", range=(0, end)) for end in (100, 1))
    table = LossTable.read(path, {"*/acc": fraction, "y/acc": percent})
    assert table.goals == {"x/acc": fraction, "y/acc": percent}
    with pytest.raises(TableError, match=r"has no column loss_\*/f1, whose goal is given"):
        LossTable.read(path, {"*/f1": fraction})
