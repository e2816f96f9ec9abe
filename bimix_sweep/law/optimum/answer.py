"""Solves the decision problem of a law: the optimum, and what no trial tested of it."""

from dataclasses import replace

from bimix_sweep.law.optimum.optimal_mixture import (
    Optimum,
    OptimumAtTrials,
    optimal_mixture,
)
from bimix_sweep.law.posterior.beyond_trials import BeyondTrials, beyond_trials
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.simplex import total_variation
from bimix_sweep.text import magnitude


def answer(law: FittedLaw, problem: ProblemStatement, *, within: float = 0.005) -> Optimum:
    """Returns the `best_mixture` for a decision problem. Where that is for the final run,
    `at_trials` of the result is the best one at the steps and size of the trials.

    Args and Raises: see `best_mixture`.
    """
    best = best_mixture(law, problem, within=within)
    of_trials = replace(problem, at_final=False)
    if compared_fidelity(law, problem) == compared_fidelity(law, of_trials):
        return best
    small = best_mixture(law, of_trials, within=within)
    return replace(
        best,
        at_trials=OptimumAtTrials(
            mixture=small.mixture,
            distance=total_variation(best.mixture.as_array(), small.mixture.as_array()),
            regret=small.regret,
            step=small.step,
            size=small.size,
        ),
    )


def best_mixture(law: FittedLaw, problem: ProblemStatement, *, within: float = 0.005) -> Optimum:
    """Returns the best mixture for a decision problem, as `optimal_mixture` finds it.

    Where the final run is stated, this is the best mixture at its steps and size, for a run that
    repeats domains as the final run does. A law without sizes compares at its own size.

    Args:
        law: fitted losses.
        problem: decision problem.
        within: width of the near-optimal region, a fraction of the objective.

    Raises:
        OptimumError: the law cannot solve the problem.
        MixtureError: the bounds leave no mixture.
    """
    step, size = compared_fidelity(law, problem)
    return optimal_mixture(
        for_final_run(law, problem),
        problem.final_domains,
        weights=problem.weights,
        objective=problem.objective,
        step=step,
        size=size,
        prior=problem.prior,
        kl=problem.kl,
        within=within,
        generator=problem.generator(),
    )


def for_final_run(law: FittedLaw, problem: ProblemStatement) -> FittedLaw:
    """Returns the law whose predictions are of runs that repeat domains as the final run does."""
    return law.for_run(problem.unique(law.domains))


def compared_fidelity(
    law: FittedLaw, problem: ProblemStatement
) -> tuple[float | None, float | None]:
    """Returns the step and size at which losses are compared, None for the largest fitted; the size
    of the final run says nothing to a law without sizes."""
    step, size = problem.compared_at
    return step, problem.size if law.sizes is None else size


def not_tested(
    optimum: Optimum, law: FittedLaw, problem: ProblemStatement, *, measured: Mixture | None
) -> BeyondTrials:
    """States how far an optimum and its final run lie beyond the trials, and what was not tested.

    Args:
        optimum: result of `answer`.
        law: the law that predicted the optimum.
        problem: decision problem of the optimum; the sentences say where it differs from the one
            that the law keeps.
        measured: the mixture that the measured comparison of the confirmation trials recommends;
            None where there is no such comparison.
    """
    beyond = beyond_trials(
        steps=law.steps,
        sizes=law.sizes,
        tokens_per_step=problem.tokens_per_step,
        final=problem.final,
        step=optimum.step if optimum.at_trials is None else None,
        size=optimum.size if optimum.at_trials is None else None,
        as_configured=problem.as_configured,
    )
    kept = law.problem
    parts = problem.differences(kept, law.targets) if kept and kept.sweep else ()
    sentences = [*beyond.sentences, *_on_repetition(measured or optimum.mixture, law, problem)]
    if optimum.at_trials is not None:
        sentences.append(_at_final(optimum, optimum.at_trials, law))
    if parts:
        sentences.append(
            "This answers another problem than that of the sweep "
            f"{problem.sweep}: {'; '.join(parts)}."
        )
    if measured is None and not parts and problem.confirmation_result:
        sentences.append(problem.confirmation_result)
    elif measured is None:
        sentences.append(
            "No confirmation trials compare this mixture with others: its losses are predicted."
        )
    return replace(beyond, sentences=tuple(sentences))


def _on_repetition(mixture: Mixture, law: FittedLaw, problem: ProblemStatement) -> list[str]:
    """Says how the passes of the final run were weighed, where they are known and above one."""
    unique = problem.unique(law.domains)
    if unique is None:
        return []
    passes = mixture.as_array(law.domains) / unique
    repeated = [
        f"{name} {count:.1f} times"
        for name, count in zip(law.domains, passes, strict=True)
        if count > 1
    ]
    if not repeated:
        return []
    return [
        f"The final run passes over {', '.join(repeated)}; repeated text counts as effective "
        f"unique tokens with {law.repetition.words}."
    ]


def _at_final(optimum: Optimum, small: OptimumAtTrials, law: FittedLaw) -> str:
    """Says what a choice at the final run's steps and size rests on."""
    sizes = law.sizes
    rests = (
        "how mixtures change with size is not known from these trials, only assumed"
        if sizes is None or sizes[0] == sizes[1]
        else f"how mixtures change with size is that between {magnitude(sizes[0])} and "
        f"{magnitude(sizes[1])} parameters"
    )
    return (
        f"The mixture is the best one for the final run as the law extrapolates: {rests}, and how "
        "they change with steps is that along the trials' curves. It lies "
        f"{small.distance:.3f} (total variation) from the best one at the trials' own steps and "
        f"size, where the regret of that one is {small.regret.expected:.2%} expected and at most "
        f"{small.regret.upper95:.2%} (95 %)."
    )
