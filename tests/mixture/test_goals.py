import json
import os
import threading

import numpy as np
import pyarrow as pa
import pytest

from bimix_sweep import uri_storage
from bimix_sweep.errors import ConfigError, TableError
from bimix_sweep.mixture import columns as columns_module
from bimix_sweep.mixture.columns import write_columns
from bimix_sweep.mixture.goals import Goal, losses_of, named_accuracy, values_of
from bimix_sweep.mixture.mixture_file import MixtureFile
from bimix_sweep.mixture.table import LossTable

HEADER = "trial,step,r_a,r_b,loss_a,loss_exam\n"
ACCURACY = Goal(direction="max", range=(0.0, 1.0))


def written(tmp_path, text, name="runs.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("goal", "best", "worst"),
    [
        (ACCURACY, 1.0, 0.0),
        (Goal(direction="max", range=(0.0, 100.0)), 100.0, 0.0),
        (Goal(direction="min", range=(-5.0, 5.0)), -5.0, 5.0),
        (Goal(direction="min", range=(0.0, 2.0)), 0.0, 2.0),
    ],
)
def test_a_better_value_is_a_smaller_positive_loss_and_comes_back_exactly(goal, best, worst):
    values = np.linspace(best, worst, 101)
    losses = goal.loss_of(values)
    assert (np.diff(losses) > 0).all()
    assert losses[0] == pytest.approx(0.01)
    assert losses[-1] == pytest.approx(1.01)
    np.testing.assert_allclose(goal.value_of(losses), values, atol=1e-12)
    assert goal.value_of(np.array([9.0, 0.0])) == pytest.approx([worst, best])
    middle = goal.loss_of(values.mean())
    assert middle == pytest.approx(losses.mean()), "the rule is linear: means stay means"


def test_a_target_without_a_range_is_its_own_loss_and_missing_values_stay_missing():
    values = np.array([[3.0, 0.25], [np.nan, np.nan]])
    goals = {"exam": ACCURACY}
    losses = losses_of(goals, ("web", "exam"), values)
    assert losses[0].tolist() == pytest.approx([3.0, 0.76])
    assert np.isnan(losses[1]).all()
    np.testing.assert_allclose(values_of(goals, ("web", "exam"), losses), values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max", "needs the range of its values: max:0:1"),
        ("best", "goal 'best' is not known; need min, max:LOW:HIGH or min:LOW:HIGH"),
        ("max:0", "is not known; need min"),
        ("max:zero:one", "has no numbers"),
        ("max:1:0", r"range is \[1.0, 0.0\]; need \[low, high\]"),
        ("max:0:nan", r"range is \[0.0, nan\]"),
        ("max:0:inf", r"range is \[0.0, inf\]"),
    ],
)
def test_a_goal_that_is_none_is_refused_with_what_to_write(text, message):
    with pytest.raises(ConfigError, match=message):
        Goal.parse(text)


def test_names_that_say_that_more_is_better_are_told_from_others():
    yes = (
        "acc accuracy arc_acc acc_norm exact_match ExactMatch f1 squad-f1 pass@1 pass@k pass_at_10 "
        "mc1 em auc"
    )
    no = (
        "web accent f10 gemm acc_loss error accuracy_error compass@home arc exam mc4 access_log nll"
    )
    assert [name for name in yes.split() if not named_accuracy(name)] == []
    assert [name for name in no.split() if named_accuracy(name)] == []


@pytest.mark.parametrize(
    ("value", "goals", "message"),
    [
        (
            "-0.5",
            {},
            r"loss_exam = -0.5; need a number between .*; if exam is another metric state its goal "
            r"and "
            r"range, such as .*--goal exam=max:0:1",
        ),
        ("0", {}, r"loss_exam = 0; need a number between"),
        (
            "43",
            {"exam": ACCURACY},
            r"loss_exam = 43; need a number in its range, 0 to 1, or an empty",
        ),
        ("-1e-9", {"exam": ACCURACY}, "need a number in its range"),
        (
            "0.5",
            {"arc": ACCURACY},
            "has no column loss_arc, whose goal is given; its targets are a, exam",
        ),
    ],
)
def test_a_value_that_its_goal_does_not_allow_is_refused(tmp_path, value, goals, message):
    path = written(tmp_path, f"{HEADER}t,1,.5,.5,3,{value}\n")
    with pytest.raises(TableError, match=message):
        LossTable.read(path, goals)


