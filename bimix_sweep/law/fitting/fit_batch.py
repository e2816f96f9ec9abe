"""Prepares all (target, law) pairs of a table to be fitted as one batch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bimix_sweep.errors import LawError
from bimix_sweep.law.fitting.fit_data import FitData
from bimix_sweep.law.fitting.hierarchical_fit import HierarchicalFit, fit_laws, recentred
from bimix_sweep.law.fitting.normal_equations import Noise
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model.law_inputs import LawInputs
from bimix_sweep.law.model.observations import Index, Trials
from bimix_sweep.law.model.priors import FIXED, Problems, step_terms_of
from bimix_sweep.law.model.repetition import Repetition
from bimix_sweep.law.model.shared_values import SharedValues, expected
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, kw_only=True)
class FitBatch:
    """All (target, law) pairs to be fitted, as one batch."""

    data: FitData
    """Trials and log losses."""
    reference: tuple[float, float]
    """s0 and N0 of the law."""
    target: Index
    """(problems,) index of the target."""
    bimix: npt.NDArray[np.bool_]
    """(problems,) True for BiMix, False for the transfer law."""
    start: Array
    """(problems, parameters) where the fit starts."""
    noise: Noise | None
    """Noise of the earlier fit; None for a cold fit."""
    problems: Problems
    """Which law is fitted to which target."""
    shared: SharedValues
    """Shared values to start from."""
    notes: tuple[str, ...]
    """Notes for the user on the trials and targets."""
    repetition: Repetition
    """R* under which the laws see repeated domains."""

    @property
    def num_mixtures(self) -> int:
        """Number of different mixtures."""
        return int(self.data.trials.mixture.max()) + 1

    def fit(self) -> HierarchicalFit:
        """Fits all problems; see `fit_laws`."""
        return fit_laws(self.start, self.problems, self.shared, self.data, noise=self.noise)

    def with_repetition(self, repetition: Repetition) -> "FitBatch":
        """Returns the batch with another R*."""
        inputs = LawInputs.of_trials(self.data.trials, *self.reference, repetition.r_star)
        return replace(self, data=replace(self.data, inputs=inputs), repetition=repetition)

    def index(self, target: int, law: str) -> int:
        """Returns the problem of a target and a law ("bimix" or "transfer")."""
        return int(np.flatnonzero((self.target == target) & (self.bimix == (law == "bimix")))[0])


def fit_batch(
    domains: tuple[str, ...],
    targets: tuple[str, ...],
    trials: Trials,
    y: Array,
    own: Mapping[str, str],
    law: str,
    previous: WarmStart | None,
    repetition: Repetition,
) -> FitBatch:
    """Makes the batch of a table.

    Args:
        y: (targets, rows) log losses.
        own: {target: its own domain}.
        law: "bimix", "transfer" or "auto".
        previous: what a warm refit takes over; None for a cold fit.
        repetition: R* of the laws.

    Raises:
        LawError: BiMix is wanted for a target without an own domain.
    """
    target, bimix = _pairs(targets, own, law)
    own_index = np.array([domains.index(own[name]) if name in own else -1 for name in targets])
    reference = _reference(trials, previous)
    lacking = _lacking(trials, own_index)
    problems = _problems(trials, y, own_index, lacking, target, bimix, reference[1])
    inputs = LawInputs.of_trials(trials, *reference, repetition.r_star)
    shared = expected(len(domains), reference[1])
    shared = shared if previous is None else previous.shared_values(shared, domains)
    problems, start = recentred(problems, problems.prior(shared).mean, inputs)
    noise = None
    if previous is not None:
        names = [
            (targets[t], "bimix" if b else "transfer") for t, b in zip(target, bimix, strict=True)
        ]
        problems, start, noise = _warm(problems, start, shared, names, domains, previous)
    return FitBatch(
        data=FitData.of_targets(trials, inputs, y, target),
        reference=reference,
        target=target,
        bimix=bimix,
        start=start,
        noise=noise,
        problems=problems,
        shared=shared,
        notes=_notes(
            trials,
            domains,
            law,
            [name for name, lacks in zip(targets, lacking, strict=True) if lacks],
            problems.num_sizes,
        ),
        repetition=repetition,
    )


def _pairs(
    targets: tuple[str, ...], own: Mapping[str, str], law: str
) -> tuple[Index, npt.NDArray[np.bool_]]:
    """Lists the (target, law) pairs to be fitted.

    Returns:
        (problems,) index of the target, and (problems,) True for BiMix.
    """
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
    return np.array([t for t, _ in pairs]), np.array([b for _, b in pairs])


def _reference(trials: Trials, previous: WarmStart | None) -> tuple[float, float]:
    """s0 and N0: geometric means of steps and sizes, or those of the earlier law.

    N0 of an earlier law without sizes is not kept.
    """
    sizes = trials.sizes if not np.isnan(trials.sizes).any() else np.ones(1)
    step, size = float(np.exp(np.log(trials.steps).mean())), float(np.exp(np.log(sizes).mean()))
    if previous is None:
        return step, size
    return previous.reference[0], previous.reference[1] if previous.sized else size


def _lacking(trials: Trials, own_index: Index) -> npt.NDArray[np.bool_]:
    """(targets,) True where a target's own domain is at 0 in a trial that measured the target."""
    return np.array(
        [
            domain >= 0 and bool((trials.proportions[trials.trial[present], domain] <= 0).any())
            for domain, present in zip(own_index, trials.present, strict=True)
        ]
    )


