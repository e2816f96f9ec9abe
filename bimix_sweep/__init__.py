"""bimix-sweep: distributed sweeps that choose the data mixture of a pretraining run."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bimix_sweep.law.fitting.fit_law import fit_law
    from bimix_sweep.law.optimum.optimal_mixture import optimal_mixture
    from bimix_sweep.mixture.domains import DomainSet, Mixture
    from bimix_sweep.mixture.goals import Goal
    from bimix_sweep.mixture.table import LossTable
    from bimix_sweep.sweep.api import run_sweep

__all__ = ["DomainSet", "Goal", "LossTable", "Mixture", "fit_law", "optimal_mixture", "run_sweep"]

_HOMES = {
    "DomainSet": "bimix_sweep.mixture.domains",
    "Goal": "bimix_sweep.mixture.goals",
    "Mixture": "bimix_sweep.mixture.domains",
    "LossTable": "bimix_sweep.mixture.table",
    "fit_law": "bimix_sweep.law.fitting.fit_law",
    "optimal_mixture": "bimix_sweep.law.optimum.optimal_mixture",
    "run_sweep": "bimix_sweep.sweep.api",
}


def __getattr__(name: str) -> Any:
    """Public names are loaded when first used, so that `import bimix_sweep` brings no torch, ray or optuna."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bimix_sweep' has no attribute {name!r}")
