"""Divides loss curves into segments of equal width in log steps and bins dense curves.

A curve segment (`look` in the code) is the part of a trial's curve within a factor of LOOK in
steps, counted back from the last step of all trials. The error of the parametric law for a mixture
drifts along the curve. The mean error of a whole curve says less about the last step than the end
of the curve does. So each segment has its own mean residual, and the discrepancy GP is fitted to
these.

The segments of a trial share the offset of the trial. Each segment also has the noise of its points
and a noise of its own, because neighbouring points of a curve wander together. Two causes make
segments of one trial differ: this noise, and a discrepancy whose correlation falls over steps. The
marginal likelihood decides how much each cause contributes.

The least-squares fit takes the points of a trial as independent, given its offset. Hundreds of
points are far from independent, and the fit would bend mixture and step parameters to follow their
common wandering. So dense curves are fitted by the means of their segments (`condensed`), and the
noise of these means is estimated from the data.

Measurements: docs/evidence.md.
"""

from dataclasses import dataclass, replace

import numpy as np

from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.discrepancy import Places
from bimix_sweep.law.model.observations import Index, Runs, stages_of
from bimix_sweep.mixture.simplex import Array

LOOK = 1.41
"""Factor in steps that one curve segment spans (docs/evidence.md)."""
MAX_LOOKS = 256
"""Largest number of segments of all trials; above it, segments become wider.

The cost of a fit grows with the cube of this number.
"""
MAX_POINTS = 8
"""Largest number of points in a segment that are fitted one by one (docs/evidence.md)."""
FALL = 0.5
"""Power of the steps with which a loss falls; gives the step of a segment's mean
(docs/evidence.md)."""


@dataclass(frozen=True, kw_only=True)
class CurveSegments:
    """Points of some trials, regrouped by curve segment."""

    runs: Runs
    """`Runs` in which each segment stands as one trial."""
    training: Index
    """(segments,) trial to which each segment belongs, rising."""

    def places(self, design: tl.Design) -> Places:
        """Returns the inputs of the discrepancy GP for each segment.

        Args:
            design: design of the trials.
        """
        rows = np.bincount(self.runs.run)
        log_step = np.bincount(self.runs.run, design.log_step[self.runs.stage]) / rows
        return Places(
            proportions=self.runs.proportions,
            log_size=design.mixture_log_size[self.training],
            log_step=log_step,
        )


def curve_segments(runs: Runs) -> CurveSegments:
    """Divides the curves of some trials into segments."""
    back = _back(runs)
    every = np.arange(len(runs.proportions))
    while True:
        starts = _starts(runs, back)
        if len(starts) == len(every):
            return CurveSegments(runs=runs, training=every)
        if len(starts) <= MAX_LOOKS:
            break
        back = back / 2
    training = runs.run[starts]
    look = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(runs.run))))
    return CurveSegments(
        runs=replace(runs, proportions=runs.proportions[training], run=look), training=training
    )


def condensed(runs: Runs, y: Array) -> tuple[Runs, Array, tuple[str, ...]]:
    """Bins dense curves: replaces the points of each segment by their mean.

    The trials stay as they are where no trial has more than MAX_POINTS points in a segment. A
    target that was not measured at all points of a curve is interpolated in log steps, and is
    constant before its first and after its last point.

    Args:
        y: (targets, rows) log losses.

    Returns:
        the runs, whose stages keep the first and the last step, their (targets, rows) log losses,
        and notes on what was done.
    """
    starts = _starts(runs, _back(runs))
    points = np.diff(np.append(starts, len(runs.run)))
    if points.max() <= MAX_POINTS:
        return runs, y, ()
    present = np.logical_or.reduceat(runs.present, starts, axis=1)
    means = np.where(present, np.add.reduceat(_drawn(runs, y), starts, axis=1) / points, 0.0)
    mean = (np.add.reduceat(runs.steps[runs.stage] ** -FALL, starts) / points) ** (-1 / FALL)
    # A single point keeps its step: rounding changes a step raised to a power and back.
    at = np.where(points == 1, runs.steps[runs.stage[starts]], mean)
    ends = [runs.steps.argmin(), runs.steps.argmax()]
    steps, sizes, stage = stages_of(
        np.append(at, runs.steps[ends]), np.append(runs.sizes[runs.stage[starts]], runs.sizes[ends])
    )
    few = Runs(
        proportions=runs.proportions,
        steps=steps,
        sizes=sizes,
        run=runs.run[starts],
        stage=stage[: len(at)],
        present=present,
    )
    most = [np.bincount(each.run).max() for each in (runs, few)]
    note = (
        f"curves of up to {most[0]} points were read as up to {most[1]} means, "
        f"one for each factor of {LOOK} in steps: neighbouring points wander together"
    )
    return few, means, (note,)


def _back(runs: Runs) -> Array:
    """(rows,) number of segments, not rounded, from each row to the last step of all trials."""
    return np.asarray(np.log(runs.steps.max() / runs.steps[runs.stage]) / np.log(LOOK))


def _starts(runs: Runs, back: Array) -> Index:
    """(segments,) first row of each segment."""
    part = np.maximum(np.ceil(back - 1e-9) - 1, 0).astype(np.int64)
    key = runs.run * (part.max() + 1) - part  # steps rise in the rows of a trial
    return np.flatnonzero(np.diff(key, prepend=-1 - part.max()))


def _drawn(runs: Runs, y: Array) -> Array:
    """(targets, rows) log losses; missing ones are interpolated in log steps within their trial."""
    out, log_step = y.copy(), np.log(runs.steps[runs.stage])
    for rows in np.split(np.arange(len(runs.run)), runs.starts[1:]):
        seen = runs.present[:, rows]
        for target in np.flatnonzero(seen.any(axis=1) & ~seen.all(axis=1)):
            there = rows[seen[target]]
            out[target, rows] = np.interp(log_step[rows], log_step[there], y[target, there])
    return out
