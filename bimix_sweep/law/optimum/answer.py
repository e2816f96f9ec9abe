"""Solves the decision problem of a law: the optimum, and what no trial tested of it."""

from dataclasses import replace

from bimix_sweep.law.optimum.optimal_mixture import Optimum, optimal_mixture
from bimix_sweep.law.posterior.beyond_trials import BeyondTrials, beyond_trials
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.problem_statement import ProblemStatement


def answer(law: FittedLaw, problem: ProblemStatement, *, within: float = 0.005) -> Optimum:
    """Returns the best mixture for a decision problem, as `optimal_mixture` finds it.

    Args:
        law: fitted losses.
        problem: decision problem.
        within: width of the near-optimal region, a fraction of the objective.

    Raises:
        OptimumError: the law cannot solve the problem.
        MixtureError: the bounds leave no mixture.
    """
    return optimal_mixture(
        law,
        problem.final_domains,
        weights=problem.weights,
        objective=problem.objective,
        step=problem.step,
        size=problem.size,
        prior=problem.prior,
        kl=problem.kl,
        within=within,
        generator=problem.generator(),
    )


def not_tested(
    optimum: Optimum, law: FittedLaw, problem: ProblemStatement, *, compared: bool
) -> BeyondTrials:
    """States how far an optimum and its final run lie beyond the trials, and what was not tested.

    Args:
        optimum: result of `answer`.
        law: the law that predicted the optimum.
        problem: decision problem of the optimum; the sentences say where it differs from the one
            that the law keeps.
        compared: True where the measured comparison of the confirmation trials goes with the
            optimum.
    """
    beyond = beyond_trials(
        steps=law.steps,
        sizes=law.sizes,
        tokens_per_step=problem.tokens_per_step,
        final=problem.final,
        step=optimum.step,
        size=optimum.size,
        as_configured=problem.as_configured,
    )
    kept = law.problem
    parts = problem.differences(kept, law.targets) if kept and kept.sweep else ()
    sentences = [*beyond.sentences]
    if parts:
        sentences.append(
            "This answers another problem than that of the sweep "
            f"{problem.sweep}: {'; '.join(parts)}."
        )
    if not compared and not parts and problem.confirmation_result:
        sentences.append(problem.confirmation_result)
    elif not compared:
        sentences.append(
            "No confirmation trials compare this mixture with others: its losses are predicted."
        )
    return replace(beyond, sentences=tuple(sentences))
