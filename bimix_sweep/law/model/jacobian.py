"""Computes products with the law's Jacobian J without forming J.

A row's derivative by the mixture columns (curvature, floor, log t) is (d log L / d log v) x (d log
v / d column). The second factor is the same for all rows of a trial. So J'x needs sums within
trials, then products of size (trials x domains). Where trials repeat domains the second factor differs
between the rows of a trial, and these columns are multiplied out row by row.
"""

import numpy as np

from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.observations import Trials
from bimix_sweep.mixture.simplex import Array


def mixture_columns(parameters: int) -> list[int]:
    """Columns that act through log v, in the order of `Evaluation.mixture_jacobian`."""
    return [*col.MIXTURE_COLUMNS, *range(col.NUM_SHARED, parameters)]


def transposed(
    law: tl.Evaluation, trials: Trials, columns: tuple[int, ...], parameters: int, vector: Array
) -> Array:
    """Computes J'x, (problems, parameters), for x of (problems, rows).

    `columns` are the outer columns by which `law` was differentiated.
    """
    out = np.zeros((len(vector), parameters))
    out[:, list(columns)] = np.matmul(law.outer_jacobian, vector[:, :, None])[:, :, 0]
    through = law.by_log_v * vector
    out[:, mixture_columns(parameters)] = np.matmul(
        (through if law.by_row else trials.sums(through))[:, None, :], law.mixture_jacobian
    )[:, 0]
    return out


def means(
    law: tl.Evaluation, trials: Trials, columns: tuple[int, ...], parameters: int, weight: Array
) -> Array:
    """(problems, trials, parameters) mean of J over the rows of each trial that have weight 1."""
    counts = np.maximum(trials.sums(weight), 1)
    out = np.zeros((*counts.shape, parameters))
    out[:, :, list(columns)] = (
        trials.sums(law.outer_jacobian * weight[:, None]) / counts[:, None]
    ).transpose(0, 2, 1)
    if law.by_row:
        sums = trials.sums(_by_row(law, weight))
        out[:, :, mixture_columns(parameters)] = (sums / counts[:, None]).transpose(0, 2, 1)
        return out
    out[:, :, mixture_columns(parameters)] = (trials.sums(law.by_log_v * weight) / counts)[
        :, :, None
    ] * law.mixture_jacobian
    return out


def information(
    law: tl.Evaluation,
    trials: Trials,
    columns: tuple[int, ...],
    parameters: int,
    weight: Array,
    shrink: Array,
) -> Array:
    """Computes J' (I - diag-block(shrink 11')) J, (problems, parameters, parameters).

    The rows of a trial share an offset, which the term with `shrink` accounts for.

    Args:
        weight: (problems, rows) 0 or 1.
        shrink: (problems, trials); 1 / (number of rows) removes the offset completely.
    """
    first, second = (np.array(columns, dtype=np.int64), np.array(mixture_columns(parameters)))
    out = np.zeros((len(weight), parameters, parameters))
    outer = law.outer_jacobian * weight[:, None]
    if law.by_row:
        every = np.concatenate([outer, _by_row(law, weight)], axis=1)
        sums = trials.sums(every)
        columns_of_all = np.concatenate([first, second])
        out[:, columns_of_all[:, None], columns_of_all] = np.matmul(
            every, every.transpose(0, 2, 1)
        ) - np.matmul(sums * shrink[:, None], sums.transpose(0, 2, 1))
        return out
    through = law.by_log_v * weight
    outer_sums, through_sums = trials.sums(outer), trials.sums(through)
    g = law.mixture_jacobian
    shrunk = outer_sums * shrink[:, None]
    outer_block = np.matmul(outer, outer.transpose(0, 2, 1)) - np.matmul(
        shrunk, outer_sums.transpose(0, 2, 1)
    )
    mixed_block = np.matmul(
        trials.sums(outer * through[:, None]) - shrunk * through_sums[:, None], g
    )
    left = np.maximum(trials.sums(through**2) - shrink * through_sums**2, 0.0)
    out[:, first[:, None], first] = outer_block
    out[:, first[:, None], second] = mixed_block
    out[:, second[:, None], first] = mixed_block.transpose(0, 2, 1)
    out[:, second[:, None], second] = np.matmul((g * left[:, :, None]).transpose(0, 2, 1), g)
    return out


def _by_row(law: tl.Evaluation, weight: Array) -> Array:
    """(problems, mixture columns, rows) columns of J that act through log v, times the weight."""
    return (law.mixture_jacobian * (law.by_log_v * weight)[:, :, None]).transpose(0, 2, 1)
