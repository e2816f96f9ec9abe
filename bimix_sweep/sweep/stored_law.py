"""Loads the law of a sweep from its folder, or a law from a `LAW.json`.

For a sweep, the law is the one that the confirmation trials test. Before these are decided, it is a
law of all points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.design.comparison import Comparison
from bimix_sweep.errors import ConfigError, LawError, SweepError, TableError
from bimix_sweep.export.build_recipe import build_recipe
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.law.fitting.fit_law import FittedLaw
from bimix_sweep.law.optimum.answer import answer, best_mixture
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.parsing import parse_json
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.outcome import decided, law_so_far, recipe_of
from bimix_sweep.sweep.workspace.paths import CONFIG, begun, sweep_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLaw:
    """A law and its origin."""

    law: FittedLaw
    """The law, with the problem that it was made to answer if one is stored."""
    notes: Sequence[str] = ()
    """Messages that the user should read before using the law."""
    history: SweepHistory | None = None
    """History of the sweep whose folder was read; None for a `LAW.json`."""
    comparison: Comparison | None = None
    """Comparison of the sweep's confirmation trials; None before all of them ended."""

    @property
    def problem(self) -> ProblemStatement:
        """The law's own problem.

        If none is stored, the problem weights all targets equally and allows all mixtures of the
        law's domains.
        """
        return self.law.problem or ProblemStatement(domains=DomainSet(names=self.law.domains))

    def changes(self, problem: ProblemStatement) -> tuple[str, ...]:
        """How a problem differs from the law's own one, in words; empty where it does not."""
        return problem.differences(self.problem, self.law.targets)

    @property
    def recommended(self) -> Mixture:
        """The mixture that is recommended for the law's own problem.

        It is that of the confirmation trials where they have ended, else the predicted optimum.

        Raises:
            OptimumError, MixtureError: the law cannot answer the problem.
        """
        if self.comparison is not None:
            return self.comparison.recommended_mixture.mixture
        return best_mixture(self.law, self.problem).mixture

    def recipe(self, problem: ProblemStatement, within: float, source: Mapping[str, Any]) -> Recipe:
        """The recipe that answers a problem.

        The answer to the sweep's own problem, with any baseline of the gain, includes the result of
        its confirmation trials.

        Args:
            problem: the problem to answer.
            within: width of the near-optimal region, as a fraction of the objective.
            source: origin of the law, for the provenance of an answer to another problem.

        Raises:
            OptimumError, MixtureError: the law cannot answer the problem.
        """
        best = answer(self.law, problem, within=within)
        own = self.law.problem
        same = own is not None and replace(problem, today=own.today) == own
        if self.history is not None and same:
            law, config = replace(self.law, problem=problem), self.history.first.config
            return recipe_of(self.history, law, best, self.comparison, config)
        return build_recipe(best, self.law, problem, provenance=source)


def is_sweep(place: str) -> bool:
    """Whether a sweep has begun in that folder or URI; a file is no sweep.

    Raises:
        ConfigError: the URI contains a secret.
    """
    folder = (
        not place.partition("?")[0].endswith(".json")
        if locations.is_uri(place)
        else Path(place).is_dir()
    )
    return folder and begun(sweep_folder(place))


def stored_law(place: str) -> StoredLaw:
    """Loads the law of a sweep's folder or of a `LAW.json`, with its origin.

    Args:
        place: path or URI of either.

    Raises:
        LawError: the place is neither of them, or the sweep's points determine no law yet.
        JournalError: the journal is damaged.
    """
    if is_sweep(place):
        return law_of_sweep(place)
    try:
        return StoredLaw(law=FittedLaw.from_json(parse_json(files.read_text(place))))
    except OSError as error:
        raise LawError(
            f"{place} cannot be read ({error.strerror or error}); need the folder of a sweep that "
            "has begun, or a law written by bimix-sweep fit"
        ) from error
    except ValueError as error:
        raise LawError(f"{place} is {error}; need a law written by bimix-sweep fit") from error
    except LawError as error:
        raise LawError(f"{place}: {error}") from error


def load_law(place: str | Path) -> FittedLaw:
    """Loads the law of a `LAW.json`, or of a sweep's folder or URI.

    Args:
        place: path or URI of either.

    Raises:
        LawError: the place is neither of them, or the sweep's points determine no law yet.
        JournalError: the journal is damaged.
    """
    return stored_law(str(place)).law


def law_of_sweep(folder: str) -> StoredLaw:
    """The law that the confirmation trials of a sweep test.

    Before these are decided, the function fits a law to all points. It writes nothing and does not
    disturb a running driver.

    Raises:
        LawError: the points determine no law yet.
        JournalError: the journal is damaged.
    """
    history = replay(sweep_folder(folder))
    notes = _edited(folder, history)
    if history.confirmation is not None:
        law, _, comparison = decided(history)
        if not history.complete:
            notes.append(
                f"{folder}: the confirmation trials have not all ended ({len(history.running())} of them "
                "run), so the recipe may still change; this is the law that they test"
            )
        return StoredLaw(law=law, notes=notes, history=history, comparison=comparison)
    records = [record for record in history.state.trials.values() if record.role == "sweep"]
    finished = sum(record.state == "finished" for record in records)
    state = f"{len(records)} trials begun, {finished} finished"
    try:
        law = law_so_far(history)
    except (LawError, TableError) as error:
        raise LawError(
            f"{folder}: the sweep has no law yet ({state}): {error}; wait for more trials"
        ) from error
    notes.append(
        f"{folder}: the sweep has not ended ({state}); the law is fitted to the losses so far"
    )
    return StoredLaw(law=law, notes=notes, history=history)


def _edited(folder: str, history: SweepHistory) -> list[str]:
    """Notes for the user if the folder's configuration differs from the sweep's."""
    try:
        config = SweepConfig.load(locations.join(sweep_folder(folder), CONFIG))
    except ConfigError:  # the journal holds the sweep's own configuration
        return []
    if config.digest == history.first.config_digest:
        return []
    return [
        f"{folder}: {CONFIG} was changed since the sweep last ran; this answers the problem that "
        f"it ran with, and bimix-sweep resume {folder} goes on with the changed one"
    ]


def finished_recipe(folder: str) -> str:
    """Path of the recipe of a finished sweep.

    Raises:
        SweepError: the sweep is not finished, or it continues after a change, so the stored recipe
            is not its answer.
    """
    folder = sweep_folder(folder)
    history, path = replay(folder), locations.join(folder, "RECIPE.json")
    if not history.complete:
        old = "; the RECIPE.json there is of before it went on" if files.exists(path) else ""
        raise SweepError(
            f"{folder}: the sweep is not finished{old}; finish it, or take what it knows so far "
            f"with: bimix-sweep optimum {folder} -o RECIPE.json"
        )
    return path
