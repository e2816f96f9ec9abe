"""Joined tables hold the numbers that the files were written from."""

import csv

import numpy as np
import pandas
import pyarrow as pa
import pytest

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.table import LossTable
from tests.benchmarks.recording import SHARED

MIXTURES = np.array([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5], [1, 0, 0], [0.25, 0.25, 0.5]])
LOSSES = np.array([[3.1, 2.2], [2.9, 2.4], [2.8, 3.3], [3.0, 2.5]])


def file(path, header, rows, separator=","):
    with path.open("w", newline="") as stream:
        csv.writer(stream, delimiter=separator).writerows([header, *rows])
    return path


def rows(array, *keys):
    return [[*key, *values] for *key, values in zip(*keys, array.tolist(), strict=True)]


@pytest.fixture
def pair(tmp_path):
    """The mixtures, and their losses in another order."""
    mixtures = file(
        tmp_path / "mixtures.csv",
        ["index", "train_web", "train_code", "train_law"],
        rows(MIXTURES, [1, 2, 3, 4]),
    )
    order = [2, 0, 3, 1]
    losses = file(
        tmp_path / "losses.csv",
        ["index", "eval/web/loss", "eval/code/loss"],
        rows(LOSSES[order], [n + 1 for n in order]),
    )
    return mixtures, losses


def check(table, trials=("1", "2", "3", "4")):
    index = [table.trials.index(trial) for trial in trials]
    assert (table.domains, table.targets) == (("web", "code", "law"), ("web", "code"))
    np.testing.assert_allclose(table.proportions[index], MIXTURES, atol=1e-12)
    np.testing.assert_allclose(table.losses[index], LOSSES)


def test_two_files_are_joined_on_the_column_in_common(pair):
    table = LossTable.join(*pair, strip=["train_"], loss=["eval/*/loss"])
    check(table)
    assert table.trials == ("3", "1", "4", "2")
    assert any(note.endswith("are joined on index") for note in table.notes)


def test_tables_in_memory_join_as_their_files_do(pair):
    options = {"mixture": ["train_*"], "loss": ["eval/*/loss"]}
    check(LossTable.join(*(pandas.read_csv(path) for path in pair), **options))
    check(
        LossTable.join(*(pa.Table.from_pandas(pandas.read_csv(path)) for path in pair), **options)
    )


def test_keys_of_different_names_and_number_formats_belong_together(pair, tmp_path):
    frame = pandas.read_csv(pair[0]).rename(columns={"index": "run"})
    frame["run"] = frame["run"].astype(float)
    frame.to_parquet(tmp_path / "m.parquet")
    check(
        LossTable.join(
            tmp_path / "m.parquet",
            pair[1],
            on="run=index",
            mixture=["train_*"],
            loss=["eval/*/loss"],
        )
    )


def test_rows_without_a_partner_are_left_out_and_said(pair):
    with pair[1].open("a") as stream:
        stream.write("9,3,3\n")
    with pair[0].open("a") as stream:
        stream.write("7,1,0,0\n8,1,0,0\n")
    table = LossTable.join(*pair, mixture=["train_*"], loss=["eval/*/loss"])
    check(table)
    said = " ".join(table.notes)
    assert "2 of 6 rows have no partner in" in said
    assert "such as index 7, 8" in said
    assert "1 of 5 rows have no partner in" in said


def test_a_key_that_stands_twice_is_refused(pair):
    with pair[0].open("a") as stream:
        stream.write("4,1,0,0\n")
    with pytest.raises(TableError, match="rows 4 and 5 both have index = 4; need one mixture"):
        LossTable.join(*pair, on="index", mixture=["train_*"])
    with pytest.raises(TableError, match=r"columns in common that repeat or are empty \(index\)"):
        LossTable.join(*pair, mixture=["train_*"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixture": ["test_*"]}, r"--mixture test_\* chooses no column; .*train_web, train_code"),
        ({"loss": ["eval/*/bpb"]}, r"--loss eval/\*/bpb chooses no column; .*eval/web/loss"),
        ({"on": "run"}, "mixtures.csv: no column run to join on; it has index, train_web"),
        ({"on": "index=eval/code/loss"}, "no index of .* is a eval/code/loss of .*with --on A=B"),
        ({"step": "steps"}, "no column steps, which --step names"),
    ],
)
def test_options_that_fit_no_column_are_named(pair, options, message):
    with pytest.raises(TableError, match=message):
        LossTable.join(*pair, **options)


