"""Initial design: the first mixtures, chosen before any loss is known. The uniform mixture is
first, the natural mixture second, then those that the user stated; the others are chosen to make the laws identifiable.

A law must learn how each loss changes with each proportion over a wide range. Therefore a mixture r
is represented by

    z(r) = (log((r + e) / (1/D + e)) / log((1 + e) / e), sqrt(r))

The logarithm spreads the small proportions, which the published law's exponents need, and the
square root spreads the large ones. The prior over losses has the covariance

    cov(r, r') = z.z' + 0.5 exp(-|z - z'|^2 / (2 l^2))

with l^2 the mean of |z - z'|^2 over random mixtures. The linear part represents the law, the local
part represents curvature. Each new mixture is the best of many random candidates, sparse and dense:
its trial would reduce the variance most, averaged over all candidates. No measured loss is needed
for this choice.
"""

from collections.abc import Sequence

import numpy as np

from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import Array, project, sample

MIN_PROPORTION = 0.02
"""Smallest proportion of a first mixture, as a fraction of the uniform proportion 1/D, where the
bounds allow it. The published law is infinite at proportion 0."""
TRIAL_VARIANCE = 0.05
"""Variance of one trial under the prior of the module's docstring (whose variance is about 1). It
only prevents the choice from preferring corners of the simplex."""

NUM_CANDIDATES = 400
"""Number of candidates that a first mixture is chosen among."""


