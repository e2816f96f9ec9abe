"""Computes the information of curve segments about the law's parameters and the discrepancy GP.

The posterior uses the results.
"""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.model import jacobian
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.discrepancy import Process, Scatter, Shape, Spectrum, spectrum
from bimix_sweep.law.model.observations import Index, Runs
from bimix_sweep.law.model.priors import Prior, free_columns
from bimix_sweep.law.model.segments import CurveSegments
from bimix_sweep.mixture.simplex import Array

SETTLE_MOVE = 1.0
"""Largest change of a parameter in one step of `refine`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Targets that were measured in the same segments and share an eigenbasis."""

    targets: tuple[int, ...]
    """Indices of the targets."""
    looks: Index
    """Indices of the segments measured."""
    spectrum: Spectrum
    """Eigenbasis of kernel and noise."""
    weights: dict[int, Array]
    """{target: (segments,)} diagonal of V^-1 in the basis."""
    rotated: dict[int, Array]
    """{target: (segments, parameters)} B' J."""
    covariance: dict[int, Array]
    """{target: (parameters, parameters)} covariance of the law's parameters given all segments."""


def make_groups(
    params: Array,
    precision: Array,
    looks: CurveSegments,
    design: tl.Design,
    *,
    point2: Array,
    look2: Array,
    offset2: Array,
    amplitude2: Array,
    shape: Shape,
    known: list[Group] | None = None,
    information: tuple[Array, Array, Array] | None = None,
) -> list[Group]:
    """Computes everything about the posterior that does not depend on where predictions are made.

    Args:
        params, precision: (targets, parameters) parameters and the diagonal of the prior precision.
        looks, design: segments of the trials, and the design of the trials.
        point2, look2, offset2, amplitude2: (targets,) variances of point noise, segment noise,
            trial offset and discrepancy GP.
        shape: correlation parameters of the GP.
        known: groups of other parameters under the same variances, whose eigenbases are used again.
        information: result of `look_information` for these parameters; None computes it.
    """
    if information is None:
        columns = free_columns(precision**-0.5)
        law = tl.evaluate(params, design, columns).regrouped(looks.training)
        information = look_information(law, looks.runs, columns, params.shape[1], point2)
    mean, within, counts = information
    groups = []
    for number, (targets, rows) in enumerate(patterns(counts)):
        if known is None:
            scatter = scatter_of(
                point2[targets],
                look2[targets],
                offset2[targets],
                counts[targets][:, rows],
                looks.training[rows],
            )
            basis = spectrum(looks.places(design).of(rows), shape, scatter)
        else:
            basis = known[number].spectrum
        weights = 1 / (amplitude2[targets, None] * basis.values + offset2[targets, None])
        rotated = np.matmul(basis.basis.T, mean[targets][:, rows])
        total = within[targets] + np.matmul(
            (rotated * weights[:, :, None]).transpose(0, 2, 1), rotated
        )
        diagonal = np.arange(params.shape[1])
        total[:, diagonal, diagonal] += precision[targets]
        names = tuple(map(int, targets))
        groups.append(
            Group(
                targets=names,
                looks=rows,
                spectrum=basis,
                weights=dict(zip(names, weights, strict=True)),
                rotated=dict(zip(names, rotated, strict=True)),
                covariance=dict(zip(names, np.linalg.inv(total), strict=True)),
            )
        )
    return groups


def patterns(counts: Array) -> list[tuple[Index, Index]]:
    """Groups targets that were measured in the same segments.

    Args:
        counts: (targets, segments) numbers of points.

    Returns:
        [(targets, segments)] indices.
    """
    if (counts > 0).all():
        return [(np.arange(len(counts)), np.arange(counts.shape[1]))]
    different, member = np.unique(counts > 0, axis=0, return_inverse=True)
    return [
        (np.flatnonzero(member.reshape(-1) == number), np.flatnonzero(pattern))
        for number, pattern in enumerate(different)
    ]


def scatter_of(
    point2: Array, look2: Array, offset2: Array, counts: Array, training: Index
) -> Scatter:
    """Computes the noise covariance of some segments over the offset's variance.

    The noise is averaged over the targets, which were measured in the same segments.

    Args:
        point2, look2, offset2: (targets,) variances of point noise, segment noise and trial offset.
        counts: (targets, segments) numbers of points.
        training: (segments,) trial of each segment, rising.
    """
    alone = point2[:, None] / np.maximum(counts, 1) + look2[:, None]
    return Scatter.of(training, (alone / offset2[:, None]).mean(axis=0))


