"""From a loss table to a fitted law: which law holds for each target is decided by leaving mixtures out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from bimix_sweep.errors import LawError
from bimix_sweep.law import residual as process
from bimix_sweep.law import transfer as tl
from bimix_sweep.law.fitted import FittedLaw
from bimix_sweep.law.fitting import Fit, Noise, fit_laws, minimise, normal_equations
from bimix_sweep.law.information import patterns, relative_noise, run_information
from bimix_sweep.law.priors import FIXED, Common, Prior, Problems, expected
from bimix_sweep.law.runs import Index, Runs, gather
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable

__all__ = ["FittedLaw", "fit_law"]

MAX_FOLDS = 8
"""Mixtures are left out in at most this many groups."""
BATCH = 2_000_000
"""Largest problems x rows fitted together, to bound memory."""
INFLATION_COUNT = 20.0
"""How many trainings of one target weigh as much as all targets' common inflation."""
CORRELATION_COUNT = 15.0
"""Trainings at which the measured correlation of two targets counts half: fewer say little."""
LAWS = ("auto", "bimix", "transfer")


def fit_law(
    table: LossTable, *, law: str = "auto", own: Mapping[str, str] | None = None, min_step: float | None = None,
    previous: FittedLaw | None = None, generator: np.random.Generator | None = None,
) -> FittedLaw:  # fmt: skip
    """Fit a law to every target of a table.

    Args:
        table: finished or running trainings; a domain that one lacks is at 0 there.
        law: "bimix", "transfer" or "auto", which lets cross-validation by mixture choose for each target.
        own: {target: domain that is its own}; default: equal names.
        min_step: rows before it are left out.
        previous: a law of an earlier state of the table; the fit starts from it and is then some ten times faster.
        generator: deals mixtures to folds; default: in turn.

    Raises:
        LawError: fewer than two different mixtures, unknown names, or values that are not losses.
    """
    if law not in LAWS:
        raise LawError(f"law {law!r} is not known; need one of {', '.join(LAWS)}")
    runs, y, notes = gather(table, min_step)
    own = _own(table, own)
    runs, y, targets, dropped = _usable(table, runs, y)
    batch = _batch(table.domains, targets, runs, y, own, law, previous)
    fit, prior, common = batch.fit(warm=previous is not None)
    held_out = _left_out(batch, fit, prior) if previous is not None else _folds(batch, fit, prior, generator)
    choice, table_of_errors, reasons = _choose(batch, targets, law, held_out)
    picked = np.array([batch.index(t, choice[name]) for t, name in enumerate(targets)])
    return _assemble(
        batch, fit, prior, common, picked, domains=table.domains, targets=targets, choice=choice,
        own={name: own[name] for name in targets if name in own}, notes=(*table.notes, *notes, *dropped, *batch.notes),
        cross_validation={
            "by_target": table_of_errors, "reason": reasons, "num_mixtures": int(runs.mixture.max()) + 1,
            "method": "linear" if previous is not None else f"{min(MAX_FOLDS, int(runs.mixture.max()) + 1)} folds",
        },
        previous=previous,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Every (target, law) to be fitted, as one batch."""

    runs: Runs
    design: tl.Design
    reference: tuple[float, float]
    target: Index
    """(problems,)."""
    bimix: npt.NDArray[np.bool_]
    y: Array
    """(problems, rows)."""
    weight: Array
    start: Array
    noise: Noise | None
    problems: Problems
    common: Common
    notes: tuple[str, ...]

    def fit(self, *, warm: bool) -> tuple[Fit, Prior, Common]:
        return fit_laws(
            self.start, self.problems, self.common, self.runs, self.design, self.y, self.weight, noise=self.noise, rounds=2 if warm else 4
        )

    def index(self, target: int, law: str) -> int:
        return int(np.flatnonzero((self.target == target) & (self.bimix == (law == "bimix")))[0])


def _own(table: LossTable, own: Mapping[str, str] | None) -> dict[str, str]:
    if own is None:
        return {target: target for target in table.targets if target in table.domains}
    for target, domain in own.items():
        if target not in table.targets:
            raise LawError(f"own names target {target}, which the table lacks; its targets are {', '.join(table.targets)}")
        if domain not in table.domains:
            raise LawError(f"own gives {target} the domain {domain}, which the table lacks; its domains are {', '.join(table.domains)}")
    return dict(own)


def _usable(table: LossTable, runs: Runs, y: Array) -> tuple[Runs, Array, tuple[str, ...], tuple[str, ...]]:
    """Leave out targets that fewer than two mixtures measured."""
    if len(table.domains) < 2:
        raise LawError(f"the table has 1 domain ({table.domains[0]}); need at least 2, there is nothing to mix")
    mixtures = int(runs.mixture.max()) + 1
    if mixtures < 2:
        raise LawError(f"all {len(runs.proportions)} trainings have the same mixture; need at least 2 different ones to fit a law")
    seen = np.array([len(set(runs.mixture[runs.run[present]])) for present in runs.present])
    keep = seen >= 2
    if not keep.any():
        raise LawError(
            f"no target was measured on 2 different mixtures ({table.targets[int(seen.argmax())]} on {seen.max()}); need at least 2"
        )
    notes = tuple(
        f"target {name} was measured on {count} mixture{'' if count == 1 else 's'} and is left out; need at least 2"
        for name, count in zip(table.targets, seen, strict=True)
        if count < 2
    )
    runs = Runs(
        proportions=runs.proportions, steps=runs.steps, sizes=runs.sizes, run=runs.run, stage=runs.stage, present=runs.present[keep]
    )
    return runs, y[keep], tuple(name for name, k in zip(table.targets, keep, strict=True) if k), notes


def _batch(
    domains: tuple[str, ...], targets: tuple[str, ...], runs: Runs, y: Array, own: Mapping[str, str], law: str, previous: FittedLaw | None
) -> _Batch:
    if law == "bimix" and (missing := [t for t in targets if t not in own]):
        raise LawError(f"target {missing[0]} has no own domain, which BiMix needs; name it with own={{{missing[0]!r}: domain}}")
    pairs = [
        (t, b) for t, name in enumerate(targets) for b in (False, True) if (law != "bimix" if not b else law != "transfer" and name in own)
    ]
    target = np.array([t for t, _ in pairs])
    bimix = np.array([b for _, b in pairs])
    own_index = np.array([domains.index(own[name]) if name in own else -1 for name in targets])
    reference = previous.reference if previous is not None else _reference(runs)
    present = runs.present.astype(np.float64)
    level = (y * present).sum(axis=1) / present.sum(axis=1)
    lacking = np.array(
        [own_index[t] >= 0 and bool((runs.proportions[runs.run[runs.present[t]], own_index[t]] <= 0).any()) for t in range(len(targets))]
    )
    notes = []
    if lacking.any() and law != "transfer":
        names = [name for name, lacks in zip(targets, lacking, strict=True) if lacks]
        notes.append(f"BiMix is infinite where a target's own domain is at 0, as in some runs of {', '.join(names)}: it got a floor there")
    unseen = [name for name, column in zip(domains, runs.proportions.T, strict=True) if np.ptp(column) < 1e-9]
    if unseen:
        notes.append(f"the runs never vary {', '.join(unseen)}: what is said of it comes from the prior alone")
    mixtures = int(runs.mixture.max()) + 1
    if mixtures < len(domains) + 3 and law != "bimix":
        notes.append(f"{mixtures} mixtures of {len(domains)} domains; from {len(domains) + 3} on the runs decide more than the prior")
    has_sizes = bool(np.ptp(np.nan_to_num(runs.sizes, nan=0.0)) > 0)
    if has_sizes and len(np.unique(runs.sizes)) == 2:
        notes.append("two sizes do not determine how the loss falls with size: a prior decides, see the intervals")
    problems = Problems(
        level=level[target], own=own_index[target], bimix=bimix, floor=lacking[target], num_domains=len(domains),
        has_steps=bool(np.ptp(runs.steps) > 0), has_sizes=has_sizes,
    )  # fmt: skip
    common = _common(domains, previous)
    start, noise = _start(problems.prior(common), target, bimix, domains, targets, previous)
    return _Batch(
        runs=runs, design=tl.design_of(runs, *reference), reference=reference, target=target, bimix=bimix, y=y[target], weight=present[target],
        start=start, noise=noise, problems=problems, common=common, notes=tuple(notes),
    )  # fmt: skip


def _reference(runs: Runs) -> tuple[float, float]:
    sizes = runs.sizes if not np.isnan(runs.sizes).any() else np.ones(1)
    return float(np.exp(np.log(runs.steps).mean())), float(np.exp(np.log(sizes).mean()))


def _common(domains: tuple[str, ...], previous: FittedLaw | None) -> Common:
    """What targets have in common, as an earlier law found it."""
    common = expected(len(domains))
    if previous is None:
        return common
    found = dict(zip(previous.domains, previous.hyper["usefulness"], strict=True))
    usefulness = np.array([found.get(name, 0.0) for name in domains])
    return Common(columns=np.array(previous.hyper["columns"]), usefulness=usefulness, bonus=float(previous.hyper["bonus"]))


def _start(
    beliefs: Prior,
    target: Index,
    bimix: npt.NDArray[np.bool_],
    domains: tuple[str, ...],
    targets: tuple[str, ...],
    previous: FittedLaw | None,
) -> tuple[Array, Noise | None]:
    """Where the fit begins: the prior's centre, or an earlier law of the same names."""
    start = beliefs.mean.copy()
    if previous is None:
        return start, None
    hyper = previous.hyper
    offset, point = np.full(len(target), float(np.median(hyper["offset2"]))), np.full(len(target), float(np.median(previous.point2)))
    columns = list(range(tl.NUM_SHARED))
    columns += [tl.NUM_SHARED + domains.index(name) for name in previous.domains if name in domains]
    theirs = list(range(tl.NUM_SHARED)) + [tl.NUM_SHARED + d for d, name in enumerate(previous.domains) if name in domains]
    for problem, (t, is_bimix) in enumerate(zip(target, bimix, strict=True)):
        if targets[t] not in previous.targets:
            continue
        old = previous.targets.index(targets[t])
        offset[problem], point[problem] = hyper["offset2"][old], previous.point2[old]
        if (previous.choice[targets[t]] == "bimix") == is_bimix:
            start[problem, columns] = previous.params[old, theirs]
    held = (beliefs.sd <= FIXED) | (np.abs(start) >= -tl.OFF - 1)
    return np.where(held, beliefs.mean, start), Noise(offset=offset, point=point)


def _folds(batch: _Batch, fit: Fit, prior: Prior, generator: np.random.Generator | None) -> Array:
    """(problems, rows) log loss each row gets from a fit that saw none of its mixture."""
    runs = batch.runs
    mixtures = int(runs.mixture.max()) + 1
    count = min(MAX_FOLDS, mixtures)
    order = np.arange(mixtures) if generator is None else generator.permutation(mixtures)
    fold_of_row = (order[runs.mixture] % count)[runs.run]
    left = fold_of_row[None, :] != np.arange(count)[:, None]
    out = np.empty_like(batch.y)
    num, rows = batch.y.shape
    chunk = max(1, BATCH // max(1, rows * num))
    for first in range(0, count, chunk):
        folds = range(first, min(first + chunk, count))
        many = len(folds)
        weight = np.concatenate([batch.weight * left[f] for f in folds])
        noise = Noise(offset=_repeat(many, fit.noise.offset), point=_repeat(many, fit.noise.point))
        part = Prior(mean=_repeat(many, prior.mean), sd=_repeat(many, prior.sd), columns=prior.columns)
        again = minimise(
            _repeat(many, fit.params), part, noise, runs, batch.design, _repeat(many, batch.y), weight, iterations=25, tolerance=1e-4
        )
        law = tl.evaluate(again.params, batch.design, ()).log_loss.reshape(many, num, rows)
        for position, f in enumerate(folds):
            out[:, ~left[f]] = law[position][:, ~left[f]]
    return out


def _repeat(times: int, values: Array) -> Array:
    return np.concatenate([values] * times)


def _left_out(batch: _Batch, fit: Fit, prior: Prior) -> Array:
    """The same from one fit: the linear approximation of leaving out one training at a time."""
    runs = batch.runs
    state = normal_equations(fit.params, prior, fit.noise, runs, batch.design, batch.y, batch.weight)
    covariance = np.linalg.inv(state.hessian)
    law = tl.evaluate(fit.params, batch.design, prior.columns)
    counts = runs.sums(batch.weight)
    safe = np.maximum(counts, 1)
    mean_residual = runs.sums(state.residual) / safe
    through = runs.sums(law.by_log_v * batch.weight) / safe
    outer = law.outer_jacobian * batch.weight[:, :, None]
    if len(runs.run) != len(runs.proportions):
        outer = np.add.reduceat(outer, runs.starts, axis=1)
    outer = outer / safe[:, :, None]
    columns, mixture_columns = list(prior.columns), [*tl.MIXTURE_COLUMNS, *range(tl.NUM_SHARED, fit.params.shape[1])]
    jacobian = np.zeros((*counts.shape, fit.params.shape[1]))
    jacobian[:, :, columns] = outer
    jacobian[:, :, mixture_columns] = through[:, :, None] * law.mixture_jacobian
    variance = fit.noise.offset[:, None] + fit.noise.point[:, None] / safe
    leverage = (np.matmul(jacobian, covariance) * jacobian).sum(axis=2) / variance
    shift = mean_residual * np.minimum(leverage / np.maximum(1 - leverage, 0.05), 20)
    return np.asarray(law.log_loss - shift[:, runs.run])


def _choose(
    batch: _Batch, targets: tuple[str, ...], law: str, held_out: Array
) -> tuple[dict[str, str], dict[str, dict[str, dict[str, float]]], dict[str, str]]:
    """The law with the smaller held-out error for each target, all errors, and the reason in words."""
    runs = batch.runs
    last = np.append(runs.starts[1:], len(runs.run)) - 1
    errors: dict[str, dict[str, dict[str, float]]] = {name: {} for name in targets}
    for problem, t in enumerate(batch.target):
        counted = batch.weight[problem] > 0
        relative = np.abs(np.expm1(held_out[problem] - batch.y[problem]))[counted]
        ends = last[counted[last]]
        constant = len(ends) < 3 or np.ptp(held_out[problem, ends]) == 0 or np.ptp(batch.y[problem, ends]) == 0
        errors[targets[t]]["bimix" if batch.bimix[problem] else "transfer"] = {
            "mean_relative_error": float(relative.mean()),
            "worst": float(relative.max()),
            "last_step": float(np.abs(np.expm1(held_out[problem, ends] - batch.y[problem, ends])).mean())
            if ends.size
            else float(relative.mean()),
            "rank_correlation": 0.0 if constant else float(spearmanr(held_out[problem, ends], batch.y[problem, ends])[0]),
        }
    choice, reasons = {}, {}
    for name, by_law in errors.items():
        best = min(by_law, key=lambda one: by_law[one]["mean_relative_error"])
        choice[name] = best
        if len(by_law) == 2:
            other = "bimix" if best == "transfer" else "transfer"
            reasons[name] = (
                f"{best}: {by_law[best]['mean_relative_error']:.2%} error on mixtures left out, {other} {by_law[other]['mean_relative_error']:.2%}"
            )
        else:
            reasons[name] = f"{best}: " + ("as asked" if law != "auto" else "it has no domain of its own")
    return choice, errors, reasons


def _process(
    params: Array,
    precision: Array,
    runs: Runs,
    design: tl.Design,
    residual: Array,
    *,
    point2: Array,
    offset2: Array,
    used: Array,
    lengths: tuple[float, ...],
) -> process.Process:
    """Amplitude of the residual process and what is left of the trial offset, by marginal likelihood."""
    jacobian, within, counts = run_information(params, runs, design, point2)
    amplitude2, left2 = np.zeros(len(params)), offset2.copy()
    total = dict.fromkeys(lengths, 0.0)
    variances: dict[float, list[tuple[Index, tuple[Array, Array]]]] = {length: [] for length in lengths}
    for targets, rows in patterns(counts):
        relative = relative_noise(point2[targets], offset2[targets], counts[targets][:, rows])
        spectra = {length: process.spectrum(runs.proportions[rows], length, relative) for length in lengths}
        information = np.stack([np.diag(precision[t]) + within[t] for t in targets])
        evidence, chosen = process.choose(
            spectra, residual[targets][:, rows], jacobian[targets][:, rows], information, float(np.log(relative).sum()), used[targets]
        )
        for length in lengths:
            total[length] += float(evidence[length].sum())
            variances[length].append((targets, chosen[length]))
    best = min(lengths, key=lambda length: total[length])
    for targets, (amplitudes, offsets) in variances[best]:
        amplitude2[targets], left2[targets] = amplitudes, offsets
    return process.Process(length=best, amplitude2=amplitude2, offset2=left2)


def _assemble(
    batch: _Batch, fit: Fit, prior: Prior, common: Common, picked: Index, *, domains: tuple[str, ...], targets: tuple[str, ...], choice: dict[str, str],
    own: dict[str, str], notes: tuple[str, ...], cross_validation: dict[str, Any], previous: FittedLaw | None,
) -> FittedLaw:  # fmt: skip
    """The chosen laws, the process on their residual, and how far the whole must be inflated to match what was left out."""
    runs, design = batch.runs, batch.design
    part = Prior(mean=prior.mean[picked], sd=prior.sd[picked], columns=prior.columns)
    noise = Noise(offset=fit.noise.offset[picked], point=fit.noise.point[picked])
    params, weight = fit.params[picked], batch.weight[picked]
    state = normal_equations(params, part, noise, runs, design, batch.y[picked], weight)
    covariance = np.linalg.inv(state.hessian)
    used = ((1 - np.einsum("kii->ki", covariance) / part.sd**2) * (part.sd > FIXED)).sum(axis=1)
    residual = runs.sums(state.residual) / np.maximum(runs.sums(weight), 1)
    precision = 1 / part.sd**2
    lengths = process.LENGTHS if previous is None else (previous.length,)
    carried = _process(params, precision, runs, design, residual, point2=noise.point, offset2=noise.offset, used=used, lengths=lengths)
    count = len(targets)
    draft = FittedLaw(
        domains=domains, targets=targets, own=own, choice=choice, cross_validation=cross_validation, notes=notes, params=params,
        precision=precision, point2=noise.point, amplitude2=carried.amplitude2, offset2=carried.offset2, length=carried.length,
        inflation=np.ones(count), correlation=np.eye(count), residual=residual, runs=runs, reference=batch.reference,
        hyper={"offset2": noise.offset.tolist(), "columns": common.columns.tolist(), "usefulness": common.usefulness.tolist(), "bonus": common.bonus},
    )  # fmt: skip
    inflation, correlation = calibrate(draft)
    return replace(draft, inflation=inflation, correlation=correlation)


def calibrate(law: FittedLaw) -> tuple[Array, Array]:
    """Factor on each target's covariance, and the correlation of targets within a training.

    With Q = V^-1 - V^-1 J S J' V^-1 the prediction of training i from the others misses by (Q e)_i / Q_ii and expects a variance of
    1 / Q_ii: where the misses are larger than expected the covariance is too small by their ratio.
    """
    runs, count = len(law.runs.proportions), len(law.targets)
    standard = np.zeros((count, runs))
    for group in law._groups:
        basis = group.spectrum.basis
        for t in group.targets:
            solved = group.rotated[t] * group.weights[t][:, None]
            q = (basis * group.weights[t]) @ basis.T - basis @ (solved @ group.covariance[t] @ solved.T) @ basis.T
            standard[t, group.runs] = (q @ law.residual[t, group.runs]) / np.sqrt(np.maximum(np.diag(q), 1e-12))
    measured = standard != 0
    pooled = (standard**2).sum() / max(measured.sum(), 1)
    own = ((standard**2).sum(axis=1) + INFLATION_COUNT * pooled) / (measured.sum(axis=1) + INFLATION_COUNT)
    both = measured[:, None, :] & measured[None, :, :]
    num = both.sum(axis=2)
    scale = np.sqrt(np.maximum((standard**2).sum(axis=1) / np.maximum(measured.sum(axis=1), 1), 1e-12))
    product = (standard[:, None, :] * standard[None, :, :] * both).sum(axis=2) / np.maximum(num, 1) / (scale[:, None] * scale[None, :])
    correlation = product * num / (num + CORRELATION_COUNT)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2)
    correlation = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    root = np.sqrt(np.diag(correlation))
    return np.maximum(own, 1.0), correlation / root[:, None] / root[None, :]
