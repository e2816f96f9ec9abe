import numpy as np
import pyarrow as pa
import pytest

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.columns import write_columns
from bimix_sweep.mixture.curves import LossCurve
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.mixture_file import MixtureFile
from bimix_sweep.mixture.table import LossTable

HEADER = "trial,step,r_a,r_b,loss_a,loss_b\n"


def written(tmp_path, text, name="runs.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def two_curves():
    steps = np.array([100.0, 200.0])
    return [
        LossCurve(
            trial="07",
            mixture=Mixture.from_mapping({"a": 0.25, "b": 0.75}),
            targets=("a", "b"),
            steps=steps,
            losses=np.array([[3.0, 2.0], [2.5, np.nan]]),
            size=2e5,
            seed=1,
        ),
        LossCurve(
            trial="x",
            mixture=Mixture.from_mapping({"b": 0.1, "a": 0.9}),
            targets=("b",),
            steps=steps,
            losses=np.array([[2.0], [1.0]]),
        ),
    ]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_comes_back_from_disk_as_it_was(tmp_path, ending):
    table = LossTable.from_curves(two_curves())
    table.write(tmp_path / f"runs.{ending}")
    again = LossTable.read(tmp_path / f"runs.{ending}")
    assert (again.domains, again.targets, again.trials) == (
        ("a", "b"),
        ("a", "b"),
        ("07", "07", "x", "x"),
    )
    for name in ("steps", "sizes", "seeds", "proportions", "losses"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_seeds_are_written_as_whole_numbers_and_come_back_exact(tmp_path, ending):
    seeds = [701_234_567_890_123, 2**53 - 1, None]
    curves = [
        LossCurve(
            trial=f"t{n}",
            mixture=Mixture.from_mapping({"a": 0.5, "b": 0.5}),
            targets=("a",),
            steps=np.array([100.0]),
            losses=np.array([[3.0]]),
            seed=seed,
        )
        for n, seed in enumerate(seeds)
    ]
    path = tmp_path / f"runs.{ending}"
    LossTable.from_curves(curves).write(path)
    if ending == "csv":
        assert [line.split(",")[2] for line in path.read_text().splitlines()] == [
            '"seed"',
            "701234567890123",
            "9007199254740991",
            "",
        ]
    else:
        assert pa.parquet.read_table(path).column("seed").to_pylist() == seeds
    assert [curve.seed for curve in LossTable.read(path).curves()] == seeds


def test_curves_and_tables_hold_the_same_points():
    first, second = LossTable.from_curves(two_curves()).curves()
    assert first.mixture.as_dict() == {"a": 0.25, "b": 0.75}
    assert first.losses[0].tolist() == [3.0, 2.0]
    assert (first.size, first.seed, second.size, second.seed) == (2e5, 1, None, None)
    assert np.isnan(second.losses[:, 0]).all()


def test_rows_in_any_order_give_rising_curves(tmp_path):
    path = written(tmp_path, HEADER + "t,200,.5,.5,2,2\nt,100,.5,.5,3,3\n")
    curve = LossTable.read(path).curves()[0]
    assert curve.steps.tolist() == [100, 200]
    assert curve.last().tolist() == [2, 2]


def test_rounded_rows_are_normalised_and_said(tmp_path):
    table = LossTable.read(written(tmp_path, HEADER + "t,1,.51,.51,3,3\nu,1,.5,.5,3,3\n"))
    assert table.proportions[0].tolist() == [0.5, 0.5]
    assert "1 of 2 rows summed to 1.02-1.02 and were normalised" in table.notes[0]


def test_each_trial_is_a_run_of_its_own(tmp_path):
    table = LossTable.read(
        written(tmp_path, HEADER + "t,1,.5,.5,3,3\nu,1,.5,.5,3,3\nv,1,.4,.6,3,\n")
    )
    assert table.run_ids().tolist() == [0, 1, 2]
    assert np.isnan(table.losses[2, 1])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("t,1,.5,.4,3,3\n", "proportions of row 1 sum to 0.9; need 1"),
        ("t,1,-.5,1.5,3,3\n", "row 1 has r_a = -.5; need a finite number >= 0"),
        ("t,1,,1,3,3\n", "row 1 has no r_a"),
        (
            "t,1,.5,.5,2,1e200\n",
            "row 1, trial t, has loss_b = 1e\\+200; need a number between 1e-06 and 1e\\+06, or an "
            "empty field",
        ),
        ("t,1,.5,.5,inf,3\n", "row 1 has loss_a = inf"),
        ("t,1,.5,.5,0,3\n", "row 1, trial t, has loss_a = 0; need a number between"),
        ("t,1,.5,.5,three,3\n", "row 1 has loss_a = 'three'; need a number"),
        ("t,0,.5,.5,3,3\n", "row 1 has step = 0"),
        (",1,.5,.5,3,3\n", "row 1 has no trial"),
        ("t,1,.5,.5,3,3\nt,1,.5,.5,3,3\n", "rows 1 and 2 are both trial t at step 1"),
        ("t,1,.5,.5,3,3\nt,2,.6,.4,3,3\n", "trial t has different proportions in rows 1 and 2"),
        ("", "no rows"),
        ("t,1\n", "not a readable csv"),
    ],
)
def test_a_bad_row_is_refused_with_its_number_column_and_value(tmp_path, rows, message):
    with pytest.raises(TableError, match=message):
        LossTable.read(written(tmp_path, HEADER + rows))


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("trial,step,loss_a\nt,1,2\n", "runs.csv", "no r_<domain> column"),
        ("trial,step,r_a\nt,1,1\n", "runs.csv", "no loss_<target> column"),
        ("", "runs.csv", "not a readable csv"),
        ("x", "runs.parquet", "not a readable parquet"),
        ("x", "runs.txt", "ends in .txt; need .csv, .tsv or .parquet"),
        ("trial,step,r_a,r_a,loss_a\nt,1,1,1,2\n", "runs.csv", "column r_a is there twice"),
    ],
)
def test_a_file_that_is_no_loss_table_is_refused(tmp_path, text, name, message):
    with pytest.raises(TableError, match=message):
        LossTable.read(written(tmp_path, text, name))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TableError, match=r"gone\.csv cannot be read \(No such file"):
        LossTable.read(tmp_path / "gone.csv")


