"""Compares two answers: recipes, sweeps or laws."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bimix_sweep import files
from bimix_sweep.errors import BimixSweepError, LawError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.law.optimum.answer import compared_fidelity
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.optimum.what_if import Beside, beside
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.simplex import total_variation
from bimix_sweep.parsing import parse_json
from bimix_sweep.sweep.stored_law import is_sweep, stored_law


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A mixture and what it rests on."""

    place: str
    """Path or URI."""
    kind: Literal["recipe", "sweep", "law"]
    mixture: Mixture
    """The recommended mixture."""
    problem: ProblemStatement | None
    """Decision problem that the mixture answers; None where a recipe does not state it."""
    law: FittedLaw | None = None
    """The law; None for a recipe."""
    recipe: Recipe | None = None
    """The recipe; None for a sweep or a law."""
    notes: Sequence[str] = ()
    """Messages that the user should read first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Predictions of one law for the two mixtures."""

    by: str
    """Names of the answers whose law this is: `A`, `B` or `A and B`."""
    first: Beside
    """Predictions for the first mixture."""
    second: Beside
    """Predictions for the second mixture, beside the first one."""
    step: float
    """Optimizer step at which the losses are predicted."""
    size: float | None
    """Non-embedding parameters; None where the law has no sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoAnswers:
    """Two answers side by side."""

    first: Answer
    second: Answer
    distance: float
    """Total variation between the mixtures, in [0, 1]."""
    questions: Sequence[str]
    """How the second decision problem differs from the first, in words."""
    judgements: Sequence[Judgement]
    """Predictions of each different law that is there."""
    notes: Sequence[str]
    """Messages that the user should read."""


def answer_at(place: str) -> Answer:
    """Reads the answer in a place.

    Args:
        place: path or URI of a RECIPE.json, of a sweep's folder, or of a LAW.json.

    Raises:
        BimixSweepError: the place holds none of them, or the law has no answer yet.
    """
    sweep = is_sweep(place)
    if not sweep and _holds_recipe(place):
        recipe = Recipe.read(place)
        return Answer(
            place=place,
            kind="recipe",
            mixture=Mixture.from_mapping(recipe.proportions),
            problem=_problem(recipe),
            recipe=recipe,
        )
    stored = stored_law(place)
    return Answer(
        place=place,
        kind="sweep" if sweep else "law",
        mixture=stored.recommended,
        problem=stored.problem,
        law=stored.law,
        notes=tuple(stored.notes),
    )


def compare_answers(first: Answer, second: Answer) -> TwoAnswers:
    """Compares two answers; each law that is there predicts the losses of both mixtures.

    A law that does not know a domain of one of the mixtures predicts nothing, which is said.
    """
    names = tuple(dict.fromkeys((*first.mixture.names, *second.mixture.names)))
    judgements, notes = [], [*first.notes, *second.notes]
    for name, answer in _laws(first, second).items():
        try:
            judgements.append(_judgement(name, answer, first.mixture, second.mixture))
        except BimixSweepError as error:
            notes.append(f"the law of {name} does not predict both mixtures: {error}")
    for name, answer in (("A", first), ("B", second)):
        if answer.problem is None:
            notes.append(f"{name} does not state its decision problem")
    return TwoAnswers(
        first=first,
        second=second,
        distance=total_variation(first.mixture.as_array(names), second.mixture.as_array(names)),
        questions=_questions(first, second),
        judgements=judgements,
        notes=tuple(dict.fromkeys(notes)),
    )


def _holds_recipe(place: str) -> bool:
    """Whether a JSON file holds a recipe; whoever reads the file as a law explains every fault."""
    try:
        content = parse_json(files.read_text(place))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "proportions" in content


def _problem(recipe: Recipe) -> ProblemStatement | None:
    content = recipe.provenance.get("problem")
    if not isinstance(content, dict):
        return None
    try:
        return ProblemStatement.from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError, BimixSweepError):
        return None


def _laws(first: Answer, second: Answer) -> dict[str, Answer]:
    """{name: answer with a law}; one entry where both have the same law and question."""
    found = {name: one for name, one in (("A", first), ("B", second)) if one.law is not None}
    if len(found) == 2 and first.law is not None and second.law is not None:
        same = first.law.digest == second.law.digest and not _questions(first, second)
        return {"A and B": first} if same else found
    return found


def _questions(first: Answer, second: Answer) -> tuple[str, ...]:
    """How the second problem differs from the first; empty where one of them is not known."""
    if first.problem is None or second.problem is None:
        return ()
    targets: dict[str, None] = {}
    for answer in (first, second):
        if answer.law is not None:
            targets |= dict.fromkeys(answer.law.targets)
        elif answer.recipe is not None:
            targets |= dict.fromkeys(answer.recipe.predicted_losses)
    return second.problem.differences(first.problem, tuple(targets))


def _judgement(name: str, answer: Answer, first: Mixture, second: Mixture) -> Judgement:
    law, problem = answer.law, answer.problem
    if law is None or problem is None:
        raise LawError("there is no law")
    step, size = compared_fidelity(law, problem)
    at = DecisionProblem.of(law, problem.domains, step=step, size=size)
    one, other = (
        beside(law, problem, mixture, first, step=at.step, size=at.size)
        for mixture in (first, second)
    )
    return Judgement(by=name, first=one, second=other, step=at.step, size=at.size)
