"""What a set of trainings says of the law's parameters and of the process, in the form the posterior needs."""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law import transfer as tl
from bimix_sweep.law.residual import Spectrum, spectrum
from bimix_sweep.law.runs import Index, Runs
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Targets measured in the same trainings share an eigenbasis."""

    targets: tuple[int, ...]
    runs: Index
    """Indices of the trainings measured."""
    spectrum: Spectrum
    weights: dict[int, Array]
    """{target: (runs,)} diagonal of V^-1 in the basis."""
    rotated: dict[int, Array]
    """{target: (runs, parameters)} B' J."""
    covariance: dict[int, Array]
    """{target: (parameters, parameters)} of the law's parameters given all runs."""


def make_groups(
    params: Array, precision: Array, runs: Runs, design: tl.Design, *, point2: Array, offset2: Array, amplitude2: Array, length: float
) -> list[Group]:
    """Everything about the posterior that does not depend on where it is asked for.

    Args:
        params, precision: (targets, parameters) and its diagonal prior precision.
        point2, offset2, amplitude2: (targets,) variances of point noise, trial offset and process.
        length: of the process's kernel.
    """
    jacobian, within, counts = run_information(params, runs, design, point2)
    groups = []
    for targets, rows in patterns(counts):
        relative = relative_noise(point2[targets], offset2[targets], counts[targets][:, rows])
        basis = spectrum(runs.proportions[rows], length, relative)
        weights, rotated, covariance = {}, {}, {}
        for t in map(int, targets):
            weights[t] = 1 / (amplitude2[t] * basis.values + offset2[t])
            rotated[t] = basis.basis.T @ jacobian[t, rows]
            total = np.diag(precision[t]) + within[t] + (rotated[t].T * weights[t]) @ rotated[t]
            covariance[t] = np.linalg.inv(total)
        groups.append(
            Group(targets=tuple(map(int, targets)), runs=rows, spectrum=basis, weights=weights, rotated=rotated, covariance=covariance)
        )
    return groups


def patterns(counts: Array) -> list[tuple[Index, Index]]:
    """Targets that were measured in the same trainings: [(targets, trainings)], from (targets, runs) numbers of points."""
    different, member = np.unique(counts > 0, axis=0, return_inverse=True)
    return [(np.flatnonzero(member.reshape(-1) == number), np.flatnonzero(pattern)) for number, pattern in enumerate(different)]


def relative_noise(point2: Array, offset2: Array, counts: Array) -> Array:
    """(runs,) noise of a training's mean residual over its offset variance, averaged over (targets,) that share the runs (targets, runs)."""
    ratio = point2 / offset2
    return np.asarray(1 + (ratio[:, None] / np.maximum(counts, 1)).mean(axis=0))


def run_information(params: Array, runs: Runs, design: tl.Design, point2: Array) -> tuple[Array, Array, Array]:
    """What the trainings say of the parameters, split into their means and the shape of their curves.

    Returns:
        (targets, runs, parameters) mean Jacobian of each training, (targets, parameters, parameters) information of the points about
        their training's mean, (targets, runs) number of points.
    """
    law = tl.evaluate(params, design, tl.OUTER_COLUMNS)
    present = runs.present.astype(np.float64)
    counts = runs.sums(present)
    jacobian = np.empty((len(params), len(runs.proportions), params.shape[1]))
    within = np.zeros((len(params), params.shape[1], params.shape[1]))
    single = len(runs.run) == len(runs.proportions)
    for target in range(len(params)):
        one = tl.Evaluation(
            log_loss=law.log_loss[target : target + 1], by_log_v=law.by_log_v[target : target + 1], log_v=law.log_v[target : target + 1],
            mixture_jacobian=law.mixture_jacobian[target : target + 1], outer_jacobian=law.outer_jacobian[target : target + 1],
        )  # fmt: skip
        full = one.jacobian(design, tl.OUTER_COLUMNS)[0] * present[target][:, None]
        if single:
            jacobian[target] = full
            continue
        means = np.add.reduceat(full, runs.starts, axis=0) / np.maximum(counts[target], 1)[:, None]
        jacobian[target] = means
        centred = full - means[runs.run] * present[target][:, None]
        within[target] = centred.T @ centred / point2[target]
    return jacobian, within, counts
