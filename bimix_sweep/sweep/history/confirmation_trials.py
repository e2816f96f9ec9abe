"""Selects the confirmation trials: their mixtures, their names and their order.

A predicted optimum is recommended only after a trial of it has run beside today's mixture where it
is stated, the best measured, the uniform and the natural mixture, each with the same two seeds. If
two of these mixtures are the same, it is trained once and carries both labels. A sweep that a
change reopened ends in new confirmation trials; an earlier confirmation trial with the same mixture
and seed is reused.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from bimix_sweep.design.comparison import SAME_MIXTURE
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import total_variation
from bimix_sweep.seeding import seed_for
from bimix_sweep.sweep.history.event_fields import ConfirmationMixture
from bimix_sweep.sweep.history.history import SweepHistory

PAIRS = 2
"""Confirmation trials of each mixture; trial k of every mixture has the same seed."""


def max_confirmation_trials(spec: SweepSpec) -> int:
    """Confirmation trials if no two of the mixtures are the same."""
    return PAIRS * (4 if spec.today is None else 5)


def reference_mixtures(spec: SweepSpec) -> list[ConfirmationMixture]:
    """Today's, the uniform and the natural mixture, which are known before the sweep's outcome.

    Today's mixture is taken as stated, even outside the bounds.
    """
    mixtures: list[ConfirmationMixture] = []
    if spec.today is not None:
        _merge(spec.domains, mixtures, "today", spec.today)
    _merge(spec.domains, mixtures, "uniform", spec.domains.uniform())
    _merge(spec.domains, mixtures, "natural", spec.domains.natural())
    return mixtures


def planned_mixtures(history: SweepHistory) -> Sequence[ConfirmationMixture]:
    """The decided confirmation mixtures, or before that decision the reference mixtures."""
    if history.confirmation is None:
        return reference_mixtures(history.spec)
    return history.confirmation.mixtures


def confirmation_mixtures(history: SweepHistory, predicted: Mixture) -> list[ConfirmationMixture]:
    """All confirmation mixtures, with the reference mixtures first.

    Args:
        history: history of the sweep.
        predicted: the predicted optimum.
    """
    domains, mixtures = history.spec.domains, reference_mixtures(history.spec)
    _merge(domains, mixtures, "predicted", predicted)
    if (best := _best_measured(history)) is not None:
        _merge(domains, mixtures, "measured", best)
    return mixtures


def confirmation_trials(
    history: SweepHistory, mixtures: Sequence[ConfirmationMixture]
) -> Iterator[tuple[str, int, ConfirmationMixture]]:
    """Name, seed and mixture of each confirmation trial, in their order.

    All trials with the first seed come before those with the second seed.
    """
    domains, names = history.spec.domains, history.spec.domains.names
    earlier = {
        name: record
        for name, record in history.state.trials.items()
        if record.role == "confirmation"
    }
    for pair in range(1, PAIRS + 1):
        seed = seed_for(history.spec.seed, "final", pair)
        usable = {
            n: r.mixture.as_array(names)
            for n, r in earlier.items()
            if r.seed == seed and n not in history.retired
        }
        taken: set[str] = set()
        for entry in mixtures:
            proportions = Mixture.from_mapping(entry.mixture).as_array(names)
            near = {
                name: total_variation(proportions, other)
                for name, other in usable.items()
                if name not in taken and (domains.holds(other) or not domains.holds(proportions))
            }
            trial = min(near, key=lambda name: near[name]) if near else ""
            if not near or near[trial] >= SAME_MIXTURE:
                kinds = ("confirm", *(f"confirm{number}" for number in range(2, len(earlier) + 2)))
                trial = next(
                    n
                    for kind in kinds
                    if (n := f"{kind}-{entry.labels[0]}-{pair}") not in earlier and n not in taken
                )
            taken.add(trial)
            yield trial, seed, entry


def all_proposed(history: SweepHistory) -> bool:
    """Whether the confirmation mixtures are decided and every trial of them is proposed."""
    confirmation = history.confirmation
    return confirmation is not None and all(
        trial in history.proposals
        for trial, _, _ in confirmation_trials(history, confirmation.mixtures)
    )


def nearest_confirmation(
    history: SweepHistory, mixtures: Sequence[ConfirmationMixture], predicted: Mixture
) -> float | None:
    """Distance of the predicted optimum from the earlier confirmation trial that is reused for it.

    Returns:
        Total variation distance in [0, 1]; None if the predicted optimum gets new trials.
    """
    names = history.spec.domains.names
    for trial, _, entry in confirmation_trials(history, mixtures):
        if "predicted" in entry.labels and (record := history.state.trials.get(trial)) is not None:
            return total_variation(predicted.as_array(names), record.mixture.as_array(names))
    return None


def _best_measured(history: SweepHistory) -> Mixture | None:
    """Mixture of the finished trial with the lowest objective, the pull to a prior included.

    Only mixtures that the final run may use are considered. Losses at different fidelities are not
    compared. Only trials of the largest size count, and among these only trials of the most steps.
    """
    domains = history.spec.domains
    candidates: list[tuple[float, int, float, Mixture]] = []
    for name, record in history.state.trials.items():
        inside = domains.holds(record.mixture.as_array(domains.names))
        loss = history.objective(name)
        pull = history.spec.pull(record.mixture)
        usable = inside and record.role == "sweep" and record.state == "finished"
        if usable and loss is not None and pull < math.inf:
            candidates.append((-record.size, -record.steps, loss + pull, record.mixture))
    return min(candidates, key=lambda one: one[:3])[3] if candidates else None


def _merge(
    domains: DomainSet, mixtures: list[ConfirmationMixture], label: str, mixture: Mixture
) -> None:
    """Adds a mixture, or adds a label if the mixture is already in the list.

    A mixture outside the bounds stands for no other one.
    """
    proportions = mixture.as_array(domains.names)
    for place, entry in enumerate(mixtures):
        known = Mixture.from_mapping(entry.mixture).as_array(domains.names)
        inside = domains.holds(np.stack([proportions, known])).all()
        if inside and total_variation(proportions, known) < SAME_MIXTURE:
            mixtures[place] = ConfirmationMixture(
                labels=[*entry.labels, label], mixture=entry.mixture
            )
            return
    mixtures.append(ConfirmationMixture(labels=[label], mixture=mixture.as_dict()))
