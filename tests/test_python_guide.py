"""The snippets of docs/python.md run, one after another, and the top level is what it says."""

import re
import subprocess
import sys
from pathlib import Path

import bimix_sweep

GUIDE = Path(bimix_sweep.__file__).parent / "docs" / "python.md"


def test_every_snippet_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 8
    exec(compile("\n".join(blocks), str(GUIDE), "exec"), {"__name__": "guide"})  # noqa: S102
    said = capsys.readouterr().out
    assert "no-such-file.csv cannot be read" in said


def test_a_saved_law_predicts_as_before(tmp_path):
    import numpy as np

    rng = np.random.default_rng(1)
    proportions = rng.dirichlet([1.0, 1.0, 1.0], size=20)
    losses = 3.0 * (0.05 + proportions[:, :2]) ** -0.2
    table = bimix_sweep.LossTable.from_numpy(
        domains=["a", "b", "c"],
        targets=["a", "b"],
        proportions=proportions,
        losses=losses,
        steps=np.full(20, 100.0),
    )
    law = bimix_sweep.fit_law(table)
    law.save(tmp_path / "law.json")
    again = bimix_sweep.load_law(tmp_path / "law.json")
    steps = np.full(20, 100.0)
    assert (again.predict(proportions, steps) == law.predict(proportions, steps)).all()


def test_tables_from_memory_equal_the_table_of_a_file(tmp_path):
    import numpy as np
    import pyarrow as pa

    proportions, losses = np.array([[0.25, 0.75], [0.5, 0.5]]), np.array([[2.0], [np.nan]])
    made = bimix_sweep.LossTable.from_numpy(
        domains=["a", "b"],
        targets=["a"],
        proportions=proportions,
        losses=losses,
        steps=np.array([10.0, 10.0]),
        trials=["x", "y"],
        seeds=np.array([1, 2]),
    )
    path = tmp_path / "table.csv"
    path.write_text("trial,step,seed,r_a,r_b,loss_a\nx,10,1,0.25,0.75,2.0\ny,10,2,0.5,0.5,\n")
    columns = {"trial": ["x", "y"], "step": [10, 10], "seed": [1, 2]}
    columns |= {"r_a": [0.25, 0.5], "r_b": [0.75, 0.5], "loss_a": [2.0, None]}
    for other in (
        bimix_sweep.LossTable.read(path),
        bimix_sweep.LossTable.from_arrow(pa.table(columns)),
    ):
        assert (made.domains, made.targets, made.trials) == (
            other.domains,
            other.targets,
            other.trials,
        )
        for name in ("steps", "sizes", "seeds", "proportions", "losses"):
            assert np.array_equal(getattr(made, name), getattr(other, name), equal_nan=True), name


def test_the_top_level_shows_its_public_names_and_loads_nothing_heavy():
    assert dir(bimix_sweep) == sorted(bimix_sweep.__all__)
    for name in bimix_sweep.__all__:
        assert getattr(bimix_sweep, name).__doc__, name
    code = (
        "import sys, bimix_sweep; "
        "print([m for m in ('torch', 'ray', 'optuna', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
