"""Defines the transfer law: every target's loss depends on every domain.

    log L_k(r, s, N) = c_k + log(f_k + (1 - f_k) v_k(r)**-a)
                           + log(1 + B_k (s/s0)**-b + D_k (s/s0)**-h_k + E_k (N/N0)**-n_k)
    v_k(r) = e_k + sum_j t_kj (N/N0)**d_kj r_j**g_k
    a = a_k (N/N0)**kN_k (s/s0)**ks_k    b = b_k exp(c_k log(N/N0))
    t, e > 0,  0 < g <= 1,  0 <= f < 1

BiMix is the special case in which only the own domain helps. v is concave in r (g <= 1), and v**-a
is convex and falling in v (a > 0), so every target's loss is convex in r at every step and size. c
carries the scale, so log t measures how much more one domain helps than another, and d measures how
this help changes with size. The c_k in the exponent b is another parameter (column STEP_SIZE).

The term with D is the transient of the first steps, in which the learning rate warms up and the loss
falls faster than a power law of later steps says. h is about 2, so the term vanishes at later
steps. Without it the first points of a curve drag B and b, and predictions at later steps and larger
sizes are wrong by several percent (docs/evidence.md).

Sources: BiMix, arXiv:2405.14908 (t_kj = 0 for j != k, e = f = 0, g = 1: L = A r**-a (B s**-b + C)
with one scale redundant). The size terms follow Kaplan-type laws, arXiv:2001.08361.
"""

from dataclasses import dataclass, replace

import numpy as np

