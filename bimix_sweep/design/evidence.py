"""Evidence of a law: the loss curves of trials, the points of them that count, and the fit."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.trial import TrialRecord
from bimix_sweep.errors import LawError
from bimix_sweep.law.fitting.fit_law import FittedLaw, fit_law
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.mixture.curves import LossCurve
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng


def loss_curve(spec: SweepSpec, record: TrialRecord) -> LossCurve:
    """Returns the loss curve of a trial that has at least one point, in the order of the steps."""
    steps = sorted(record.points)
    names = record.mixture.names
    whole = np.array([record.epochs.get(name, 0.0) for name in names])
    return LossCurve(
        trial=record.trial,
        mixture=record.mixture,
        targets=spec.targets,
        steps=np.array(steps, dtype=np.float64),
        losses=np.array(
            [[record.points[step][target] for target in spec.targets] for step in steps]
        ),
        size=record.size,
        seed=record.seed,
        goals=spec.goals,
        epochs=np.outer(steps, whole) / record.steps if record.epochs else None,
    )


def points_to_fit(spec: SweepSpec, records: Iterable[TrialRecord]) -> LossTable:
    """Returns the points of trials that a law is fitted to: those from `SweepSpec.first_step` on.

    Raises:
        TableError: there are no such points.
    """
    late = (
        replace(r, points={s: p for s, p in r.points.items() if s >= spec.first_step(r.steps)})
        for r in records
    )
    return LossTable.from_curves(loss_curve(spec, record) for record in late if record.points)


def fit_evidence(
    spec: SweepSpec,
    purpose: str,
    evidence: Sequence[TrialRecord],
    num_points: int,
    previous: WarmStart | None,
) -> FittedLaw | None:
    """Fits the law to some trials; None where the trials determine no law.

    The fit starts from the previous one. Whenever the number of trials has grown by a fifth, the
    fit starts cold and chooses everything again.

    Args:
        spec: specification of the sweep.
        purpose: purpose of the random generator, whose key is `num_points`.
        evidence: trials to fit to.
        num_points: number of points recorded when `evidence` was as given.
        previous: warm-start state of an earlier fit; None: start cold.
    """
    usable = {
        record.mixture
        for record in evidence
        if any(step >= spec.first_step(record.steps) for step in record.points)
    }
    if len(usable) < 2:
        return None
    return fit_points(
        spec, purpose, points_to_fit(spec, evidence), len(evidence), num_points, previous
    )


def fit_points(
    spec: SweepSpec,
    purpose: str,
    points: LossTable,
    num_trials: int,
    num_points: int,
    previous: WarmStart | None,
) -> FittedLaw | None:
    """Fits the law to the points of `num_trials` trials. The other arguments and the result are
    those of `fit_evidence`."""
    if previous is not None:
        octave = [
            math.floor(math.log(max(count, 1)) / math.log(1.2))
            for count in (previous.num_trials, num_trials)
        ]
        previous = previous if octave[0] == octave[1] else None
    try:
        return fit_law(
            points, own=spec.own, previous=previous, generator=rng(spec.seed, purpose, num_points)
        )
    except LawError:
        return None
