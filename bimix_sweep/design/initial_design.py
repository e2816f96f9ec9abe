"""The first mixtures, chosen before any loss is known: uniform, natural, then ones that make the laws identifiable.

What a law must learn is how each loss bends with each proportion over a wide range. So a mixture is seen through
z(r) = (log((r + e) / (1/D + e)) / log((1 + e) / e), sqrt(r)): the logarithm spreads the small proportions that the
published law's exponents need, the square root the large ones, and a prior over losses is put on them,

    cov(r, r') = z.z' + .5 exp(-|z - z'|^2 / (2 l^2)),     l^2 = the mean of |z - z'|^2 over random mixtures

(a linear part for the law, a local part for what bends). Each new mixture is the one of many random candidates, sparse
and dense, whose run would lower the variance most, averaged over all of them: no result is needed for that.
"""

import numpy as np

from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import Array, project, sample

SMALLEST_SHARE = 0.02
"""A first mixture gives every domain at least this part of an equal share where the bounds allow it: the published law is infinite at 0."""
RUN_VARIANCE = 0.05
"""Variance of one run under the prior above (its scale is about 1); it only keeps the choice from clinging to corners."""


def num_initial(num_domains: int, max_trials: int) -> int:
    """How many first mixtures: (D + 3) / 2. They do not determine the law, but chosen ones then do it faster.

    In simulated sweeps of 17 domains 10 first mixtures instead of 20 lowered the regret at 32 and 48 runs by a fifth.
    """
    return max(1, min(max_trials, max(5, (num_domains + 3) // 2)))


REPEATED = 3
"""First mixtures that are run at the dearest scale, too."""


def initial_scales(num_mixtures: int, num_scales: int, max_trials: int) -> tuple[int, ...]:
    """Index of the scale, the cheapest 0, of each first training: all first mixtures at the cheapest scale, then a few again at dearer ones.

    The law has one level and one slope a target and size, which one training cannot tell apart, and cross-validation
    leaves one mixture out: so REPEATED of them are run at the dearest scale, and one at each between. They are
    repeated, not placed elsewhere, because what the law misses of a mixture is common to its scales and cancels.
    """
    repeated = min(REPEATED, num_mixtures)
    dearer = [*[num_scales - 1] * repeated, *range(1, num_scales - 1)] if num_scales > 1 else []
    return (*[0] * num_mixtures, *dearer)[:max_trials]


def too_few(num_domains: int, num_scales: int, max_trials: int) -> str | None:
    """That so few trainings all lie at the cheapest of several scales, so that the one asked about is extrapolated; None where they do not."""
    if num_scales - 1 in initial_scales(
        num_initial(num_domains, max_trials), num_scales, max_trials
    ):
        return None
    first = num_initial(num_domains, 10**9)
    return (
        f"budget.trials is {max_trials}, so all trainings but the final ones are of the smallest size and the fewest steps, and none of those that "
        f"the mixture is chosen for; need at least {first + 1} for one of those, {first + REPEATED} for the {REPEATED} that tell how losses move"
    )


def random_mixtures(domains: DomainSet, generator: np.random.Generator, count: int) -> Array:
    """(count, domains) random mixtures inside the bounds, from sparse to dense, around uniform and natural."""
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
    domains: DomainSet, seen: Array, generator: np.random.Generator, count: int = 400
) -> tuple[Mixture, str]:
    """The next first mixture and why.

    Args:
        domains: names and bounds.
        seen: (runs, domains) mixtures already proposed, finished or not.
        generator: for the candidates.
        count: how many candidates to choose from.
    """
    for name, mixture in (("uniform", domains.uniform()), ("natural", domains.natural())):
        if not domains.same(seen, mixture.as_array()).any():
            moved = ", moved into the bounds" if name in domains.moved else ""
            return mixture, f"initial: {name}{moved}"
    candidates = random_mixtures(domains, generator, count)
    floor = np.clip(SMALLEST_SHARE / len(domains), domains.lower_array, domains.upper_array)
    if floor.sum() < 1:
        candidates = project(candidates, floor, domains.upper_array)
    candidates = unlike(domains, candidates, seen)
    best = most_informative(candidates, seen)
    return Mixture.from_array(domains.names, candidates[best]), "initial: space-filling"


def repeated_mixture(domains: DomainSet, first: Array, there: Array) -> Mixture:
    """The mixture to run again at a dearer scale: of those run before, the one that tells most beside what the scale has.

    Args:
        domains: names and bounds.
        first: (runs, domains) mixtures proposed at the cheapest scale; those outside the bounds, which
            were others then, are moved inside only where no other is left.
        there: (runs, domains) those proposed at the dearer one.
    """
    inside = first[domains.holds(first)]
    if not len(inside):
        inside = project(first, domains.lower_array, domains.upper_array)
    mixtures = unlike(domains, inside, there)
    return Mixture.from_array(domains.names, mixtures[most_informative(mixtures, there)])


def unlike(domains: DomainSet, candidates: Array, others: Array) -> Array:
    """The candidates that are not the same mixture as any of some others (`DomainSet.same`); all where none is left.

    Args:
        candidates, others: (n, domains), in the order of `domains`.
    """
    new = candidates[[not domains.same(others, row).any() for row in candidates]]
    return new if len(new) else candidates


def moved_references(domains: DomainSet) -> str | None:
    """That the uniform or the natural mixture lies outside the bounds, which stand for the caps, too; None where both lie inside."""
    moved = domains.moved
    if not moved:
        return None
    largest = dict(zip(domains.names, domains.upper, strict=True))
    least = dict(zip(domains.names, domains.lower, strict=True))
    said = "; ".join(
        f"the {mixture} mixture breaks the bounds of "
        + ", ".join(f"{name} ({least[name]:.3g} to {largest[name]:.3g})" for name in names)
        for mixture, names in moved.items()
    )
    return f"{said}; the nearest mixture inside all bounds is trained in its place"


def most_informative(candidates: Array, seen: Array) -> int:
    """Index of the candidate whose run lowers the prior variance of all candidates most, after runs at `seen`.

    Args:
        candidates: (candidates, domains).
        seen: (runs, domains).
    """
    points = _features(np.concatenate([candidates, seen]))
    square = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    scale = square[: len(candidates), : len(candidates)].mean()
    covariance = points @ points.T / points.shape[1] + 0.5 * np.exp(-square / max(2 * scale, 1e-12))
    here, there = slice(None, len(candidates)), slice(len(candidates), None)
    if len(seen):
        gain = np.linalg.solve(
            covariance[there, there] + RUN_VARIANCE * np.eye(len(seen)), covariance[there, here]
        )
        posterior = covariance[here, here] - covariance[here, there] @ gain
    else:
        posterior = covariance[here, here]
    fall = (posterior**2).sum(axis=1) / (np.diag(posterior) + RUN_VARIANCE)
    return int(np.argmax(fall))


def _features(proportions: Array) -> Array:
    """(n, 2 D) the view z of mixtures in the module's first lines, centred at the uniform mixture."""
    equal = 1 / proportions.shape[1]
    small = SMALLEST_SHARE * equal
    logs = np.log((proportions + small) / (equal + small)) / np.log((1 + small) / small)
    return np.concatenate([logs, np.sqrt(proportions) - np.sqrt(equal)], axis=1)
