"""The final trainings: which mixtures are trained beside the predicted optimum, under which names, in which order.

No predicted optimum is recommended before it was trained beside the best measured, the uniform and the natural mixture,
each with the same two seeds. Where two of these are the same mixture it is trained once and carries both labels. A sweep
that a change reopened ends in final trainings anew; one of before with the same mixture and seed is taken as it is.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.simplex import total_variation
from bimix_sweep.seeding import seed_for
from bimix_sweep.sweep.history.history import SweepHistory

PAIRS = 2
"""Trainings of each final mixture; those of a pair share a seed."""
MOST_FINALS = 4 * PAIRS
"""Final trainings where predicted optimum, best measured, uniform and natural mixture all differ."""
SAME_MIXTURE = 0.005
"""Final mixtures that differ in less than this share of tokens are trained once."""

FinalMixture = dict[str, Any]
"""`labels` and `mixture`, as the journal keeps them."""


def reference_mixtures(spec: SweepSpec) -> list[FinalMixture]:
    """Uniform and natural: known before the sweep's outcome."""
    mixtures: list[FinalMixture] = []
    _merge(mixtures, "uniform", spec.domains.uniform())
    _merge(mixtures, "natural", spec.domains.natural())
    return mixtures


def final_mixtures(history: SweepHistory, predicted: Mixture) -> list[FinalMixture]:
    """All of them, the reference mixtures first."""
    mixtures = reference_mixtures(history.spec)
    _merge(mixtures, "predicted", predicted)
    if (best := _best_measured(history)) is not None:
        _merge(mixtures, "measured", best)
    return mixtures


def final_trainings(
    history: SweepHistory, mixtures: Sequence[FinalMixture]
) -> Iterator[tuple[str, int, FinalMixture]]:
    """Name, seed and mixture (`labels`, `mixture`) of each final training, in the order they run: first one seed, then the next."""
    names = history.spec.domains.names
    there = {
        name: record for name, record in history.state.trials.items() if record.role == "final"
    }
    for pair in range(1, PAIRS + 1):
        seed = seed_for(history.spec.seed, "final", pair)
        usable = {
            n: r.mixture.as_array(names)
            for n, r in there.items()
            if r.seed == seed and n not in history.retired
        }
        taken: set[str] = set()
        for entry in mixtures:
            shares = Mixture.from_mapping(entry["mixture"]).as_array(names)
            near = {
                name: total_variation(shares, other)
                for name, other in usable.items()
                if name not in taken
            }
            trial = min(near, key=lambda name: near[name]) if near else ""
            if not near or near[trial] >= SAME_MIXTURE:
                kinds = ("final", *(f"final{number}" for number in range(2, len(there) + 2)))
                trial = next(
                    n
                    for kind in kinds
                    if (n := f"{kind}-{entry['labels'][0]}-{pair}") not in there and n not in taken
                )
            taken.add(trial)
            yield trial, seed, entry


def stands_for(
    history: SweepHistory, mixtures: Sequence[FinalMixture], predicted: Mixture
) -> float | None:
    """How far the earlier final trainings that stand for the predicted optimum lie from it (total variation); None where it is trained anew."""
    names = history.spec.domains.names
    for trial, _, entry in final_trainings(history, mixtures):
        if (
            "predicted" in entry["labels"]
            and (record := history.state.trials.get(trial)) is not None
        ):
            return total_variation(predicted.as_array(names), record.mixture.as_array(names))
    return None


def _best_measured(history: SweepHistory) -> Mixture | None:
    """Mixture of the sweep's finished training with the lowest loss, of those the final run may use.

    Losses of different scales are not compared: it is one of the largest size that any of them has, and of these of the most steps.
    """
    domains = history.spec.domains
    found: list[tuple[float, int, float, Mixture]] = []
    for name, record in history.state.trials.items():
        shares = record.mixture.as_array(domains.names)
        inside = domains.holds(shares)
        loss = history.objective(name)
        if record.role == "sweep" and record.state == "finished" and inside and loss is not None:
            found.append((-record.size, -record.steps, loss, record.mixture))
    return min(found, key=lambda one: one[:3])[3] if found else None


def _merge(mixtures: list[FinalMixture], label: str, mixture: Mixture) -> None:
    """Add a mixture, or a label where it is there already."""
    shares = mixture.as_array()
    for entry in mixtures:
        if (
            total_variation(shares, Mixture.from_mapping(entry["mixture"]).as_array(mixture.names))
            < SAME_MIXTURE
        ):
            entry["labels"].append(label)
            return
    mixtures.append({"labels": [label], "mixture": mixture.as_dict()})
