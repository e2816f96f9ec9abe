"""bimix-sweep: distributed sweeps that choose the data mixture of a pretraining run.

The names in `__all__` are the Python API; docs/python.md shows each of these names in use. A name
is loaded when a program first uses it, so `import bimix_sweep` loads no torch, no Ray and no
Optuna.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.errors import BimixSweepError, TryAgainError
    from bimix_sweep.export.recipe import Recipe
    from bimix_sweep.export.registry import export_recipe
    from bimix_sweep.law.fitting.fit_law import fit_law
    from bimix_sweep.law.optimum.gain import predicted_gain
    from bimix_sweep.law.optimum.objective_difference import objective_difference
    from bimix_sweep.law.optimum.optimal_mixture import optimal_mixture
    from bimix_sweep.mixture.domains import DomainSet, Mixture
    from bimix_sweep.mixture.goals import Goal
    from bimix_sweep.mixture.table import LossTable
    from bimix_sweep.sweep.api import extend_sweep, resume_sweep, run_sweep
    from bimix_sweep.sweep.offline.from_table import propose
    from bimix_sweep.sweep.stored_law import load_law

_HOMES = {
    "BimixSweepError": "bimix_sweep.errors",
    "DomainSet": "bimix_sweep.mixture.domains",
    "Goal": "bimix_sweep.mixture.goals",
    "LossTable": "bimix_sweep.mixture.table",
    "Mixture": "bimix_sweep.mixture.domains",
    "Recipe": "bimix_sweep.export.recipe",
    "SweepConfig": "bimix_sweep.config",
    "TryAgainError": "bimix_sweep.errors",
    "export_recipe": "bimix_sweep.export.registry",
    "extend_sweep": "bimix_sweep.sweep.api",
    "fit_law": "bimix_sweep.law.fitting.fit_law",
    "load_law": "bimix_sweep.sweep.stored_law",
    "objective_difference": "bimix_sweep.law.optimum.objective_difference",
    "optimal_mixture": "bimix_sweep.law.optimum.optimal_mixture",
    "predicted_gain": "bimix_sweep.law.optimum.gain",
    "propose": "bimix_sweep.sweep.offline.from_table",
    "resume_sweep": "bimix_sweep.sweep.api",
    "run_sweep": "bimix_sweep.sweep.api",
}

__all__ = [
    "BimixSweepError",
    "DomainSet",
    "Goal",
    "LossTable",
    "Mixture",
    "Recipe",
    "SweepConfig",
    "TryAgainError",
    "export_recipe",
    "extend_sweep",
    "fit_law",
    "load_law",
    "objective_difference",
    "optimal_mixture",
    "predicted_gain",
    "propose",
    "resume_sweep",
    "run_sweep",
]


def __getattr__(name: str) -> Any:
    """Load a public name when a program first uses it."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bimix_sweep' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names of the package, sorted."""
    return sorted(__all__)
