"""One Ray Tune experiment: runs a prepared sweep up to its last confirmation trial."""

import math
import pickle
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bimix_sweep import locations
from bimix_sweep.config import ResourcesConfig, SweepConfig
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.cluster.signals import Interrupt
from bimix_sweep.sweep.cluster.slots import Slots
from bimix_sweep.sweep.coordinator.past_trials import PastTrial
from bimix_sweep.sweep.history.confirmation_trials import max_confirmation_trials
from bimix_sweep.sweep.trainers.base import Trainer
from bimix_sweep.sweep.workspace.paths import CHECKPOINTS, local_part

if TYPE_CHECKING:
    from ray.tune import PlacementGroupFactory, Tuner

    from bimix_sweep.sweep.cluster.searcher import SweepSearcher
    from bimix_sweep.sweep.cluster.trainable import TrialSettings

RETRIES = 6
"""Times that Tune starts a trial again whose worker or node died, each time that the searcher gives
the trial to Tune; each start goes on from the last checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSweep:
    """A sweep that is ready to run."""

    config: SweepConfig
    """The configuration of the sweep."""
    folder: str
    """The folder or URI of the sweep."""
    trainer: Trainer
    """The trainer, already prepared."""
    spec: SweepSpec
    """The sweep's specification, made from configuration and trainer."""


def run_tune(
    sweep: PreparedSweep, actor: str, slots: Slots, past: list[PastTrial], interrupt: Interrupt
) -> None:
    """Runs one Tune experiment, up to the last confirmation trial.

    Args:
        sweep: the sweep.
        actor: name of its LawActor.
        slots: returns how many trials may run at a time.
        past: all trials of the journal.
        interrupt: the handler of Ctrl-C and SIGTERM.

    Raises:
        BimixSweepError: the search ended early.
    """
    from bimix_sweep.sweep.cluster.actor_client import RemotePlanner
    from bimix_sweep.sweep.cluster.callbacks import (
        lost_workers_tried_again,
        without_unused_imports,
    )
    from bimix_sweep.sweep.cluster.searcher import SweepSearcher

    planner = RemotePlanner(actor)
    searcher = SweepSearcher(planner, sweep.spec.domains.names, sweep.config.name, past, slots)
    tuner = _tuner(sweep, _trial_settings(sweep, actor, slots), searcher, interrupt)
    try:
        with lost_workers_tried_again(), without_unused_imports(), interrupt.loop():
            tuner.fit()
    # On a full disk Tune fails when it reads its own half-written files.
    except (OSError, EOFError, pickle.UnpicklingError):
        if searcher.error is None:
            raise
    if searcher.error is not None:
        raise searcher.error
    if not planner.over():
        raise SweepError(
            "Ray Tune ended before the sweep did; go on with: bimix-sweep resume "
            f"{shlex.quote(sweep.folder)}"
        )


def _trial_settings(sweep: PreparedSweep, actor: str, slots: Slots) -> "TrialSettings":
    from bimix_sweep.sweep.cluster.trainable import TrialSettings

    spec, resources = sweep.spec, sweep.config.resources
    return TrialSettings(
        actor=actor,
        checkpoints=locations.join(sweep.folder, CHECKPOINTS),
        weights=spec.weights,
        objective=spec.objective,
        goals=spec.goals,
        threads=max(1, int(resources.cpu)),
        trainer=sweep.trainer,
        trials_per_worker=math.ceil((spec.max_trials + max_confirmation_trials(spec)) / slots()),
        folder=sweep.folder,
        nodes=resources.nodes,
        resources={"cpu": resources.cpu, "gpu": resources.gpu},
    )


def _tuner(
    sweep: PreparedSweep,
    settings: "TrialSettings",
    searcher: "SweepSearcher",
    interrupt: Interrupt,
) -> "Tuner":
    from ray import tune

    from bimix_sweep.sweep.cluster.callbacks import (
        InterruptStopper,
        KillsOverdue,
        MetricCleaner,
        NewestFirstScheduler,
    )
    from bimix_sweep.sweep.cluster.trainable import trial_function

    return tune.Tuner(
        tune.with_resources(trial_function(settings), _bundles(sweep.config.resources)),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=NewestFirstScheduler(searcher.lost),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(local_part(sweep.folder)),
            verbose=0,
            stop=InterruptStopper(interrupt),
            callbacks=[MetricCleaner(), KillsOverdue(settings.actor)],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    )


def _bundles(resources: ResourcesConfig) -> "PlacementGroupFactory":
    """Returns the resources of a trial: one bundle for each of its nodes, on different nodes."""
    from ray import tune

    bundle = {"CPU": resources.cpu} | ({"GPU": resources.gpu} if resources.gpu else {})
    return tune.PlacementGroupFactory(
        [bundle] * resources.nodes,
        strategy="STRICT_SPREAD" if resources.nodes > 1 else "PACK",
    )


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"])