def num_initial(num_domains: int, max_trials: int) -> int:
    """Number of first mixtures for D domains: (D + 3) / 2, at least 5, at most `max_trials`. These
    do not determine the law, but trials chosen by the law then determine it faster
    (docs/evidence.md)."""
    return max(1, min(max_trials, max(5, (num_domains + 3) // 2)))


REPEATED = 3
"""Number of first mixtures that are trained at the target fidelity, too."""


def initial_fidelities(num_mixtures: int, num_fidelities: int, max_trials: int) -> tuple[int, ...]:
    """Returns the index of the fidelity of each first trial (0 is the cheapest): all first mixtures
    at the cheapest fidelity, then some of them again at more expensive ones.

    The law has one level and one slope for each target and size, which one trial cannot separate,
    and cross-validation leaves one mixture out. Therefore REPEATED first mixtures are trained at
    the target fidelity, and one at each fidelity between. The same mixtures are repeated, because
    the discrepancy of a mixture is common to its fidelities and cancels in the comparison.
    """
    repeated = min(REPEATED, num_mixtures)
    repeats = (
        [*[num_fidelities - 1] * repeated, *range(1, num_fidelities - 1)]
        if num_fidelities > 1
        else []
    )
    return (*[0] * num_mixtures, *repeats)[:max_trials]


def too_few(num_domains: int, num_fidelities: int, max_trials: int) -> str | None:
    """Returns a message where `max_trials` is so small that no trial has the target fidelity, so
    that the law would have to extrapolate to it; None otherwise."""
    if num_fidelities - 1 in initial_fidelities(
        num_initial(num_domains, max_trials), num_fidelities, max_trials
    ):
        return None
    first = num_initial(num_domains, 10**9)
    return (
        f"budget.trials is {max_trials}, so all trials but the confirmation trials are of the "
        "smallest size and the fewest steps, and none is at the target fidelity, for which the "
        f"mixture is chosen; need at least {first + 1} for one there, {first + REPEATED} for the "
        f"{REPEATED} that show how losses change"
    )


def random_mixtures(domains: DomainSet, generator: np.random.Generator, count: int) -> Array:
    """Draws (count, domains) random mixtures inside the bounds, from sparse to dense, around the
    uniform and the natural mixture."""
    centres = (np.full(len(domains), 1 / len(domains)), domains.natural().as_array())
    lower, upper = domains.lower_array, domains.upper_array
    concentrations = np.geomspace(1.0, 4.0 * len(domains), 5)
    each = -(-count // (2 * len(concentrations)))
    blocks = [
        sample(generator, each, np.maximum(c, 1e-3), k, lower, upper)
        for k in concentrations
        for c in centres
    ]
    return np.concatenate(blocks)[generator.permutation(each * len(blocks))[:count]]


def initial_mixture(
    domains: DomainSet,
    seen: Array,
    generator: np.random.Generator,
    stated: Sequence[Mixture] = (),
    count: int = NUM_CANDIDATES,
) -> tuple[Mixture, str]:
    """Returns the next first mixture and the reason.

    Args:
        domains: names and bounds.
        seen: (trials, domains) mixtures already proposed, finished or not.
        generator: for the candidates.
        stated: mixtures to try after the uniform and the natural one, inside the bounds.
        count: number of candidates to choose from.
    """
    references = [("uniform", domains.uniform()), ("natural", domains.natural())]
    for name, mixture in (*references, *(("stated", mixture) for mixture in stated)):
        if not domains.same(seen, mixture.as_array(domains.names)).any():
            moved = ", moved into the bounds" if name in domains.moved else ""
            return mixture, f"initial: {name}{moved}"
    candidates = random_mixtures(domains, generator, count)
    floor = np.clip(MIN_PROPORTION / len(domains), domains.lower_array, domains.upper_array)
    if floor.sum() < 1:
        candidates = project(candidates, floor, domains.upper_array)
    candidates = unlike(domains, candidates, seen)
    best = most_informative(candidates, seen)
    return Mixture.from_array(domains.names, candidates[best]), "initial: space-filling"


def initial_mixture_of_pool(
    domains: DomainSet,
    pool: Array,
    seen: Array,
    generator: np.random.Generator,
    count: int = NUM_CANDIDATES,
) -> tuple[Mixture, str]:
    """Returns the next first mixture and the reason, where only the mixtures of a pool can be
    trained: the nearest to the uniform and to the natural mixture, then the most informative.

    Args:
        domains: names and bounds.
        pool: (n, domains) mixtures to choose among, one for each possible trial.
        seen, generator, count: as for `initial_mixture`.
    """
    uniform, natural = domains.uniform().as_array(), domains.natural().as_array()
    references = [("uniform", uniform)]
    if not domains.same(uniform[None], natural).any():
        references.append(("natural", natural))
    if len(seen) < len(references):
        name, mixture = references[len(seen)]
        near = pool[np.abs(pool - mixture).sum(axis=1).argmin()]
        return Mixture.from_array(domains.names, near), f"initial: nearest to {name}"
    candidates = unlike(domains, generator.permutation(pool)[:count], seen)
    best = most_informative(candidates, seen)
    return Mixture.from_array(domains.names, candidates[best]), "initial: space-filling"


def repeated_mixture(
    domains: DomainSet, first: Array, there: Array, pool: Array | None = None
) -> Mixture:
    """Chooses the first mixture to train again at a more expensive fidelity: the one that adds most
    information to the trials already there.

    Args:
        domains: names and bounds.
        first: (trials, domains) mixtures proposed at the cheapest fidelity. Mixtures outside the
            current bounds are used only where no other is left, and are then moved inside.
        there: (trials, domains) mixtures proposed at the more expensive fidelity.
        pool: (n, domains) mixtures that can be trained at the more expensive fidelity. Mixtures
            that are no first mixture are used only where no other is left. None: every mixture.
    """
    inside = first[domains.holds(first)]
    if pool is not None:
        again = pool[[domains.same(first, row).any() for row in pool]]
        inside = again if len(again) else pool
    elif not len(inside):
        inside = project(first, domains.lower_array, domains.upper_array)
    mixtures = unlike(domains, inside, there)
    return Mixture.from_array(domains.names, mixtures[most_informative(mixtures, there)])


def unlike(domains: DomainSet, candidates: Array, others: Array) -> Array:
    """Returns the candidates that are not the same mixture as any of `others` (`DomainSet.same`);
    all candidates where none is left.

    Args:
        domains: names and bounds.
        candidates, others: (n, domains), in the order of `domains`.
    """
    new = candidates[[not domains.same(others, row).any() for row in candidates]]
    return new if len(new) else candidates


def moved_references(domains: DomainSet) -> str | None:
    """Returns a message where the uniform or the natural mixture lies outside the bounds (which
    include the caps); None where both lie inside."""
    moved = domains.moved
    if not moved:
        return None
    broken = "; ".join(
        f"the {mixture} mixture breaks the bounds of {domains.bounds_in_words(names)}"
        for mixture, names in moved.items()
    )
    return f"{broken}; the nearest mixture inside all bounds is trained in its place"


def most_informative(candidates: Array, seen: Array) -> int:
    """Returns the index of the candidate whose trial lowers the prior variance of all candidates
    most, after trials at `seen`.

    Args:
        candidates: (candidates, domains).
        seen: (trials, domains).
    """
    points = _features(np.concatenate([candidates, seen]))
    square = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    scale = square[: len(candidates), : len(candidates)].mean()
    covariance = points @ points.T / points.shape[1] + 0.5 * np.exp(-square / max(2 * scale, 1e-12))
    here, there = slice(None, len(candidates)), slice(len(candidates), None)
    if len(seen):
        gain = np.linalg.solve(
            covariance[there, there] + TRIAL_VARIANCE * np.eye(len(seen)), covariance[there, here]
        )
        posterior = covariance[here, here] - covariance[here, there] @ gain
    else:
        posterior = covariance[here, here]
    fall = (posterior**2).sum(axis=1) / (np.diag(posterior) + TRIAL_VARIANCE)
    return int(np.argmax(fall))


def _features(proportions: Array) -> Array:
    """Computes the (n, 2 D) representation z of mixtures from the module's docstring, centred at
    the uniform mixture."""
    equal = 1 / proportions.shape[1]
    small = MIN_PROPORTION * equal
    logs = np.log((proportions + small) / (equal + small)) / np.log((1 + small) / small)
    return np.concatenate([logs, np.sqrt(proportions) - np.sqrt(equal)], axis=1)