def test_values_at_the_ends_of_a_range_are_allowed(tmp_path):
    path = written(tmp_path, f"{HEADER}t,1,.5,.5,3,0\nu,1,.5,.5,3,1\n")
    assert LossTable.read(path, {"exam": ACCURACY}).losses[:, 1].tolist() == [0, 1]


def test_columns_that_nothing_reads_are_named_with_the_likeliest_mend(tmp_path):
    head = "trial,step,r_a,r_b,loss_a,reason,web_loss,Loss_b,exam,host\n"
    path = written(tmp_path, f"{head}t,1,.5,.5,3,why,2,2.5,.4,gpu7\n")
    table = LossTable.read(path)
    assert table.targets == ("a",)
    (note,) = table.notes
    assert "not used: web_loss, Loss_b, exam, host" in note
    assert (
        "; write loss_b for Loss_b; if web_loss, exam are targets, write loss_web, loss_exam"
        in note
    )
    assert not LossTable.read(written(tmp_path, f"{HEADER}t,1,.5,.5,3,2\n")).notes
    head = "trial,step,Size,r_a,r_b,R_c,loss_a\n"
    (note,) = LossTable.read(written(tmp_path, f"{head}t,1,1e6,.5,.5,0,3\n")).notes
    assert "not used: Size, R_c; write size, r_c for Size, R_c" in note


def test_a_run_that_stands_there_under_two_names_is_told(tmp_path):
    rows = "t,1,.5,.5,3,2\nu,1,.5,.5,3,2.1\nagain,1,.5,.5,3,2\n"
    (note,) = LossTable.read(written(tmp_path, HEADER + rows)).notes
    assert "1 row repeats another" in note
    assert "row 3 (trial again) row 1 (trial t)" in note
    replicates = "t,1,.5,.5,3,2\nu,1,.5,.5,3.01,2\n"
    assert not LossTable.read(written(tmp_path, HEADER + replicates)).notes


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/null"])
def test_a_device_is_refused_before_anything_of_it_is_read(device):
    with pytest.raises(TableError, match=f"{device} cannot be read .*is a device or socket"):
        LossTable.read(device)


def test_a_file_larger_than_what_is_read_whole_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "runs.csv"
    with path.open("wb") as stream:  # sparse: it takes no space
        stream.truncate(uri_storage.MAX_BYTES + 1)
    with pytest.raises(TableError, match="more than 1 GiB, which is the most that is read"):
        LossTable.read(path)


def test_a_pipe_is_read_to_its_end_and_one_without_an_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(uri_storage, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(uri_storage, "PIECE", 1 << 16)

    def through_a_pipe(chunks):
        path = tmp_path / "pipe.csv"
        path.unlink(missing_ok=True)
        os.mkfifo(path)

        def write():
            with path.open("wb") as stream:
                for chunk in chunks:
                    try:
                        stream.write(chunk)
                        stream.flush()
                    except BrokenPipeError:
                        return

        writer = threading.Thread(target=write)
        writer.start()
        try:
            return LossTable.read(path)
        finally:
            writer.join()

    assert len(through_a_pipe([HEADER.encode(), b"t,1,.5,.5,3,2\n"])) == 1
    with pytest.raises(TableError, match="which is the most that is read"):
        through_a_pipe(b"\0" * 65536 for _ in range(10**6))


def test_a_small_parquet_file_of_a_great_many_rows_is_refused_by_its_footer(tmp_path, monkeypatch):
    import pyarrow as pa

    path = tmp_path / "m.parquet"
    write_columns(path, {"r_a": pa.array(np.ones(200_000)), "r_b": pa.array(np.zeros(200_000))})
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(columns_module, "MAX_CELLS", 100_000)
    with pytest.raises(TableError, match="200,000 rows of 2 columns; need at most 100,000 fields"):
        MixtureFile.read(path)


def test_curves_of_a_ranged_target_may_hold_a_value_of_0_and_a_loss_below_0():
    table = LossTable.from_columns(
        "t.csv",
        {
            "trial": pa.array(["x", "x"]),
            "step": pa.array([1.0, 2.0]),
            "r_a": pa.array([0.5, 0.5]),
            "r_b": pa.array([0.5, 0.5]),
            "loss_exam": pa.array([0.0, -0.5]),
        },
        {"exam": Goal(direction="max", range=(-1, 1))},
    )
    (curve,) = table.curves()
    assert curve.losses[:, 0].tolist() == [0.0, -0.5]


def test_a_goal_is_the_same_after_it_was_written_whether_its_range_was_whole_or_not():
    goal = Goal(direction="max", range=(0, 1))
    assert json.dumps(Goal.from_json(goal.to_json()).to_json()) == json.dumps(goal.to_json())
