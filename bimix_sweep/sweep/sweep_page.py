"""Makes the data of a sweep's page from its history."""

import math
import shlex

from bimix_sweep import locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.design.comparison import Comparison
from bimix_sweep.errors import LawError, TableError
from bimix_sweep.export.build_recipe import gain_of
from bimix_sweep.export.registry import texts
from bimix_sweep.law.fitting.fit_law import FittedLaw
from bimix_sweep.law.optimum.answer import not_tested
from bimix_sweep.law.optimum.optimal_mixture import Optimum
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.report.data import PathPoint, Progress, ReportData
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.snapshot import trials_to_go
from bimix_sweep.sweep.outcome import (
    answer_of,
    decided,
    failed_trials,
    last_failure,
    law_so_far,
    provenance_of,
    recipe_of,
)
from bimix_sweep.sweep.workspace.driver_state import driver_state


def page_data(history: SweepHistory, config: SweepConfig, progress: Progress) -> ReportData:
    """Data of the page of a sweep with its present results."""
    if history.confirmation is not None:
        return page_of(config, history, *decided(history), progress)
    try:
        law = law_so_far(history)
    except (LawError, TableError):  # too few points for a law, or none
        return page_of(config, history, None, None, None, progress)
    return page_of(config, history, law, answer_of(law), None, progress)


def progress_of(
    history: SweepHistory,
    folder: str,
    *,
    complete: bool = False,
    seconds_left: float | None = None,
) -> Progress:
    """State and cost of a sweep now.

    Args:
        history: history of the sweep.
        folder: folder or URI of the sweep.
        complete: whether its results are being written.
        seconds_left: expected seconds until the end; None where not known.
    """
    records = history.state.trials.values()
    driver = driver_state(folder)
    place = shlex.quote(str(folder))
    if complete or history.complete:
        recipe = shlex.quote(locations.join(folder, "RECIPE.json"))
        domains = shlex.quote(locations.join(folder, "domains.yaml"))
        state, words = "complete", ""
        command = f"bimix-sweep export {recipe} --to megatron-lm --domains {domains}"
    elif history.elsewhere:
        state, words = "running", "its trials run elsewhere"
        command = f"bimix-sweep propose {place}"
    elif driver.works is False:
        state, words, command = "stopped", driver.words, f"bimix-sweep resume {place}"
    else:
        state, words, command = "running", "", f"bimix-sweep watch {place}"
    if state == "stopped" and (failure := last_failure(history)):
        words = f"{words}; {failure}"
    done = sum(record.state != "running" for record in records)
    return Progress(
        state=state,  # type: ignore[arg-type]
        words=words,
        done=done,
        planned=done + trials_to_go(history),
        seconds_left=seconds_left,
        last_event=history.last_at,
        core_hours=history.hours.core_hours,
        gpu_hours=history.hours.gpu_hours,
        next_command=command,
    )


def page_of(
    config: SweepConfig,
    history: SweepHistory,
    law: FittedLaw | None,
    optimum: Optimum | None,
    comparison: Comparison | None,
    progress: Progress,
) -> ReportData:
    """Data of the page with a given law, optimum and comparison; None: there is none yet."""
    records = history.state.trials
    counted = any(record.points and record.state != "failed" for record in records.values())
    beyond = gain = None
    exports: dict[str, str] = {}
    if law is not None and optimum is not None and law.problem is not None:
        measured = comparison.recommended_mixture.mixture if comparison else None
        beyond = not_tested(optimum, law, law.problem, measured=measured)
        gain = gain_of(optimum, law, law.problem, comparison)
        exports = texts(recipe_of(history, law, optimum, comparison, config.public()))
    return ReportData(
        name=config.name,
        domains=history.spec.domains,
        table=history.state.trial_record.table() if counted else None,
        roles={name: record.role for name, record in records.items()},
        states={name: record.state for name, record in records.items()},
        failed=failed_trials(history),
        path=tuple(_path(history)),
        law=law,
        optimum=optimum,
        comparison=comparison,
        gain=gain,
        prior=history.spec.prior,
        kl=history.spec.kl,
        weights=history.spec.weights,
        objective=history.spec.objective,
        tolerance=history.spec.tolerance,
        stop_reason=history.decision.reason if history.decision else "",
        token_budget=config.final.tokens if config.final else None,
        beyond=beyond,
        progress=progress,
        exports=exports,
        seconds=history.seconds,
        provenance=provenance_of(history, config.public(), law),
    )


def _path(history: SweepHistory) -> list[PathPoint]:
    """The predicted optimum after each trial that ended."""
    last: dict[int, PathPoint] = {}
    for refit in history.refits:
        if refit.optimum is not None:
            last[refit.num_over] = PathPoint(
                num_trials=refit.num_trials,
                mixture=Mixture.from_mapping(refit.optimum.mixture),
                interval={
                    name: (low, high) for name, (low, high) in refit.optimum.interval.items()
                },
                regret_expected=_or_nan(refit.decision.regret_expected),
                regret_upper95=_or_nan(refit.decision.regret_upper95),
                movement_tv=refit.decision.movement_tv,
            )
    return list(last.values())


def _or_nan(value: float | None) -> float:
    """The number, or nan if it is not known."""
    return math.nan if value is None else value