def test_a_mixture_file_keeps_its_other_columns(tmp_path):
    mixtures = MixtureFile.read(written(tmp_path, "id,r_a,r_b,step\nm1,.5,.5,100\nm2,1,0,\n"))
    assert mixtures.proportions.tolist() == [[0.5, 0.5], [1, 0]]
    assert list(mixtures.columns) == ["id", "r_a", "r_b", "step"]
    assert mixtures.steps[0] == 100
    assert np.isnan(mixtures.steps[1])


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(pa.ArrowInvalid):
        write_columns(path, {"x": pa.array([1, 2]), "y": pa.array([1])})
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_passes_are_read_written_and_kept_by_curves(tmp_path):
    text = (
        "trial,step,r_a,r_b,loss_a,epochs_b\nt,100,.5,.5,3,1.5\nt,200,.5,.5,2,3\nu,200,.9,.1,3,.6\n"
    )
    table = LossTable.read(written(tmp_path, text))
    assert table.epochs.tolist() == [[0, 1.5], [0, 3], [0, 0.6]]
    assert not table.notes
    table.write(tmp_path / "again.parquet")
    again = LossTable.read(tmp_path / "again.parquet")
    joined = LossTable.join(
        pa.table({"r_a": [0.5], "r_b": [0.5], "loss_a": [3.0], "epochs_a": [2]})
    )
    for other in (again, LossTable.from_curves(table.curves()), table.select([0, 1, 2])):
        np.testing.assert_array_equal(other.epochs, table.epochs)
    assert joined.epochs.tolist() == [[2, 0]]
    assert LossTable.from_curves(two_curves()).epochs is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("t,100,.5,.5,3,-1", "row 1 has epochs_b = -1; need a finite number >= 0"),
        ("t,100,.5,.5,3,nan", "row 1 has no epochs_b; need a number"),
        ("t,100,.5,.5,3,", "row 1 has no epochs_b; need a number"),
        (
            "t,100,.5,.5,3,4\nt,200,.5,.5,2,4",
            "epochs_b = 4 at step 100 and 4 at step 200; need the",
        ),
    ],
)
def test_passes_that_cannot_be_are_refused(tmp_path, rows, message):
    with pytest.raises(TableError, match=message):
        LossTable.read(written(tmp_path, f"trial,step,r_a,r_b,loss_a,epochs_b\n{rows}\n"))


def test_passes_of_a_domain_that_the_table_lacks_are_refused(tmp_path):
    with pytest.raises(TableError, match="column epochs_c and no r_c; its domains are a, b"):
        LossTable.read(written(tmp_path, "trial,r_a,r_b,loss_a,epochs_c\nt,.5,.5,3,1\n"))
