"""Divides loss curves into segments of equal width in log steps and bins dense curves.

A curve segment is the part of a trial's curve within a factor of SEGMENT_WIDTH in
steps, counted back from the end of the curves. The end itself, within a factor of END_WIDTH of the
last step of all trials, is a segment of its own: decisions are about it, and where the learning
rate decays, the order of mixtures still changes there. The error of the parametric law for a
mixture drifts along the curve. The mean error of a whole curve says less about the last step than
the end of the curve does. So each segment has its own mean residual, and the discrepancy GP is
fitted to these.

The segments of a trial share the offset of the trial. Each segment also has the noise of its points
and a noise of its own, because neighbouring points of a curve wander together. Two causes make
segments of one trial differ: this noise, and a discrepancy whose correlation falls over steps. The
marginal likelihood decides how much each cause contributes.

The least-squares fit takes the points of a trial as independent, given its offset. Hundreds of
points are far from independent, and the fit would bend mixture and step parameters to follow their
common wandering. So dense curves are fitted by the means of their segments (`binned`), and the
noise of these means is estimated from the data.

Measurements: docs/evidence.md.
"""

from dataclasses import dataclass, replace

import numpy as np

from bimix_sweep.law.model.discrepancy import GPInputs
from bimix_sweep.law.model.law_inputs import LawInputs
from bimix_sweep.law.model.observations import Index, Trials, stages_of
from bimix_sweep.mixture.simplex import Array

SEGMENT_WIDTH = 1.41
"""Factor in steps that one curve segment spans (docs/evidence.md)."""
END_WIDTH = 1.053
"""Factor in steps that the last segment spans (docs/evidence.md)."""
MAX_SEGMENTS = 256
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

    as_trials: Trials
    """`Trials` in which each segment stands as one trial."""
    trial: Index
    """(segments,) trial to which each segment belongs, rising."""

    def gp_inputs(self, inputs: LawInputs) -> GPInputs:
        """Returns the inputs of the discrepancy GP for each segment.

        Args:
            inputs: inputs of the law for the trials.
        """
        rows = np.bincount(self.as_trials.trial)
        log_step = np.bincount(self.as_trials.trial, inputs.log_step[self.as_trials.stage]) / rows
        return GPInputs(
            proportions=self.as_trials.proportions,
            log_size=inputs.mixture_log_size[self.trial],
            log_step=log_step,
            beyond=np.zeros(len(log_step)),
        )


def curve_segments(trials: Trials) -> CurveSegments:
    """Divides the curves of some trials into segments."""
    from_end = _segments_from_end(trials)
    every = np.arange(len(trials.proportions))
    while True:
        starts = _starts(trials, from_end)
        if len(starts) == len(every):
            return CurveSegments(as_trials=trials, trial=every)
        if len(starts) <= MAX_SEGMENTS:
            break
        from_end = from_end / 2
    trial = trials.trial[starts]
    segment = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(trials.trial))))
    as_trials = replace(trials, proportions=trials.proportions[trial], trial=segment)
    return CurveSegments(as_trials=as_trials, trial=trial)


def binned(trials: Trials, y: Array) -> tuple[Trials, Array, tuple[str, ...]]:
    """Bins dense curves: replaces the points of each segment by their mean.

    The trials stay as they are where no trial has more than MAX_POINTS points in a segment. A
    target that was not measured at all points of a curve is interpolated in log steps, and is
    constant before its first and after its last point.

    Args:
        y: (targets, rows) log losses.

    Returns:
        the trials, whose stages keep the first and the last step, their (targets, rows) log losses,
        and notes on what was done.
    """
    starts = _starts(trials, _segments_from_end(trials))
    points = np.diff(np.append(starts, len(trials.trial)))
    if points.max() <= MAX_POINTS:
        return trials, y, ()
    present = np.logical_or.reduceat(trials.present, starts, axis=1)
    means = np.where(
        present, np.add.reduceat(_interpolated(trials, y), starts, axis=1) / points, 0.0
    )
    mean = (np.add.reduceat(trials.steps[trials.stage] ** -FALL, starts) / points) ** (-1 / FALL)
    # A single point keeps its step: rounding changes a step raised to a power and back.
    at = np.where(points == 1, trials.steps[trials.stage[starts]], mean)
    ends = [trials.steps.argmin(), trials.steps.argmax()]
    steps, sizes, stage = stages_of(
        np.append(at, trials.steps[ends]),
        np.append(trials.sizes[trials.stage[starts]], trials.sizes[ends]),
    )
    few = Trials(
        proportions=trials.proportions,
        steps=steps,
        sizes=sizes,
        trial=trials.trial[starts],
        stage=stage[: len(at)],
        present=present,
        epochs=None if trials.epochs is None else _means_of_passes(trials, starts, points, at),
    )
    most = [np.bincount(each.trial).max() for each in (trials, few)]
    note = (
        f"curves of up to {most[0]} points were read as up to {most[1]} means, "
        f"one for each factor of {SEGMENT_WIDTH} in steps: neighbouring points wander together"
    )
    return few, means, (note,)


def _means_of_passes(trials: Trials, starts: Index, points: Index, at: Array) -> Array:
    """(segments, domains) passes at the step of each segment's mean; passes grow with the steps.

    Args:
        starts: first row of each segment.
        points: number of rows of each segment.
        at: step of each segment's mean.
    """
    assert trials.epochs is not None  # noqa: S101
    steps = np.add.reduceat(trials.steps[trials.stage], starts) / points
    mean = np.add.reduceat(trials.epochs, starts, axis=0) / points[:, None]
    return np.asarray(mean * (at / steps)[:, None])


def _segments_from_end(trials: Trials) -> Array:
    """(rows,) number of segments, not rounded, from each row to the last step of all trials."""
    return np.asarray(
        np.log(trials.steps.max() / trials.steps[trials.stage]) / np.log(SEGMENT_WIDTH)
    )


def _starts(trials: Trials, from_end: Array) -> Index:
    """(segments,) first row of each segment."""
    end = np.log(END_WIDTH) / np.log(SEGMENT_WIDTH) + 1e-9
    part = np.where(from_end <= end, 0, np.ceil(from_end - 1e-9)).astype(np.int64)
    key = trials.trial * (part.max() + 1) - part  # steps rise in the rows of a trial
    return np.flatnonzero(np.diff(key, prepend=-1 - part.max()))


def _interpolated(trials: Trials, y: Array) -> Array:
    """(targets, rows) log losses; missing ones are interpolated in log steps within their trial."""
    out, log_step = y.copy(), np.log(trials.steps[trials.stage])
    for rows in np.split(np.arange(len(trials.trial)), trials.starts[1:]):
        measured = trials.present[:, rows]
        for target in np.flatnonzero(measured.any(axis=1) & ~measured.all(axis=1)):
            known = rows[measured[target]]
            out[target, rows] = np.interp(log_step[rows], log_step[known], y[target, known])
    return out
