"""Extends a sweep's budget of trials, unless the sweep would end at once all the same."""

from dataclasses import replace

from bimix_sweep import locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.design.stopping import Decision
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.config_change import extended
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.refits import judged_again
from bimix_sweep.sweep.workspace.paths import CONFIG, begun


def extension(folder: str, trials: int) -> SweepConfig:
    """The folder's configuration with a budget of `trials` more trials than the journal's.

    The configuration may have been edited.

    Raises:
        SweepError: no sweep has begun in the folder, or the sweep is settled under the new
            configuration too, so that more trials would not run.
    """
    if not begun(folder):
        raise SweepError(f"{folder} holds no sweep that has begun; start one with: bimix-sweep run")
    history = replay(folder)
    if not history.first.config:
        raise SweepError(
            f"{folder}: its journal does not hold its configuration; raise budget.trials in "
            f"{CONFIG} and resume"
        )
    current = SweepConfig.load(locations.join(folder, CONFIG))
    budget = current.budget.model_copy(update={"trials": history.spec.max_trials})
    wanted = extended(current.model_copy(update={"budget": budget}), trials)
    if (settled := _settled(history, wanted)) is not None:
        reached = (
            "that regret" if settled.regret_expected is None else f"{settled.regret_expected:.2g}"
        )
        raise SweepError(
            f"{folder}: the sweep is settled ({settled.reason}), so more trials would not "
            f"run; to go on, lower stop.tolerance in {CONFIG} below {reached} and extend "
            "again"
        )
    return wanted


def _settled(history: SweepHistory, wanted: SweepConfig) -> Decision | None:
    """The decision by which the sweep would end at once under the configuration `wanted`.

    None if the sweep would continue, or if more than budget and stopping differ from the journal's
    configuration.
    """
    began = SweepConfig.parse(history.first.config, where="the configuration in the journal")
    if (
        history.decision is None
        or wanted.model_copy(update={"budget": began.budget, "stop": began.stop}).digest
        != began.digest
    ):
        return None
    rule = replace(
        history.spec.rule,
        tolerance=wanted.stop.tolerance,
        patience=wanted.stop.patience,
        max_trials=wanted.budget.trials,
    )
    judged = judged_again(history.refits, rule)
    last = judged[-1].decision if judged else None
    return last if last is not None and last.streak >= rule.patience else None
