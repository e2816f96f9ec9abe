"""Fits a law to a loss table; leaving mixtures out decides which law each target gets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bimix_sweep.errors import LawError
from bimix_sweep.law.fitting.cross_validation import (
    MAX_FOLDS,
    Batch,
    choose,
    folds,
    left_out,
    misfit,
)
from bimix_sweep.law.fitting.map_fit import (
    NOISE_COUNT,
    Fit,
    Noise,
    Normal,
    normal_equations,
    recentred,
)
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.model import discrepancy as process
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.observations import Index, Runs, gather
from bimix_sweep.law.model.priors import FIXED, Common, Prior, Problems, expected
from bimix_sweep.law.model.segments import CurveSegments, condensed, curve_segments
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.information import look_information, patterns, refine, scatter_of
from bimix_sweep.law.posterior.law_file import ARRAYS, check_numbers
from bimix_sweep.law.posterior.leave_one_out import calibrate
from bimix_sweep.mixture.goals import Goals, unstated
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable

__all__ = ["FittedLaw", "fit_law"]

FOLDS_UP_TO = 30
"""Largest number of mixtures for which a warm refit cross-validates by real refits.

With more mixtures the linear approximation agrees with real refits and replaces them.
"""
LAWS = ("auto", "bimix", "transfer")
"""Accepted values of `law`."""
TRY = "look for trainings that diverged, or a target whose losses are of different units"
"""Advice at the end of error messages."""


def fit_law(
    table: LossTable,
    *,
    law: str = "auto",
    own: Mapping[str, str] | None = None,
    min_step: float | None = None,
    previous: FittedLaw | WarmStart | None = None,
    generator: np.random.Generator | None = None,
) -> FittedLaw:
    """Fits a law to every target of a table.

    Args:
        table: finished or running trials; a domain that a trial lacks is at 0 there.
        law: "bimix", "transfer" or "auto"; "auto" chooses for each target by cross-validation over
            mixtures.
        own: {target: its own domain}; default: the domain of equal name.
        min_step: rows before this step are left out.
        previous: a law of an earlier state of the table, or the `WarmStart` of such a law; the fit
            starts from it and is then about ten times faster.
        generator: assigns mixtures to folds; default: in turn.

    Raises:
        LawError: fewer than two different mixtures, unknown names, values that are not losses, or
            losses to which no law can be fitted.
    """
    start = WarmStart.of(previous) if isinstance(previous, FittedLaw) else previous
    try:
        fitted = _fitted(table, law, own, min_step, start, generator)
    except np.linalg.LinAlgError as error:
        raise LawError(f"no law comes of these losses ({error}); {TRY}") from error
    try:
        check_numbers(
            {name: getattr(fitted, name) for name in ARRAYS}, fitted.reference, fitted.runs
        )
    except ValueError as error:
        raise LawError(f"the law of these losses is no sane one ({error}); {TRY}") from error
    return fitted


def _fitted(
    table: LossTable,
    law: str,
    own: Mapping[str, str] | None,
    min_step: float | None,
    previous: WarmStart | None,
    generator: np.random.Generator | None,
) -> FittedLaw:
    if law not in LAWS:
        raise LawError(f"law {law!r} is not known; need one of {', '.join(LAWS)}")
    asked = _check_directions(table, own or {})
    runs, y, notes = gather(table, min_step)
    runs, y, read = condensed(runs, y)
    own = _own(table, own)
    runs, y, targets, dropped = _usable(table, runs, y)
    batch = _batch(table.domains, targets, runs, y, own, law, previous)
    fit, prior, common = batch.fit()
    mixtures = int(runs.mixture.max()) + 1
    there = tl.evaluate(fit.params, batch.design, prior.columns)
    state = normal_equations(fit.params, there, prior, fit.noise, runs, batch.y, batch.weight)
    quick = left_out(batch, fit, prior, there, state)
    real = previous is None or mixtures <= FOLDS_UP_TO
    held_out = folds(batch, fit, prior, generator) if real else quick
    choice, table_of_errors, reasons = choose(batch, targets, law, held_out)
    picked = np.array([batch.index(t, choice[name]) for t, name in enumerate(targets)])
    return _assemble(
        batch,
        fit,
        prior,
        common,
        there.of(picked),
        state,
        picked,
        misfit=misfit(batch, picked, held_out, quick),
        domains=table.domains,
        targets=targets,
        goals={name: goal for name, goal in table.goals.items() if name in targets},
        choice=choice,
        own={name: own[name] for name in targets if name in own},
        notes=(*table.notes, *asked, *notes, *read, *dropped, *batch.notes),
        cross_validation={
            "by_target": table_of_errors,
            "reason": reasons,
            "num_mixtures": mixtures,
            "method": f"{min(MAX_FOLDS, mixtures)} folds"
            if real
            else "one at a time, linear approximation",
        },
        previous=previous,
    )


def _check_directions(table: LossTable, own: Mapping[str, str]) -> list[str]:
    """Returns notes on targets whose direction (less or more is better) is not stated.

    Raises:
        LawError: such a target has a name like an accuracy.
    """
    own = {target: target for target in table.targets if target in table.domains} | dict(own)
    named, notes = unstated(table.goals, table.targets, table.losses, own)
    if named:
        target, best = named[0]
        raise LawError(
            f"{target} is named like a metric of which more is better, and nobody has said which "
            f"way it counts; state its goal: --goal {target}={best} if more is better, "
            f"--goal {target}=min if it is a loss"
        )
    return notes


def _own(table: LossTable, own: Mapping[str, str] | None) -> dict[str, str]:
    if own is None:
        return {target: target for target in table.targets if target in table.domains}
    for target, domain in own.items():
        if target not in table.targets:
            raise LawError(
                f"own names target {target}, which the table lacks; its targets are "
                f"{', '.join(table.targets)}"
            )
        if domain not in table.domains:
            raise LawError(
                f"own gives {target} the domain {domain}, which the table lacks; its domains are "
                f"{', '.join(table.domains)}"
            )
    return dict(own)


def _usable(
    table: LossTable, runs: Runs, y: Array
) -> tuple[Runs, Array, tuple[str, ...], tuple[str, ...]]:
    """Leaves out targets that were measured on fewer than two mixtures.

    Raises:
        LawError: fewer than two domains, mixtures, or measured mixtures remain.
    """
    if len(table.domains) < 2:
        raise LawError(
            f"the table has 1 domain ({table.domains[0]}); need at least 2, there is nothing to mix"
        )
    mixtures = int(runs.mixture.max()) + 1
    if mixtures < 2:
        raise LawError(
            f"all {len(runs.proportions)} trainings have the same mixture; need at least 2 "
            "different ones to fit a law"
        )
    seen = np.array([len(set(runs.mixture[runs.run[present]])) for present in runs.present])
    keep = seen >= 2
    if not keep.any():
        raise LawError(
            f"no target was measured on 2 different mixtures ({table.targets[int(seen.argmax())]} "
            f"on {seen.max()}); need at least 2"
        )
    notes = tuple(
        f"target {name} was measured on {count} mixture{'' if count == 1 else 's'} and is left "
        "out; need at least 2"
        for name, count in zip(table.targets, seen, strict=True)
        if count < 2
    )
    runs = Runs(
        proportions=runs.proportions,
        steps=runs.steps,
        sizes=runs.sizes,
        run=runs.run,
        stage=runs.stage,
        present=runs.present[keep],
    )
    return (
        runs,
        y[keep],
        tuple(name for name, k in zip(table.targets, keep, strict=True) if k),
        notes,
    )


def _batch(
    domains: tuple[str, ...],
    targets: tuple[str, ...],
    runs: Runs,
    y: Array,
    own: Mapping[str, str],
    law: str,
    previous: WarmStart | None,
) -> Batch:
    if law == "bimix" and (missing := [t for t in targets if t not in own]):
        raise LawError(
            f"target {missing[0]} has no own domain, which BiMix needs; name it with "
            f"own={{{missing[0]!r}: domain}}"
        )
    pairs = [
        (t, b)
        for t, name in enumerate(targets)
        for b in (False, True)
        if (law != "bimix" if not b else law != "transfer" and name in own)
    ]
    target = np.array([t for t, _ in pairs])
    bimix = np.array([b for _, b in pairs])
    own_index = np.array([domains.index(own[name]) if name in own else -1 for name in targets])
    reference = _reference(runs)
    if previous is not None:  # keep the reference of the earlier law, except N0 if sizes are new
        reference = (
            previous.reference[0],
            previous.reference[1] if previous.sized else reference[1],
        )
    present = runs.present.astype(np.float64)
    level = (y * present).sum(axis=1) / present.sum(axis=1)
    lacking = np.array(
        [
            own_index[t] >= 0
            and bool((runs.proportions[runs.run[runs.present[t]], own_index[t]] <= 0).any())
            for t in range(len(targets))
        ]
    )
    notes = []
    if lacking.any() and law != "transfer":
        names = [name for name, lacks in zip(targets, lacking, strict=True) if lacks]
        notes.append(
            f"BiMix is infinite where a target's own domain is at 0, as in some runs of "
            f"{', '.join(names)}: it got a floor there"
        )
    unseen = [
        name
        for name, column in zip(domains, runs.proportions.T, strict=True)
        if np.ptp(column) < 1e-9
    ]
    if unseen:
        notes.append(
            f"the runs never vary {', '.join(unseen)}: what is said of it comes from the prior "
            "alone"
        )
    mixtures = int(runs.mixture.max()) + 1
    if mixtures < len(domains) + 3 and law != "bimix":
        notes.append(
            f"{mixtures} mixtures of {len(domains)} domains; from {len(domains) + 3} on the runs "
            "decide more than the prior"
        )
    num_sizes = len(np.unique(runs.sizes[~np.isnan(runs.sizes)]))
    if num_sizes == 2:
        notes.append(
            "two sizes do not determine how the loss falls with size: a prior decides, see the "
            "intervals"
        )
    problems = Problems(
        level=level[target],
        own=own_index[target],
        bimix=bimix,
        floor=lacking[target],
        num_domains=len(domains),
        pivot=np.zeros(len(target)),
        determined=np.zeros(len(target)),
        has_steps=bool(np.ptp(runs.steps) > 0),
        num_sizes=num_sizes,
        reference_size=reference[1],
    )
    design = tl.design_of(runs, *reference)
    common = _common(domains, reference[1], previous)
    problems, start = recentred(problems, problems.prior(common).mean, design)
    noise = None
    if previous is not None:
        start, noise = _start(
            start, [(targets[t], "bimix" if b else "transfer") for t, b in pairs], domains, previous
        )
        problems = replace(problems, pivot=start[:, tl.PIVOT].copy())
        before = (previous.many_steps, previous.many_sizes, previous.domains)
        if before != (problems.has_steps, problems.num_sizes > 1, domains):
            # With a new axis or domain, residuals at the start are errors of the law and not
            # noise, so noise and fits alternate as in a cold fit.
            noise = None
        beliefs = problems.prior(common)
        start = np.where((beliefs.sd <= FIXED) | (np.abs(start) >= -tl.OFF), beliefs.mean, start)
    return Batch(
        runs=runs,
        design=design,
        reference=reference,
        target=target,
        bimix=bimix,
        y=y[target],
        weight=present[target],
        start=start,
        noise=noise,
        problems=problems,
        common=common,
        notes=tuple(notes),
    )


def _reference(runs: Runs) -> tuple[float, float]:
    sizes = runs.sizes if not np.isnan(runs.sizes).any() else np.ones(1)
    return float(np.exp(np.log(runs.steps).mean())), float(np.exp(np.log(sizes).mean()))


def _common(domains: tuple[str, ...], reference_size: float, previous: WarmStart | None) -> Common:
    """Returns the shared values that an earlier law found, or those expected before any trial."""
    common = expected(len(domains), reference_size)
    if previous is None:
        return common
    found = dict(zip(previous.domains, previous.hyper["transfer_weights"], strict=True))
    transfer_weights = np.array([found.get(name, 0.0) for name in domains])
    return replace(
        common,
        columns=np.array(previous.hyper["columns"]),
        transfer_weights=transfer_weights,
        own_domain_offset=float(previous.hyper["own_domain_offset"]),
        spread=float(previous.hyper["spread"]),
    )


def _start(
    start: Array, names: list[tuple[str, str]], domains: tuple[str, ...], previous: WarmStart
) -> tuple[Array, Noise]:
    """Returns where a warm refit starts: parameters and noise of the earlier fits.

    Fits are matched by (target, law) names, and their parameters by domain names.
    """
    fits = {(one["target"], one["law"]): one for one in previous.hyper["fits"]}
    before = len(previous.hyper["fits"][0]["params"])
    blocks = min(
        (start.shape[1] - tl.NUM_SHARED) // len(domains),
        (before - tl.NUM_SHARED) // len(previous.domains),
    )
    common = [
        (domains.index(name), d) for d, name in enumerate(previous.domains) if name in domains
    ]
    mine, theirs = list(range(tl.NUM_SHARED)), list(range(tl.NUM_SHARED))
    for block in range(blocks):  # log t, and d where both laws have it
        mine += [tl.NUM_SHARED + block * len(domains) + d for d, _ in common]
        theirs += [tl.NUM_SHARED + block * len(previous.domains) + d for _, d in common]
    start = start.copy()
    offset, point = (
        np.full(len(names), float(np.median([one[key] for one in fits.values()])))
        for key in ("offset2", "point2")
    )
    for problem, name in enumerate(names):
        if name in fits:
            start[problem, mine] = np.array(fits[name]["params"])[theirs]
            offset[problem], point[problem] = fits[name]["offset2"], fits[name]["point2"]
    return start, Noise(offset=offset, point=point)


def _process(
    precision: Array,
    looks: CurveSegments,
    design: tl.Design,
    residual: Array,
    information: tuple[Array, Array, Array],
    *,
    point2: Array,
    look2: Array,
    offset2: Array,
    used: Array,
    previous: process.Shape | None,
) -> process.Process:
    """Estimates the discrepancy GP and the remaining trial offset by marginal likelihood.

    A warm refit keeps the shape of the GP.
    """
    mean, within, counts = information
    places, groups = looks.places(design), patterns(counts)
    known = within + np.eye(precision.shape[1]) * precision[:, None, :]

    def judged(shapes: Sequence[process.Shape]) -> dict[process.Shape, tuple[float, Array, Array]]:
        """{shape: (negative log evidence, amplitude2, offset2)}."""
        cost, amplitude2, left2 = (
            dict.fromkeys(shapes, 0.0),
            {s: np.zeros(len(precision)) for s in shapes},
            {s: offset2.copy() for s in shapes},
        )
        for targets, rows in groups:
            for alone in {shape.alone for shape in shapes}:
                scatter = scatter_of(
                    point2[targets],
                    alone * look2[targets],
                    offset2[targets],
                    counts[targets][:, rows],
                    looks.training[rows],
                )
                spectra = {
                    shape: process.spectrum(places.of(rows), shape, scatter)
                    for shape in shapes
                    if shape.alone == alone
                }
                evidence, chosen = process.choose(
                    spectra,
                    residual[targets][:, rows],
                    mean[targets][:, rows],
                    known[targets],
                    scatter.log_det,
                    used[targets],
                )
                for shape in spectra:
                    cost[shape] += float(evidence[shape].sum())
                    amplitude2[shape][targets], left2[shape][targets] = chosen[shape]
        return {shape: (cost[shape], amplitude2[shape], left2[shape]) for shape in shapes}

    found = judged(
        [process.Shape(length=length) for length in process.LENGTHS]
        if previous is None
        else [previous]
    )
    best = min(found, key=lambda shape: found[shape][0])
    wider = []
    if previous is None and np.ptp(places.log_size) > 0:
        wider.append([{"reach": reach} for reach in process.REACHES])
    if previous is None and np.ptp(places.log_step) > 0:
        parts = process.ALONE if look2.any() else (1.0,)
        wider.append(
            [{"lasting": reach, "alone": part} for reach in process.REACHES for part in parts]
        )
    for changes in wider:
        nearer = judged([replace(best, **change) for change in changes])
        nearest = min(nearer, key=lambda shape: nearer[shape][0])
        if nearer[nearest][0] < found[best][0] - process.REACH_GAIN:
            found, best = nearer, nearest
    _, amplitude2, left2 = found[best]
    return process.Process(
        shape=best, amplitude2=amplitude2, offset2=left2, look2=best.alone * look2
    )


def _noise(
    point2: Array, looks: CurveSegments, counts: Array, means: Array, within: Array
) -> tuple[Array, Array]:
    """Estimates the noise within and between the segments of a trial.

    Args:
        point2: (targets,) variance of a point about the mean of its trial.
        counts, means: (targets, segments) number of points and mean residual of each segment.
        within: (targets,) sum of squares of the points about the means of their segments.

    Returns:
        (targets,) variance of a point about the mean of its segment, and (targets,) variance of
        segments about their trial beyond what the noise of their points explains.
    """
    point2 = (within + NOISE_COUNT * point2) / (np.maximum(counts - 1, 0).sum(axis=1) + NOISE_COUNT)
    measured = counts > 0
    starts = np.flatnonzero(np.diff(looks.training, prepend=-1))
    each = np.add.reduceat(measured, starts, axis=1, dtype=np.float64)
    centre = np.add.reduceat(means * measured, starts, axis=1) / np.maximum(each, 1)
    free = np.maximum(each - 1, 0).sum(axis=1)
    between = (((means - centre[:, looks.training]) * measured) ** 2).sum(axis=1)
    share = (measured / np.maximum(counts, 1)).sum(axis=1) / np.maximum(measured.sum(axis=1), 1)
    return point2, np.maximum(between - free * share * point2, 0.0) / (free + NOISE_COUNT)


def _assemble(
    batch: Batch,
    fit: Fit,
    prior: Prior,
    common: Common,
    there: tl.Evaluation,
    state: Normal,
    picked: Index,
    *,
    misfit: tuple[Array, Array],
    domains: tuple[str, ...],
    targets: tuple[str, ...],
    choice: dict[str, str],
    own: dict[str, str],
    goals: Goals,
    notes: tuple[str, ...],
    cross_validation: dict[str, Any],
    previous: WarmStart | None,
) -> FittedLaw:
    """Makes the fitted law: chosen laws, discrepancy GP and calibration on trials left out."""
    runs, design = batch.runs, batch.design
    part = Prior(mean=prior.mean[picked], sd=prior.sd[picked], columns=prior.columns)
    noise = Noise(offset=fit.noise.offset[picked], point=fit.noise.point[picked])
    params, weight = fit.params[picked], batch.weight[picked]
    covariance = np.linalg.inv(state.hessian[picked])
    used = ((1 - np.einsum("kii->ki", covariance) / part.sd**2) * (part.sd > FIXED)).sum(axis=1)
    looks = curve_segments(runs)
    there, counts = there.regrouped(looks.training), looks.runs.sums(weight)
    residual = looks.runs.sums(state.residual[picked]) / np.maximum(counts, 1)
    point2, look2 = noise.point, np.zeros(len(picked))
    if len(looks.training) > len(runs.proportions):
        point2, look2 = _noise(
            point2,
            looks,
            counts,
            residual,
            ((state.residual[picked] - residual[:, looks.runs.run] * weight) ** 2).sum(axis=1),
        )
    precision = batch.problems.prior(common, widened=True).sd[picked] ** -2.0
    information = look_information(there, looks.runs, prior.columns, params.shape[1], point2)
    carried = _process(
        precision,
        looks,
        design,
        residual,
        information,
        point2=point2,
        look2=look2,
        offset2=noise.offset,
        used=used,
        previous=None if previous is None else previous.shape,
    )
    y = batch.y[picked]
    params, residual = refine(
        params,
        part,
        looks,
        design,
        y,
        weight,
        point2=point2,
        process=carried,
        law=there,
        information=information,
    )
    count = len(targets)
    draft = FittedLaw(
        domains=domains,
        targets=targets,
        own=own,
        goals=goals,
        choice=choice,
        cross_validation=cross_validation,
        notes=notes,
        params=params,
        precision=precision,
        point2=point2,
        look2=carried.look2,
        amplitude2=carried.amplitude2,
        offset2=carried.offset2,
        shape=carried.shape,
        inflation=np.ones(count),
        correlation=np.eye(count),
        residual=residual,
        runs=runs,
        reference=batch.reference,
        hyper={
            "columns": common.columns.tolist(),
            "transfer_weights": common.transfer_weights.tolist(),
            "own_domain_offset": common.own_domain_offset,
            "spread": common.spread,
            "fits": [
                {
                    "target": targets[t],
                    "law": "bimix" if bimix else "transfer",
                    "params": row.tolist(),
                    "offset2": float(offset2),
                    "point2": float(point2),
                }
                for t, bimix, row, offset2, point2 in zip(
                    batch.target,
                    batch.bimix,
                    fit.params,
                    fit.noise.offset,
                    fit.noise.point,
                    strict=True,
                )
            ],
        },
    )
    vars(draft)["looks"] = looks
    inflation, correlation = calibrate(draft, *misfit)
    law = replace(draft, inflation=inflation, correlation=correlation)
    # Calibration changes neither segments nor groups; the cost of groups grows with the cube of the
    # number of segments.
    vars(law)["looks"], vars(law)["groups"] = looks, draft.groups
    return law
