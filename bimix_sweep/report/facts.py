"""Facts to know before the recommended mixture is used: regret, reach, confirmation, stop, law."""

from collections.abc import Iterator
from dataclasses import dataclass

from bimix_sweep.law.optimum.optimal_mixture import Optimum
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.goals import ranged
from bimix_sweep.report import tables
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.wording import count, percent, sentence
from bimix_sweep.text import factor


@dataclass(frozen=True, slots=True)
class Fact:
    """One entry of the list."""

    name: str
    """What the fact is about."""
    value: str
    """Its number, in large type; empty without one."""
    text: str
    """A sentence that explains it."""


def facts(data: ReportData) -> Iterator[Fact]:
    """Yields the facts in the order of the page."""
    if data.optimum:
        yield from _optimum_facts(data, data.optimum)
    yield Fact(
        "Confirmation trials",
        "",
        sentence(data.comparison.reason)
        if data.comparison
        else "Not trained yet: no mixture is recommended for good before it was trained beside its "
        "rivals.",
    )
    yield (
        Fact("Why it stopped", "", sentence(data.stop_reason))
        if data.stop_reason
        else Fact("State", "", "The sweep is still running.")
    )
    if data.law:
        yield _law_fact(data.law)


def _optimum_facts(data: ReportData, optimum: Optimum) -> Iterator[Fact]:
    """Yields the regret, how far the final run lies beyond the trials, and metrics with a range."""
    regret = optimum.regret
    yield Fact(
        "Regret",
        f"≤ {percent(regret.upper95)}",
        "Against the true optimum of these proxies its loss is expected to be "
        f"{percent(regret.expected)} higher, and with 95 % confidence at most "
        f"{percent(regret.upper95)}.",
    )
    if data.beyond and data.beyond.sentences:
        far = ", ".join(
            f"{factor(value)} × {name}"
            for name, value in data.beyond.extrapolation.items()
            if value > 1
        )
        yield Fact("Not tested", far, " ".join(data.beyond.sentences))
    if data.kl > 0:
        yield Fact(
            "Prior",
            percent(optimum.prior_cost),
            f"The mixture stays near the sweep's prior (kl {data.kl:g}), which raises the loss of "
            "the optimum by this much; the regret counts the pull as part of the objective.",
        )
    for target, goal in ranged(data.goals).items():
        if target in optimum.predicted_losses:
            yield Fact(
                target,
                f"{optimum.predicted_losses[target]:.4g}",
                f"Predicted for the optimum, in its own unit: it is {goal.words}. The loss "
                "that the objective, regret and errors speak of is its distance from the "
                "best end, in units of its range.",
            )


def _law_fact(law: FittedLaw) -> Fact:
    """Error of the law on held-out mixtures, and how many targets have which law."""
    chosen = {
        words: sum(choice == name for choice in law.choice.values())
        for name, words in (("bimix", "BiMix"), ("transfer", "transfer"))
    }
    which = " and ".join(f"{words} for {count(n, 'target')}" for words, n in chosen.items() if n)
    return Fact(
        "Law",
        percent(tables.held_out_error(law)),
        f"mean error on mixtures left out of the fit; {which}.",
    )
