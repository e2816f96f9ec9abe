"""A training's curve as a few looks: each has a mean residual of its own, for the process that carries what the law misses; dense curves are read as their means.

What a law misses of a mixture drifts as training goes on: its mean over a whole curve says less of the last step than the curve's
end does. A look is the part of a curve within a factor of LOOK in steps, counted from the last step of all trainings.

On 80 proxies of this project (5 domains, 400 steps, points from step 100) the error of mixtures left out falls from .97 to .89 % with 64 trainings fitted, from
1.09 to 1.03 % with 30; on published curves, each size alone, from .543 to .516 %. Looks of a factor of 2: .98 and 1.08 %, of 1.2 as of 1.41.

Looks of a training share its offset, have noise of their points, and noise of their own, for curves wander; how much of what they differ by is that,
and how much the process losing its memory over steps, the evidence says.

The least-squares fit takes the points of a training, given its offset, for independent. Of hundreds of points that is far from so: neighbours wander
together, and the fit bends mixture and step parameters after them. So dense curves are fitted by the means of their looks (`condensed`), whose
noise is measured as it is. On 3 x 24 planted tables (5 domains, 4 targets, 16 to 24 mixtures, 300 points a curve, offset .4 %, wandering .4 % with
a correlation length of 5, 10 and 20 % of the steps) the error of unseen mixtures at the last step falls from .61, 1.18 and 1.71 to .25, .27 and
.29 %, at twice the steps from .63, 1.22 and 1.73 to .27, .29 and .31 %; what all mixtures miss together from there to here was 2.2 to 3.2 stated standard
deviations and is .7. Two means a look: the same errors, but 1.4 where one gives 1.1 with 64 mixtures. With white noise alone the errors stay
(.24 % before and after).
"""

from dataclasses import dataclass, replace

import numpy as np

from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.discrepancy import Places
from bimix_sweep.law.model.observations import Index, Runs, stages_of
from bimix_sweep.mixture.simplex import Array

LOOK = 1.41
"""Factor in steps that a look spans."""
MOST_LOOKS = 256
"""Looks of all trainings together; where there would be more, each spans more. What a fit costs grows with their cube."""
MOST_POINTS = 8
"""Points of a training in one look up to which they are fitted one by one: 27 evenly spaced ones in all. Planted curves of 12 to 28 such points
that wander (20 % of the steps) are predicted alike either way; of 40, .40 instead of .44 % at 8 times the steps, of 60, .41 instead of .51 %."""
FALL = 0.5
"""A law falls about as this power of the steps, so that its mean over a look is what it is at the power mean of the steps there: planted curves
without noise are met to .003 % at the last step, .011 % where the mean of log steps is taken."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The points of some trainings, regrouped."""

    runs: Runs
    """As if each look were a training."""
    training: Index
    """(looks,) training that it belongs to, rising."""

    def places(self, design: tl.Design) -> Places:
        """Where they are for the process; `design` is that of the trainings."""
        rows = np.bincount(self.runs.run)
        log_step = np.bincount(self.runs.run, design.log_step[self.runs.stage]) / rows
        return Places(
            proportions=self.runs.proportions,
            log_size=design.mixture_log_size[self.training],
            log_step=log_step,
        )


def looks_of(runs: Runs) -> Looks:
    """The looks of some trainings."""
    back = _back(runs)
    every = np.arange(len(runs.proportions))
    while True:
        starts = _starts(runs, back)
        if len(starts) == len(every):
            return Looks(runs=runs, training=every)
        if len(starts) <= MOST_LOOKS:
            break
        back = back / 2
    training = runs.run[starts]
    look = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(runs.run))))
    return Looks(
        runs=replace(runs, proportions=runs.proportions[training], run=look), training=training
    )


def condensed(runs: Runs, y: Array) -> tuple[Runs, Array, tuple[str, ...]]:
    """The trainings as they are, or, where one has more than MOST_POINTS points in a look, every look as one mean.

    Where a target was not measured at all points its curve is drawn straight between those where it was, level before the first and after the last.

    Args:
        y: (targets, rows) log losses.

    Returns:
        the runs, whose stages keep the first and the last step, their (targets, rows) log losses, and notes on what was done.
    """
    starts = _starts(runs, _back(runs))
    points = np.diff(np.append(starts, len(runs.run)))
    if points.max() <= MOST_POINTS:
        return runs, y, ()
    present = np.logical_or.reduceat(runs.present, starts, axis=1)
    means = np.where(present, np.add.reduceat(_drawn(runs, y), starts, axis=1) / points, 0.0)
    mean = (np.add.reduceat(runs.steps[runs.stage] ** -FALL, starts) / points) ** (-1 / FALL)
    at = np.where(
        points == 1, runs.steps[runs.stage[starts]], mean
    )  # a power and its root are not the step again
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
    note = f"curves of up to {most[0]} points were read as up to {most[1]} means, one for each factor of {LOOK} in steps: neighbouring points wander together"
    return few, means, (note,)


def _back(runs: Runs) -> Array:
    """(rows,) looks from the last step of all trainings back to each."""
    return np.asarray(np.log(runs.steps.max() / runs.steps[runs.stage]) / np.log(LOOK))


def _starts(runs: Runs, back: Array) -> Index:
    """(looks,) first row of each."""
    part = np.maximum(np.ceil(back - 1e-9) - 1, 0).astype(np.int64)
    key = runs.run * (part.max() + 1) - part  # rows of a training rise in steps
    return np.flatnonzero(np.diff(key, prepend=-1 - part.max()))


def _drawn(runs: Runs, y: Array) -> Array:
    """(targets, rows) log losses, those not measured interpolated in log steps within their training."""
    out, log_step = y.copy(), np.log(runs.steps[runs.stage])
    for rows in np.split(np.arange(len(runs.run)), runs.starts[1:]):
        seen = runs.present[:, rows]
        for target in np.flatnonzero(seen.any(axis=1) & ~seen.all(axis=1)):
            there = rows[seen[target]]
            out[target, rows] = np.interp(log_step[rows], log_step[there], y[target, there])
    return out