def look_information(
    law: tl.Evaluation, looks: Runs, columns: tuple[int, ...], parameters: int, point2: Array
) -> tuple[Array, Array, Array]:
    """Computes the information of segments about the law's parameters.

    One part comes from the means of the segments, the other from the shape of the curves within
    segments.

    Args:
        law: the law at the rows of the segments, differentiated by `columns`.
        columns: free outer columns; segments have no information about the others.
        parameters: number of parameters.
        point2: (targets,) variances of point noise.

    Returns:
        (targets, segments, parameters) mean Jacobian of each segment, (targets, parameters,
        parameters) information of the points about the mean of their segment, (targets, segments)
        number of points.
    """
    weight = looks.present.astype(np.float64)
    counts = looks.sums(weight)
    mean = jacobian.means(law, looks, columns, parameters, weight)
    if len(looks.run) == len(looks.proportions):
        return mean, np.zeros((len(mean), parameters, parameters)), counts
    within = jacobian.information(
        law, looks, columns, parameters, weight, 1 / np.maximum(counts, 1)
    )
    return mean, within / point2[:, None, None], counts


def refine(
    params: Array,
    prior: Prior,
    looks: CurveSegments,
    design: tl.Design,
    y: Array,
    weight: Array,
    *,
    point2: Array,
    process: Process,
    law: tl.Evaluation,
    information: tuple[Array, Array, Array],
    steps: int = 2,
) -> tuple[Array, Array]:
    """Refines the parameters under the covariance of the discrepancy GP.

    The steps are Gauss-Newton steps to the posterior mode.

    The fit before took all errors of the law as independent offsets. Where the GP explains a part
    of them, the parameters need not explain it (docs/evidence.md).

    Args:
        params: (targets, parameters) from the fit with independent offsets.
        looks, design: segments of the trials, and the design of the trials.
        y, weight: (targets, rows) log losses, and 1 where they count, else 0.
        law: the law at these parameters and segments, differentiated by the prior's columns.
        information: result of `look_information` at these parameters.
        steps: number of steps; a step that does not lower the cost is not taken.

    Returns:
        the parameters, and (targets, segments) mean residual of each segment at them.
    """
    runs = looks.runs
    counts = runs.sums(weight)
    moving = process.amplitude2 > 0
    best, best_cost, best_means = params, np.full(len(params), np.inf), np.zeros_like(counts)
    trial, groups = params, None
    for number in range(steps + 1):
        last = number == steps  # the last round computes the cost only
        if number:
            law = tl.evaluate(trial, design, () if last else prior.columns).regrouped(
                looks.training
            )
        residual = (y - law.log_loss) * weight
        means = runs.sums(residual) / np.maximum(counts, 1)
        if not moving.any():
            return params, means
        centred = (residual - means[:, runs.run]) * weight
        move = (trial - prior.mean) / prior.sd
        cost = 0.5 * ((centred**2).sum(axis=1) / point2 + (move**2).sum(axis=1))
        if not last:
            from_shape = (
                jacobian.transposed(law, runs, prior.columns, params.shape[1], centred)
                / point2[:, None]
            )
            if groups is not None:
                information = look_information(law, runs, prior.columns, params.shape[1], point2)
            groups = make_groups(
                trial,
                prior.sd**-2,
                looks,
                design,
                known=groups,
                information=information,
                point2=point2,
                look2=process.look2,
                offset2=process.offset2,
                amplitude2=process.amplitude2,
                shape=process.shape,
            )
        change = np.zeros_like(params)
        for group in groups or ():
            for t in group.targets:
                rotated = group.spectrum.basis.T @ means[t, group.looks]
                cost[t] += 0.5 * (group.weights[t] * rotated**2).sum()
                if not last:
                    pull = (
                        group.rotated[t].T @ (group.weights[t] * rotated)
                        + from_shape[t]
                        - move[t] / prior.sd[t]
                    )
                    change[t] = group.covariance[t] @ pull
        better = (cost < best_cost) & (moving | (number == 0))
        best_means = np.where(better[:, None], means, best_means)
        best, best_cost = np.where(better[:, None], trial, best), np.where(better, cost, best_cost)
        if not last:
            trial = best + (better & moving)[:, None] * np.clip(change, -SETTLE_MOVE, SETTLE_MOVE)
    return best, best_means
