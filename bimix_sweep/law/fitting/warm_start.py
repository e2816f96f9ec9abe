"""Keeps what a refit takes over from an earlier fit.

This is some kilobytes, while the size of a whole law grows with the number of trials.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bimix_sweep.errors import LawError
from bimix_sweep.law.model.discrepancy import Shape
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.law_file import FORMAT, check_hyper, read_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """Parameters, noise and shared values of one fit."""

    domains: tuple[str, ...]
    """Domains in the order of the parameters."""
    reference: tuple[float, float]
    """s0 and N0 of the law."""
    shape: Shape
    """Correlation parameters of the discrepancy GP."""
    sized: bool
    """True where the trials of the fit had sizes."""
    many_sizes: bool
    """True where the trials of the fit had more than one size."""
    many_steps: bool
    """True where the fit used more than one step."""
    num_trials: int
    """Number of trials of the fit."""
    hyper: Mapping[str, Any]
    """Parameters and shared values, as in `FittedLaw`."""

    @classmethod
    def of(cls, law: FittedLaw) -> "WarmStart":
        """Takes from a law what a refit needs."""
        return cls(
            domains=law.domains,
            reference=law.reference,
            shape=law.shape,
            sized=law.sizes is not None,
            many_sizes=len(np.unique(law.runs.sizes)) > 1,
            many_steps=bool(np.ptp(law.runs.steps) > 0),
            num_trials=law.num_trials,
            hyper=law.hyper,
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; floats round-trip exactly."""
        shape = {name: value for name, value in asdict(self.shape).items() if value < np.inf}
        return {
            **asdict(self),
            "domains": list(self.domains),
            "reference": list(self.reference),
            "shape": shape,
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
                shape=read_shape(data.get("shape", data)),
                sized=bool(data["sized"]),
                many_sizes=bool(data["many_sizes"]),
                many_steps=bool(data["many_steps"]),
                num_trials=int(data["num_trials"]),
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