def _problems(
    trials: Trials,
    y: Array,
    own_index: Index,
    lacking: npt.NDArray[np.bool_],
    target: Index,
    bimix: npt.NDArray[np.bool_],
    reference_size: float,
) -> Problems:
    present = trials.present.astype(np.float64)
    level = (y * present).sum(axis=1) / present.sum(axis=1)
    return Problems(
        level=level[target],
        own=own_index[target],
        bimix=bimix,
        floor=lacking[target],
        num_domains=trials.proportions.shape[1],
        pivot=np.zeros(len(target)),
        determined=np.zeros(len(target)),
        step_terms=step_terms_of(trials),
        num_sizes=len(np.unique(trials.sizes[~np.isnan(trials.sizes)])),
        reference_size=reference_size,
    )


def _warm(
    problems: Problems,
    start: Array,
    shared: SharedValues,
    names: list[tuple[str, str]],
    domains: tuple[str, ...],
    previous: WarmStart,
) -> tuple[Problems, Array, Noise | None]:
    """Moves the start of the batch to the fits of an earlier law.

    Args:
        names: (target, law) of each problem.

    Returns:
        the problems, (problems, parameters) the start, and the earlier noise. With a new axis or
        domain, residuals at the start are errors of the law and not noise, so there is no noise,
        and noise and fits alternate as in a cold fit.
    """
    start, noise = previous.start(start, names, domains)
    problems = replace(problems, pivot=start[:, col.PIVOT].copy())
    before = (previous.step_terms, previous.many_sizes, previous.domains)
    same = before == (problems.step_terms, problems.num_sizes > 1, domains)
    prior = problems.prior(shared)
    start = np.where((prior.sd <= FIXED) | (np.abs(start) >= -col.OFF), prior.mean, start)
    return problems, start, noise if same else None


def _notes(
    trials: Trials, domains: tuple[str, ...], law: str, lacking: list[str], num_sizes: int
) -> tuple[str, ...]:
    """Notes for the user on what the trials cannot determine.

    Args:
        lacking: targets whose own domain is at 0 in some trial.
    """
    notes = []
    if lacking and law != "transfer":
        notes.append(
            f"BiMix is infinite where a target's own domain is at 0, as in some trials of "
            f"{', '.join(lacking)}: it got a floor there"
        )
    constant = [
        name
        for name, column in zip(domains, trials.proportions.T, strict=True)
        if np.ptp(column) < 1e-9
    ]
    if constant:
        notes.append(
            f"the trials never vary {', '.join(constant)}: what is said of it comes from the prior "
            "alone"
        )
    mixtures = int(trials.mixture.max()) + 1
    if mixtures < len(domains) + 3 and law != "bimix":
        notes.append(
            f"{mixtures} mixtures of {len(domains)} domains; from {len(domains) + 3} on the trials "
            "decide more than the prior"
        )
    if num_sizes == 2:
        notes.append(
            "two sizes do not determine how the loss falls with size: a prior decides, see the "
            "intervals"
        )
    return tuple(notes)
