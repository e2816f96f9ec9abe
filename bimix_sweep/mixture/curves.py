"""One proxy training as the law sees it: a mixture and the losses measured along it."""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.domains import Mixture, check_names
from bimix_sweep.mixture.simplex import Array

LEAST_LOSS, MOST_LOSS = 1e-6, 1e6
"""A loss outside measures nothing (a uniform guess costs log(vocabulary), below 20 nats; rounding is about 1e-6), and fits would overflow on it."""
LOSS_NEEDED = f"a number between {LEAST_LOSS:g} and {MOST_LOSS:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LossCurve:
    """Losses of one trial along its steps."""

    trial: str
    """Opaque name of the training."""
    mixture: Mixture
    """What it was trained on."""
    targets: tuple[str, ...]
    """Names of the validation sets."""
    steps: Array
    """(points,) optimizer steps, > 0, rising."""
    losses: Array
    """(points, targets), between LEAST_LOSS and MOST_LOSS, NaN where not measured; nats per token or another positive loss."""
    size: float | None = None
    """Non-embedding parameters."""
    seed: int | None = None
    """Seed of the training; trials of one mixture with different seeds are replicates."""

    def __post_init__(self) -> None:
        check_names(self.targets, "target")
        if self.losses.shape != (len(self.steps), len(self.targets)):
            raise TableError(
                f"trial {self.trial}: losses have shape {self.losses.shape}; need {len(self.steps)} steps x {len(self.targets)} targets"
            )
        if not (
            np.isfinite(self.steps).all()
            and (self.steps > 0).all()
            and (np.diff(self.steps) > 0).all()
        ):
            raise TableError(
                f"trial {self.trial}: steps are {self.steps.tolist()}; need rising numbers > 0"
            )
        if (
            bad := np.argwhere(
                ~(np.isnan(self.losses) | ((self.losses > LEAST_LOSS) & (self.losses < MOST_LOSS)))
            )
        ).size:
            point, target = bad[0]
            raise TableError(
                f"trial {self.trial}: loss of {self.targets[target]} is {self.losses[point, target]:g} at step "
                f"{self.steps[point]:g}; need {LOSS_NEEDED}"
            )

    def last(self) -> Array:
        """(targets,) losses at the last step."""
        return np.asarray(self.losses[-1])
