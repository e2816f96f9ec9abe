"""What an import may load: checked in a fresh interpreter, since this one has everything loaded
already.
"""

import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "optuna", "plotly", "tokenizers", "pandas")


def loaded_after(code: str) -> set[str]:
    script = (
        f"import sys\n{code}\nprint(','.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return (
        set(filter(None, done.stdout.strip().splitlines()[-1].split(",")))
        if done.stdout.strip()
        else set()
    )


@pytest.mark.parametrize(
    "code",
    [
        "import bimix_sweep",
        "import bimix_sweep.cli",
        "from bimix_sweep import DomainSet, Mixture, LossTable, fit_law, optimal_mixture",
        "import bimix_sweep.config, bimix_sweep.design.planner, bimix_sweep.journal.writer",
        "from typer.testing import CliRunner; from bimix_sweep.cli import app; assert "
        "CliRunner().invoke(app, ['--help']).exit_code == 0",
    ],
)
def test_importing_the_light_floors_loads_no_heavy_library(code):
    assert loaded_after(code) == set()


def test_the_check_sees_a_library_that_is_loaded():
    assert loaded_after("import optuna") >= {"optuna"}


def test_every_public_name_can_be_imported():
    code = "import bimix_sweep; [getattr(bimix_sweep, name) for name in bimix_sweep.__all__]"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
