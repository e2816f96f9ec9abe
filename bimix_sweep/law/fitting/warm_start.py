"""What a refit takes over from an earlier fit: some kilobytes, where the whole law grows with the trainings."""

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
    """Parameters, noise and what targets have in common, of one fit."""

    domains: tuple[str, ...]
    """In the order of its parameters."""
    reference: tuple[float, float]
    """Its s0 and N0."""
    shape: Shape
    """Of its process."""
    sized: bool
    """Its trainings had sizes."""
    many_sizes: bool
    """More than one."""
    many_steps: bool
    """It was fitted to more than one step."""
    num_trials: int
    """Trainings it was fitted to."""
    hyper: Mapping[str, Any]
    """As in `FittedLaw`."""

    @classmethod
    def of(cls, law: FittedLaw) -> "WarmStart":
        """What a refit takes over from a law."""
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
        """Plain JSON values; floats round-trip exactly."""
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
        """The inverse of `to_json`; of a whole law's JSON, what a refit takes over from it.

        Raises:
            LawError: it is neither, or its values do not fit together.
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
                f"the start of a refit is damaged ({type(error).__name__}: {error}); need what WarmStart.to_json gives"
            ) from error
        if not (
            min(start.reference) > 0 and max(start.reference) < np.inf and start.num_trials > 0
        ):
            raise LawError(
                "the start of a refit is damaged: a scale or count is not positive; need what WarmStart.to_json gives"
            )
        return start