def test_two_columns_never_give_one_name(tmp_path):
    path = file(tmp_path / "one.csv", ["m_web", "n_web", "loss_a"], [[0.5, 0.5, 3], [1, 0, 2]])
    with pytest.raises(TableError, match="columns m_web and n_web both give the domain web"):
        LossTable.join(path, mixture=["m_*", "n_*"])


def test_a_star_stands_for_the_name_up_to_the_last_star(tmp_path):
    path = file(
        tmp_path / "one.csv",
        ["p (web)", "p (code)", "eval_paloma_c4_bpb", "eval_code_bpb"],
        [[0.5, 0.5, 3, 2], [0.25, 0.75, 4, 2]],
    )
    table = LossTable.join(path, mixture=["p (*)"], loss=["eval_*_*"])
    assert table.domains == ("web", "code")
    assert table.targets == ("paloma_c4_bpb", "code_bpb")


def test_one_loss_a_row_becomes_one_row_a_trial(pair, tmp_path):
    long = file(
        tmp_path / "long.csv",
        ["index", "step", "task", "value", "stderr"],
        [
            [trial + 1, step, name, LOSSES[trial, target] + bonus, 0.01 * trial + target]
            for target, name in enumerate(["web", "code"])
            for step, bonus in ((100, 1), (200, 0))
            for trial in range(4)
            if (trial, target, step) != (2, 1, 100)
        ],
    )
    table = LossTable.join(pair[0], long, mixture=["train_*"], target="task", loss=["value"])
    check(table.select(table.steps == 200))
    first = table.select(table.steps == 100)
    np.testing.assert_allclose(first.losses[:, 0], LOSSES[:, 0] + 1)
    assert np.isnan(first.losses[:, 1]).tolist() == [False, False, True, False]
    with long.open("a") as stream:
        stream.write("1,100,web,3,0\n")
    with pytest.raises(TableError, match="rows 1 and 16 both have task = web and the same"):
        LossTable.join(pair[0], long, mixture=["train_*"], target="task", loss=["value"])


def test_one_file_in_long_form_needs_to_know_the_trial(tmp_path):
    content = [
        [trial, *MIXTURES[trial - 1], name, LOSSES[trial - 1, target]]
        for trial in (1, 2, 3, 4)
        for target, name in enumerate(["web", "code"])
    ]
    path = file(tmp_path / "l.csv", ["id", "r_web", "r_code", "r_law", "target", "loss"], content)
    check(LossTable.join(path, target="target", trial="id"))
    with pytest.raises(TableError, match="no column says which rows are one trial"):
        LossTable.join(path, target="target")


