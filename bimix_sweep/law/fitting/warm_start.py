"""Keeps what a refit takes over from an earlier fit.

This is some kilobytes, while the size of a whole law grows with the number of trials.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bimix_sweep.errors import LawError
from bimix_sweep.law.fitting.normal_equations import Noise
from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model.discrepancy import KernelParams
from bimix_sweep.law.model.priors import step_terms_of
from bimix_sweep.law.model.repetition import Repetition
from bimix_sweep.law.model.shared_values import SharedValues
from bimix_sweep.law.posterior.drift import Drift
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.law_file import FORMAT
from bimix_sweep.law.posterior.law_parts import (
    check_hyper,
    read_drift,
    read_kernel,
    read_repetition,
)
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """Parameters, noise and shared values of one fit."""

    domains: tuple[str, ...]
    """Domains in the order of the parameters."""
    reference: tuple[float, float]
    """s0 and N0 of the law."""
    kernel: KernelParams
    """Correlation parameters of the discrepancy GP."""
    sized: bool
    """True where the trials of the fit had sizes."""
    many_sizes: bool
    """True where the trials of the fit had more than one size."""
    step_terms: int
    """Number of terms of the fit that fall with the step."""
    drift: Drift
    """Uncertainty beyond the trials; a warm refit keeps it."""
    num_trials: int
    """Number of trials of the fit."""
    repetition: Repetition
    """R* of the fit; a warm refit keeps it where the trials of the fit repeated domains."""
    hyper: Mapping[str, Any]
    """Parameters and shared values, as in `FittedLaw`."""

    @classmethod
    def of(cls, law: FittedLaw) -> "WarmStart":
        """Takes from a law what a refit needs."""
        return cls(
            domains=law.domains,
            reference=law.conditioned.reference,
            kernel=law.conditioned.kernel,
            sized=law.sizes is not None,
            many_sizes=len(np.unique(law.trials.sizes)) > 1,
            step_terms=step_terms_of(law.trials),
            drift=law.drift,
            num_trials=law.num_trials,
            repetition=law.repetition,
            hyper=law.hyper,
        )

    def shared_values(self, expected: SharedValues, domains: tuple[str, ...]) -> SharedValues:
        """Returns the shared values of the earlier fit.

        Args:
            expected: shared values expected before any trial; their standard errors stay.
            domains: domains of the new fit; a new domain has the transfer weight log t = 0.
        """
        known = dict(zip(self.domains, self.hyper["transfer_weights"], strict=True))
        return replace(
            expected,
            columns=np.array(self.hyper["columns"]),
            transfer_weights=np.array([known.get(name, 0.0) for name in domains]),
            own_domain_offset=float(self.hyper["own_domain_offset"]),
            spread=float(self.hyper["spread"]),
        )

    def start(
        self, cold: Array, names: list[tuple[str, str]], domains: tuple[str, ...]
    ) -> tuple[Array, Noise]:
        """Returns where a warm refit starts: parameters and noise of the earlier fits.

        Fits are matched by (target, law) names, and their parameters by domain names.

        Args:
            cold: (problems, parameters) start of a cold fit, kept where there is no earlier value.
            names: (target, law) of each problem.
            domains: domains of the new fit.
        """
        fits = {(one["target"], one["law"]): one for one in self.hyper["fits"]}
        before = len(self.hyper["fits"][0]["params"])
        blocks = min(
            (cold.shape[1] - col.NUM_SHARED) // len(domains),
            (before - col.NUM_SHARED) // len(self.domains),
        )
        common = [
            (domains.index(name), d) for d, name in enumerate(self.domains) if name in domains
        ]
        mine, theirs = list(range(col.NUM_SHARED)), list(range(col.NUM_SHARED))
        for block in range(blocks):  # log t, and d where both laws have it
            mine += [col.NUM_SHARED + block * len(domains) + d for d, _ in common]
            theirs += [col.NUM_SHARED + block * len(self.domains) + d for _, d in common]
        start = cold.copy()
        trial, point = (
            np.full(len(names), float(np.median([one[key] for one in fits.values()])))
            for key in ("trial_variance", "point_variance")
        )
        for problem, name in enumerate(names):
            if name in fits:
                start[problem, mine] = np.array(fits[name]["params"])[theirs]
                trial[problem] = fits[name]["trial_variance"]
                point[problem] = fits[name]["point_variance"]
        return start, Noise(trial=trial, point=point)

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; floats round-trip exactly."""
        return {
            **asdict(self),
            "domains": list(self.domains),
            "reference": list(self.reference),
            "kernel": self.kernel.to_json(),
            "hyper": dict(self.hyper),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "WarmStart":
        """Reads what `to_json` gave, or takes what a refit needs from the JSON of a whole law.

        Raises:
            LawError: the data are neither of the two, or the values do not fit together.
        """
        if data.get("format") == FORMAT:
            return cls.of(FittedLaw.from_json(data))
        try:
            domains = tuple(map(str, data["domains"]))
            check_hyper(data["hyper"], len(domains))
            start = cls(
                domains=domains,
                reference=(float(data["reference"][0]), float(data["reference"][1])),
                kernel=read_kernel(data["kernel"]),
                sized=bool(data["sized"]),
                many_sizes=bool(data["many_sizes"]),
                step_terms=int(data["step_terms"]),
                drift=read_drift(data["drift"]),
                num_trials=int(data["num_trials"]),
                repetition=read_repetition(data["repetition"]),
                hyper=dict(data["hyper"]),
            )
        except (
            KeyError,
            TypeError,
            ValueError,
            IndexError,
            AttributeError,
            OverflowError,
        ) as error:
            raise LawError(
                f"the start of a refit is damaged ({type(error).__name__}: {error}); need what "
                "WarmStart.to_json gives"
            ) from error
        if not (
            min(start.reference) > 0 and max(start.reference) < np.inf and start.num_trials > 0
        ):
            raise LawError(
                "the start of a refit is damaged: a scale or count is not positive; need what "
                "WarmStart.to_json gives"
            )
        return start
