"""Solves the decision problem of a law: the optimum, and what no trial tested of it."""

from dataclasses import replace

from bimix_sweep.law.optimum.optimal_mixture import Optimum, optimal_mixture
from bimix_sweep.law.posterior.beyond_trials import BeyondTrials, beyond_trials
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.question import LawQuestion


def answer(law: FittedLaw, question: LawQuestion, *, within: float = 0.005) -> Optimum:
    """Returns the best mixture for a decision problem, as `optimal_mixture` finds it.

    Args:
        law: fitted losses.
        question: decision problem.
        within: width of the near-optimal region, a fraction of the objective.

    Raises:
        OptimumError: the law cannot solve the problem.
        MixtureError: the bounds leave no mixture.
    """
    return optimal_mixture(
        law,
        question.final_domains,
        weights=question.weights,
        objective=question.objective,
        step=question.step,
        size=question.size,
        prior=question.prior,
        kl=question.kl,
        within=within,
        generator=question.generator(),
    )


def not_tested(
    optimum: Optimum, law: FittedLaw, question: LawQuestion, *, compared: bool
) -> BeyondTrials:
    """States how far an optimum and its final run lie beyond the trials, and what was not tested.

    Args:
        optimum: result of `answer`.
        law: the law that predicted the optimum.
        question: decision problem of the optimum; the sentences say where it differs from the one
            that the law keeps.
        compared: True where the measured comparison of the confirmation trials goes with the
            optimum.
    """
    found = beyond_trials(
        steps=law.steps,
        sizes=law.sizes,
        tokens_per_step=question.tokens_per_step,
        final=question.final,
        step=optimum.step,
        size=optimum.size,
        as_configured=question.as_configured,
    )
    kept = law.question
    parts = question.differences(kept, law.targets) if kept and kept.sweep else ()
    sentences = [*found.sentences]
    if parts:
        sentences.append(
            "This answers another question than that of the sweep "
            f"{question.sweep}: {'; '.join(parts)}."
        )
    if not compared and not parts and question.final_trials:
        sentences.append(question.final_trials)
    elif not compared:
        sentences.append(
            "No final trials compare this mixture with others: its losses are predicted."
        )
    return replace(found, sentences=tuple(sentences))
