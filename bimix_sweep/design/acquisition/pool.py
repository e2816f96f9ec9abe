"""Pool of trials: what proposals are chosen among where not every mixture can be trained."""

from dataclasses import dataclass

from bimix_sweep.design.acquisition.scores import EXPLORATION
from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Mixtures that the next trial may have, each at one fidelity and for one trial. A replay
    proposes only the finished runs of its table."""

    mixtures: Array
    """(n, domains) mixtures, columns in the order of the sweep's domains."""
    fidelities: tuple[Fidelity, ...]
    """(n,) fidelities of the mixtures."""
    exploration: float = EXPLORATION
    """Weight of the variance over all mixtures in the acquisition score."""

    def nearest_fidelity(self, fidelity: Fidelity) -> Fidelity:
        """Returns `fidelity` where a mixture of the pool has it, else the cheapest one that the
        pool has."""
        if fidelity in self.fidelities:
            return fidelity
        return min(self.fidelities, key=lambda other: (other.cost, other.size))

    def at(self, fidelity: Fidelity) -> Array:
        """Returns the (m, domains) mixtures at this fidelity."""
        return self.mixtures[[other == fidelity for other in self.fidelities]]