def test_without_steps_each_row_is_the_end_of_a_trial(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("r_a,r_b,loss_a\n.5,.5,3\n.25,.75,4\n")
    table = LossTable.read(path)
    assert table.trials == ("1", "2")
    assert len(set(table.steps)) == 1
    table.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text().startswith('"trial","r_a","r_b","loss_a"\n')
    np.testing.assert_array_equal(LossTable.read(tmp_path / "again.csv").losses, table.losses)


def test_a_curve_needs_the_name_of_its_trial(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("step,r_a,r_b,loss_a\n100,.5,.5,3\n200,.25,.75,4\n200,.5,.5,2.5\n")
    with pytest.raises(TableError, match="rows 1 and 3 have one mixture at steps 100 and 200"):
        LossTable.read(path)
    path.write_text("trial,r_a,r_b,loss_a\nx,.5,.5,3\nx,.5,.5,2\n")
    with pytest.raises(TableError, match="both trial x and there is no column step"):
        LossTable.read(path)


def test_columns_that_may_be_losses_and_are_not_used_are_named(pair):
    frame = pandas.read_csv(pair[1])
    frame["eval/law/bpb"], frame["runtime"], frame["host"] = 1.25, 17.5, "node"
    table = LossTable.join(pair[0], frame, mixture=["train_*"], loss=["eval/*/loss"])
    note = next(note for note in table.notes if "not used" in note)
    assert "not used: eval/law/bpb, runtime; if eval/law/bpb is a target, choose" in note


def test_the_published_pair_is_read_as_it_is_published():
    folder = SHARED / "regmix"
    if not folder.is_dir():
        pytest.skip("the published runs of RegMix are not beside the checkout")
    table = LossTable.join(
        folder / "test_mixture_1m.csv",
        folder / "test_pile_loss_1m.csv",
        strip=["train_the_pile_", "the_pile_"],
        loss=["metric/*_val_loss"],
    )
    with (folder / "test_mixture_1m.csv").open() as stream:
        mixture = next(row for row in csv.DictReader(stream) if row["index"] == "17")
    with (folder / "test_pile_loss_1m.csv").open() as stream:
        losses = next(row for row in csv.DictReader(stream) if row["index"] == "17")
    row = table.trials.index("17")
    proportion = table.proportions[row, table.domains.index("pile_cc")]
    assert proportion == pytest.approx(float(mixture["train_the_pile_pile_cc"]), abs=0.003)
    measured = table.losses[row, table.targets.index("pile_cc")]
    assert measured == float(losses["metric/the_pile_pile_cc_val_loss"])
    assert (len(table), len(table.domains), len(table.targets)) == (256, 17, 13)


def test_a_key_that_nobody_stated_must_agree_with_the_other_names_of_a_row(tmp_path):
    """`index` numbers the rows of each file, and `run` names them."""
    mixtures = file(
        tmp_path / "m.csv",
        ["index", "run", "web", "code", "law"],
        rows(MIXTURES, range(4), "abcd"),
    )
    order = [2, 0, 3, 1]
    losses = file(
        tmp_path / "l.csv",
        ["index", "run", "eval_web", "eval_code"],
        rows(LOSSES[order], range(4), ["abcd"[n] for n in order]),
    )
    with pytest.raises(TableError, match=r"one index have different run \(a, c\); say which"):
        LossTable.join(mixtures, losses, strip="eval_")
    check(LossTable.join(mixtures, losses, strip="eval_", on="run"), "abcd")


def test_the_row_number_that_pandas_writes_is_no_key(tmp_path):
    order = [2, 0, 3, 1]
    mixtures = pandas.DataFrame(MIXTURES, columns=["web", "code", "law"])
    losses = pandas.DataFrame(LOSSES[order], columns=["eval_web", "eval_code"])
    for name, frame, keys in (("m", mixtures, [0, 1, 2, 3]), ("l", losses, order)):
        frame["run"] = [f"run {key}" for key in keys]
        frame.to_csv(tmp_path / f"{name}.csv")
    table = LossTable.join(tmp_path / "m.csv", tmp_path / "l.csv", strip="eval_")
    check(table, [f"run {n}" for n in range(4)])


def test_files_in_the_wrong_order_and_columns_with_two_meanings_are_refused(pair):
    with pytest.raises(TableError, match=r"losses\.csv: eval/web/loss, eval/code/loss may be loss"):
        LossTable.join(*pair[::-1])
    with pytest.raises(TableError, match=r"--loss train_web chooses train_web, which has another"):
        LossTable.join(pair[0], mixture="train_*", loss="train_web")


def test_spaces_around_names_and_numbers_do_not_matter(pair, tmp_path):
    for path in pair:
        path.write_text(path.read_text().replace(",", " , "))
    check(LossTable.join(*pair, mixture="train_*", loss="eval/*/loss"))


def test_an_option_that_does_not_exist_is_refused(pair):
    with pytest.raises(TableError, match="no option losses_; need on, mixture, loss, strip"):
        LossTable.join(*pair, losses_=["x"])
