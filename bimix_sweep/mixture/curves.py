"""Loss curve of one trial: a mixture and the losses measured along the steps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.domains import Mixture, check_names
from bimix_sweep.mixture.goals import PLAIN, Goals, first_refused
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class LossCurve:
    """Losses of one trial along its steps."""

    trial: str
    """Opaque name of the trial."""
    mixture: Mixture
    """Mixture that the trial was trained on."""
    targets: tuple[str, ...]
    """Names of the validation sets."""
    steps: Array
    """(points,) optimizer steps, > 0, rising."""
    losses: Array
    """(points, targets) losses, each in its target's own unit and in the range that its goal
    allows; NaN where not measured."""
    size: float | None = None
    """Non-embedding parameters of the proxy; None where not known."""
    seed: int | None = None
    """Seed of the trial; trials of one mixture with different seeds are replicates. None where not
    known."""
    goals: Goals = field(default_factory=dict)
    """{target: direction and range}; a target without an entry is a positive loss."""
    epochs: Array | None = None
    """(points, domains of the mixture) passes over each domain's unique tokens up to the point;
    None where not known, and then no domain is taken to be repeated."""

    def __post_init__(self) -> None:
        check_names(self.targets, "target")
        if self.losses.shape != (len(self.steps), len(self.targets)):
            raise TableError(
                f"trial {self.trial}: losses have shape {self.losses.shape}; need "
                f"{len(self.steps)} steps x {len(self.targets)} targets"
            )
        needed = (len(self.steps), len(self.mixture.names))
        if self.epochs is not None and not (
            self.epochs.shape == needed and (np.isfinite(self.epochs) & (self.epochs >= 0)).all()
        ):
            raise TableError(
                f"trial {self.trial}: epochs have shape {self.epochs.shape} and are "
                f"{self.epochs.min():g} to {self.epochs.max():g}; need {needed[0]} steps x "
                f"{needed[1]} domains, finite and >= 0"
            )
        if not (
            np.isfinite(self.steps).all()
            and (self.steps > 0).all()
            and (np.diff(self.steps) > 0).all()
        ):
            raise TableError(
                f"trial {self.trial}: steps are {self.steps.tolist()}; need rising numbers > 0"
            )
        if (bad := first_refused(self.goals, self.targets, self.losses)) is not None:
            point, target = bad
            name = self.targets[target]
            raise TableError(
                f"trial {self.trial}: loss of {name} is {self.losses[point, target]:g} at step "
                f"{self.steps[point]:g}; need {self.goals.get(name, PLAIN).needed}"
            )

    def last(self) -> Array:
        """Returns the (targets,) losses at the last step."""
        return np.asarray(self.losses[-1])


def stacked(curves: Sequence[LossCurve]) -> dict[str, Any]:
    """Returns the fields of a loss table with all points of the curves; domains and targets keep
    the order of their first appearance.

    Raises:
        TableError: there is no curve.
    """
    if not curves:
        raise TableError("no loss curves; need at least one")
    domains = tuple(dict.fromkeys(name for curve in curves for name in curve.mixture.names))
    targets = tuple(dict.fromkeys(name for curve in curves for name in curve.targets))
    blocks = []
    for curve in curves:
        block = np.full((len(curve.steps), len(targets)), np.nan)
        block[:, [targets.index(name) for name in curve.targets]] = curve.losses
        blocks.append(block)
    counts = [len(curve.steps) for curve in curves]
    return {
        "domains": domains,
        "targets": targets,
        "trials": tuple(
            curve.trial for curve, count in zip(curves, counts, strict=True) for _ in range(count)
        ),
        "steps": np.concatenate([curve.steps for curve in curves]).astype(np.float64),
        "sizes": np.repeat([np.nan if c.size is None else float(c.size) for c in curves], counts),
        "seeds": np.repeat([np.nan if c.seed is None else float(c.seed) for c in curves], counts),
        "proportions": np.repeat([c.mixture.as_array(domains) for c in curves], counts, axis=0),
        "losses": np.concatenate(blocks),
        "goals": {name: goal for curve in curves for name, goal in curve.goals.items()},
        "epochs": _stacked_epochs(curves, domains),
    }


def _stacked_epochs(curves: Sequence[LossCurve], domains: tuple[str, ...]) -> Array | None:
    """(rows, domains) passes, 0 where a curve does not know them; None where no curve does."""
    if all(curve.epochs is None for curve in curves):
        return None
    blocks = []
    for curve in curves:
        block = np.zeros((len(curve.steps), len(domains)))
        if curve.epochs is not None:
            block[:, [domains.index(name) for name in curve.mixture.names]] = curve.epochs
        blocks.append(block)
    return np.concatenate(blocks)
