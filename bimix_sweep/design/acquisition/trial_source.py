"""Where the trials of a sweep's record and their losses come from."""

from collections.abc import Sequence

from bimix_sweep.design.acquisition.pool import Pool
from bimix_sweep.design.evidence import fit_evidence
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.trial import TrialRecord
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.posterior.fitted_law import FittedLaw


class TrialSource:
    """Source of trials that are trained: every mixture inside the bounds is possible, and losses
    are recorded while a trial runs. A replay overrides this with finished runs."""

    spec: SweepSpec
    """Specification of the sweep."""

    @property
    def pool(self) -> Pool | None:
        """Trials that the next proposal is chosen among; None where every mixture inside the bounds
        is possible."""
        return None

    def fit(
        self,
        purpose: str,
        evidence: Sequence[TrialRecord],
        num_points: int,
        previous: WarmStart | None,
    ) -> FittedLaw | None:
        """Fits the law to some of the trials; arguments and result as for `fit_evidence`."""
        return fit_evidence(self.spec, purpose, evidence, num_points, previous)
