import subprocess
import sys


def test_a_worker_loads_neither_the_law_nor_torch_to_run_a_training_of_a_users_own():
    """There are as many workers as slots: what they load is multiplied."""
    code = (
        "import sys, bimix_sweep.sweep.cluster.trainable; "
        "print([m for m in ('torch', 'scipy', 'optuna', 'plotly', "
        "'bimix_sweep.law.posterior.fitted_law', 'bimix_sweep.design.planner') if m in "
        "sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