from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model.law_inputs import LawInputs, log_proportions
from bimix_sweep.law.model.observations import Index
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Values of the law at some rows, and the derivatives that were requested."""

    log_loss: Array
    """(problems, rows)."""
    by_log_v: Array
    """(problems, rows) d log L / d log v."""
    log_v: Array
    """(problems, mixtures) log v, less the pivot."""
    mixture_jacobian: Array
    """(problems, mixtures, 2 + domains or 2 + 2 domains) d log v by col.CURVATURE, col.FLOOR, log t, d."""
    outer_jacobian: Array
    """(problems, len(columns), rows) d log L by the requested outer columns."""
    by_row: bool = False
    """Whether each row has a mixture of its own; see `LawInputs.by_row`."""

    def of(self, problems: Index) -> "Evaluation":
        """Returns the evaluation of some of the problems."""
        return Evaluation(
            log_loss=self.log_loss[problems],
            by_log_v=self.by_log_v[problems],
            log_v=self.log_v[problems],
            mixture_jacobian=self.mixture_jacobian[problems],
            outer_jacobian=self.outer_jacobian[problems],
            by_row=self.by_row,
        )

    def regrouped(self, mixture: Index) -> "Evaluation":
        """Returns the evaluation with mixtures in the given order, for rows grouped otherwise."""
        if self.by_row:
            return self
        return replace(
            self, log_v=self.log_v[:, mixture], mixture_jacobian=self.mixture_jacobian[:, mixture]
        )

    def jacobian(self, inputs: LawInputs, columns: tuple[int, ...]) -> Array:
        """(problems, rows, parameters) d log L / d parameters."""
        problems, rows = self.log_loss.shape
        out = np.zeros(
            (
                problems,
                rows,
                col.NUM_SHARED - len(col.MIXTURE_COLUMNS) + self.mixture_jacobian.shape[2],
            )
        )
        through_v = self.by_log_v[:, :, None] * self.mixture_jacobian[:, inputs.mixture]
        out[:, :, list(col.MIXTURE_COLUMNS)] = through_v[:, :, :2]
        out[:, :, col.NUM_SHARED :] = through_v[:, :, 2:]
        out[:, :, list(columns)] = self.outer_jacobian.transpose(0, 2, 1)
        return out


def effective_proportion(
    params: Array, log_r: Array, log_size: Array
) -> tuple[Array, Array, Array]:
    """Computes v, log v and the terms t_j (N/N0)**d_j r_j**g.

    Args:
        params: (problems, col.NUM_SHARED + domains or col.NUM_SHARED + 2 domains); without the d columns, d
            is 0.
        log_r: (mixtures, domains) from `log_proportions`.
        log_size: (mixtures,) log(N / N0).

    Returns:
        v and log v - pivot (problems, mixtures), terms (problems, mixtures, domains).
    """
    curvature = logistic(params[:, col.CURVATURE])
    log_t = log_transfer_weights(params, log_r.shape[1], log_size)
    terms = np.exp(curvature[:, None, None] * log_r[None] + log_t)
    v = terms.sum(axis=2) + np.exp(params[:, col.FLOOR])[:, None]
    return v, np.log(v) - params[:, col.PIVOT, None], terms


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTerms:
    """Parts of the law that depend on step and size alone, (problems, stages) each."""

    power: Array
    """Exponent b of the step."""
    size_power: Array
    """Exponent n of the size, (problems, 1)."""
    factor: Array
    """1 + B (s/s0)**-b + D (s/s0)**-h + E (N/N0)**-n."""
    step_fraction: Array
    """Proportion of the step term in `factor`."""
    transient_power: Array
    """Exponent h of the step in the transient, (problems, 1)."""
    transient_fraction: Array
    """Proportion of the transient in `factor`."""
    size_fraction: Array
    """Proportion of the size term in `factor`."""
    slope: Array
    """Exponent a of v."""


def evaluate(
    params: Array,
    inputs: LawInputs,
    columns: tuple[int, ...] = col.OUTER_COLUMNS,
    *,
    smallest_log_v: Array | None = None,
) -> Evaluation:
    """Computes the law and its Jacobian at the rows of the inputs.

    Args:
        params: (problems, col.NUM_SHARED + domains or col.NUM_SHARED + 2 domains).
        columns: outer columns of the Jacobian; the caller holds the other columns fixed.
        smallest_log_v: (problems,) lower bound on log v; None sets no bound.
    """
    log_r = inputs.log_proportions
    mixture_log_size = inputs.mixture_log_size
    v, log_v, terms = effective_proportion(params, log_r, mixture_log_size)
    if smallest_log_v is not None:
        log_v = np.maximum(log_v, smallest_log_v[:, None])
    mixture_jacobian = _mixture_jacobian(params, log_r, mixture_log_size, v, terms)
    stages = stage_terms(params, inputs)
    row_slope = np.take(stages.slope, inputs.stage, axis=1)
    row_log_v = np.take(log_v, inputs.mixture, axis=1)
    flat = logistic(params[:, col.FLAT])[:, None]
    log_loss = params[:, col.LEVEL, None] + np.take(np.log(stages.factor), inputs.stage, axis=1)
    by_flat: Array | float = 0.0
    if (params[:, col.FLAT] <= col.OFF).all():
        by_log_v = -row_slope
        log_loss += by_log_v * row_log_v
    else:
        falling = (1 - flat) * np.exp(np.minimum(-row_slope * row_log_v, 50))
        level = flat + falling
        by_log_v = -row_slope * falling / level
        log_loss += np.log(level)
        by_flat = flat * (1 - flat - falling) / level
    return Evaluation(
        log_loss=log_loss,
        by_log_v=by_log_v,
        log_v=log_v,
        mixture_jacobian=mixture_jacobian,
        outer_jacobian=_outer_jacobian(columns, inputs, stages, by_log_v * row_log_v, by_flat),
        by_row=inputs.by_row,
    )


def stage_terms(params: Array, inputs: LawInputs) -> StageTerms:
    """Computes the parts of the law that depend on step and size alone."""
    log_step, log_size = inputs.log_step[None], inputs.log_size[None]
    power = np.exp(params[:, col.STEP_POWER, None] + params[:, col.STEP_SIZE, None] * log_size)
    size_power = np.exp(params[:, col.SIZE_POWER, None])
    step_term = np.exp(np.minimum(params[:, col.STEP_SCALE, None] - power * log_step, 50))
    size_term = np.exp(np.minimum(params[:, col.SIZE_SCALE, None] - size_power * log_size, 50))
    transient_power = np.exp(params[:, col.TRANSIENT_POWER, None])
    transient = np.exp(
        np.minimum(params[:, col.TRANSIENT_SCALE, None] - transient_power * log_step, 50)
    )
    factor = 1 + step_term + transient + size_term
    return StageTerms(
        power=power,
        size_power=size_power,
        factor=factor,
        step_fraction=step_term / factor,
        transient_power=transient_power,
        transient_fraction=transient / factor,
        size_fraction=size_term / factor,
        slope=np.exp(
            params[:, col.SLOPE, None]
            + params[:, col.SLOPE_SIZE, None] * log_size
            + params[:, col.SLOPE_STEP, None] * log_step
        ),
    )


def _outer_jacobian(
    columns: tuple[int, ...],
    inputs: LawInputs,
    stages: StageTerms,
    by_log_slope: Array,
    by_flat: Array | float,
) -> Array:
    """Computes `Evaluation.outer_jacobian`.

    Args:
        by_log_slope: (problems, rows) d log L / d log a.
        by_flat: (problems, rows) d log L / d logit f; 0 where the law has no f.
    """
    stage, log_step, log_size = inputs.stage, inputs.log_step[None], inputs.log_size[None]
    stagewise = {
        col.STEP_SCALE: stages.step_fraction,
        col.STEP_POWER: -stages.power * log_step * stages.step_fraction,
        col.STEP_SIZE: -stages.power * log_step * log_size * stages.step_fraction,
        col.TRANSIENT_SCALE: stages.transient_fraction,
        col.TRANSIENT_POWER: -stages.transient_power * log_step * stages.transient_fraction,
        col.SIZE_SCALE: stages.size_fraction,
        col.SIZE_POWER: -stages.size_power * log_size * stages.size_fraction,
    }
    outer = np.empty((len(by_log_slope), len(columns), len(stage)))
    for position, column in enumerate(columns):
        if column == col.LEVEL:
            outer[:, position] = 1.0
        elif column == col.SLOPE:
            outer[:, position] = by_log_slope
        elif column in (col.SLOPE_SIZE, col.SLOPE_STEP):
            axis = inputs.log_size if column == col.SLOPE_SIZE else inputs.log_step
            outer[:, position] = by_log_slope * axis[stage]
        elif column == col.FLAT:
            outer[:, position] = by_flat
        else:
            outer[:, position] = np.take(stagewise[column], stage, axis=1)
    return outer


def log_v_gradient(params: Array, proportions: Array, log_size: Array) -> tuple[Array, Array]:
    """Computes log v (problems, n) and d log v / d r (problems, n, domains).

    For g < 1 the derivative diverges at r = 0. There it is taken at r = 1e-9, where it is finite
    and has the same sign.

    Args:
        log_size: (n,) log(N / N0).
    """
    log_r = np.log(np.maximum(proportions, 1e-9))
    v, log_v, _ = effective_proportion(params, log_proportions(proportions), log_size)
    curvature = logistic(params[:, col.CURVATURE])[:, None, None]
    slope = curvature * np.exp(
        (curvature - 1) * log_r[None] + log_transfer_weights(params, log_r.shape[1], log_size)
    )
    return log_v, slope / v[:, :, None]


def _mixture_jacobian(
    params: Array, log_r: Array, log_size: Array, v: Array, terms: Array
) -> Array:
    """Computes `Evaluation.mixture_jacobian` from the results of `effective_proportion`."""
    out = np.empty((*v.shape, 2 + params.shape[1] - col.NUM_SHARED))
    after = 2 + log_r.shape[1]
    fractions = np.divide(terms, v[:, :, None], out=out[:, :, 2:after])
    if out.shape[2] > after:
        np.multiply(fractions, log_size[:, None], out=out[:, :, after:])
    curvature = logistic(params[:, col.CURVATURE])
    out[:, :, 0] = (curvature * (1 - curvature))[:, None] * np.einsum(
        "kmd,md->km", fractions, log_r
    )
    out[:, :, 1] = np.exp(params[:, col.FLOOR])[:, None] / v
    return out


def log_transfer_weights(params: Array, num_domains: int, log_size: Array) -> Array:
    """(problems, mixtures or 1, domains) log t + d log(N / N0)."""
    log_t = params[:, None, col.NUM_SHARED : col.NUM_SHARED + num_domains]
    if params.shape[1] == col.NUM_SHARED + num_domains:
        return log_t
    return log_t + params[:, None, col.NUM_SHARED + num_domains :] * log_size[None, :, None]


def logistic(x: Array) -> Array:
    """Logistic function 1 / (1 + exp(-x)), safe from overflow."""
    return 1 / (1 + np.exp(-np.maximum(x, -700)))
