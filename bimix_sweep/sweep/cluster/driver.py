"""The driver: runs a sweep from the state in its journal to the results.

A first start, a restart after a crash or a stop, and a resume take the same path. The journal is
the only record. A driver opens the data, reads the journal through the LawActor, and gives Tune a
new experiment. The experiment's searcher first asks for the unfinished trials, which go on from
their checkpoints; finished trials are not run again. The driver deliberately does not use
`Tuner.restore`, because its snapshots lag behind, nor Optuna storage as a record, because the study
is computed from the journal.
"""

import contextlib
import hashlib
import math
import pickle
import shlex
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bimix_sweep import locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.design.initial_design import moved_references, too_few
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import BimixSweepError, SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.sweep.cluster.signals import Interrupt
from bimix_sweep.sweep.cluster.slots import Slots
from bimix_sweep.sweep.config_change import Change
from bimix_sweep.sweep.config_staging import settle
from bimix_sweep.sweep.history.attempts import AttemptLimits
from bimix_sweep.sweep.history.confirmation_trials import MAX_CONFIRMATION_TRIALS
from bimix_sweep.sweep.history.events import ChangeEvent, SweepEvent
from bimix_sweep.sweep.history.retries import RetryFailed
from bimix_sweep.sweep.history.spec import first_event
from bimix_sweep.sweep.results import write_results
from bimix_sweep.sweep.trainers.base import Trainer
from bimix_sweep.sweep.views.terminal import Progress
from bimix_sweep.sweep.workspace.paths import CHECKPOINTS, local_part

if TYPE_CHECKING:
    from bimix_sweep.sweep.cluster.lifeline import Lifeline

RETRIES = 6
"""Further attempts, in each of the searcher's turns, at a trial whose worker or node died; each
attempt goes on from the last checkpoint."""
CALLS = 64
"""Number of calls that the LawActor serves at a time; calls that wait for the disk share a
flush."""
START_SECONDS = 120
"""Seconds that the LawActor may take to start and read the journal."""
LOOK_SECONDS = 1.0
"""Seconds between two snapshots of the sweep for the progress view."""


def drive(
    config: SweepConfig,
    folder: str,
    trainer: Trainer,
    spec: SweepSpec,
    address: str | None,
    progress: Progress,
    interrupt: Interrupt,
    change: Change | None = None,
    retry_failed: RetryFailed = None,
) -> Recipe:
    """Runs a sweep from the state of its journal to the results, and returns the recipe.

    Args:
        config: the configuration of the sweep.
        folder: the folder or URI of the sweep.
        trainer: the trainer, already prepared.
        spec: the sweep's specification, made from configuration and data.
        address: address of the Ray cluster; None for embedded Ray.
        progress: the progress view, which also shows messages.
        interrupt: the handler of Ctrl-C and SIGTERM.
        change: a change of the sweep, which is made first; None without one.
        retry_failed: which failed trials to try again, as `resume_sweep` takes it.

    Raises:
        KeyboardInterrupt: a signal stopped the sweep.
        BimixSweepError: the sweep could not start or go on; the message says why.
    """
    from bimix_sweep.sweep.cluster.actor_client import ask
    from bimix_sweep.sweep.cluster.connection import cluster
    from bimix_sweep.sweep.cluster.lifeline import lifeline
    from bimix_sweep.sweep.cluster.worker_check import check_loadable

    if said := too_few(len(spec.domains), len(spec.fidelities), spec.max_trials):
        progress.say(f"warning: {said}")
    if said := moved_references(spec.domains):
        progress.say(said)
    with (
        cluster(address, config.resources) as found,
        _storage_told(folder),
        lifeline(address, folder, interrupt.fail) as line,
        _ray_told(folder, line, interrupt),
    ):
        interrupt.install()  # Ray has replaced the handler of SIGTERM
        check_loadable(trainer, config.resources, progress.say)
        name = f"law-{hashlib.blake2b(folder.encode(), digest_size=8).hexdigest()}"
        first = first_event(config, trainer.data, spec, found.slots())
        event = change.event(first) if change else None
        limits = AttemptLimits(
            max_silence=config.resources.max_silence, max_hours=config.resources.max_hours
        )
        actor = _start_actor(name, folder, first, event, limits)
        if event is not None:
            settle(folder, event)
        try:
            if found.dashboard:
                progress.say(
                    f"{found.slots()} trainings at a time; Ray dashboard at {found.dashboard}"
                )
            ask(actor.retry.remote(ask(actor.retriable.remote(retry_failed))))
            past = ask(actor.past.remote())
            if past:
                running = sum(trial.state == "running" for trial in past)
                progress.say(f"{len(past) - running} trainings are over and kept, {running} go on")
            with _watching(actor, progress):
                _run_tune(config, folder, trainer, spec, name, found.slots, past, interrupt)
            recipe = write_results(folder, config)
            ask(actor.complete.remote())
            for said in ask(actor.left_out.remote()):
                progress.say(said)
            ask(actor.close.remote())
        except KeyboardInterrupt:
            _let_go(actor)
            raise
    return recipe


def _run_tune(
    config: SweepConfig,
    folder: str,
    trainer: Trainer,
    spec: SweepSpec,
    actor: str,
    slots: Slots,
    past: list[Any],
    interrupt: Interrupt,
) -> None:
    """Runs one Tune experiment, up to the last confirmation trial.

    Raises:
        BimixSweepError: the search ended early.
    """
    from ray import tune

    from bimix_sweep.sweep.cluster.actor_client import RemotePlanner
    from bimix_sweep.sweep.cluster.callbacks import (
        InterruptStopper,
        KillsOverdue,
        MetricCleaner,
        NewestFirstScheduler,
        lost_workers_tried_again,
    )
    from bimix_sweep.sweep.cluster.searcher import SweepSearcher
    from bimix_sweep.sweep.cluster.trainable import Training, proxy_training

    planner = RemotePlanner(actor)
    searcher = SweepSearcher(planner, spec.domains.names, config.name, past, slots)
    training = Training(
        actor=actor,
        checkpoints=locations.join(folder, CHECKPOINTS),
        weights=spec.weights,
        objective=spec.objective,
        goals=spec.goals,
        threads=max(1, int(config.resources.cpu)),
        trainer=trainer,
        each=math.ceil((spec.max_trials + MAX_CONFIRMATION_TRIALS) / slots()),
        folder=folder,
        nodes=config.resources.nodes,
        resources={"cpu": config.resources.cpu, "gpu": config.resources.gpu},
    )
    bundle = {"CPU": config.resources.cpu} | (
        {"GPU": config.resources.gpu} if config.resources.gpu else {}
    )
    bundles = tune.PlacementGroupFactory(
        [bundle] * config.resources.nodes,
        strategy="STRICT_SPREAD" if config.resources.nodes > 1 else "PACK",
    )
    tuner = tune.Tuner(
        tune.with_resources(proxy_training(training), bundles),
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
            storage_path=str(local_part(folder)),
            verbose=0,
            stop=InterruptStopper(interrupt),
            callbacks=[MetricCleaner(), KillsOverdue(actor)],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    )
    try:
        with lost_workers_tried_again(), interrupt.loop():
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
            f"{shlex.quote(folder)}"
        )


@contextlib.contextmanager
def _storage_told(folder: str) -> Iterator[None]:
    """Turns a failure of the storage, met by Tune or by the results, into an error of one line.

    Raises:
        SweepError: the storage failed.
    """
    try:
        yield
    except (ConnectionError, TimeoutError):  # an error of Ray, not of the storage
        raise
    except OSError as error:
        raise SweepError(
            f"{folder} cannot be used ({error.strerror or error}); make room or mend it, and go on "
            f"with: bimix-sweep resume {shlex.quote(folder)}"
        ) from error


@contextlib.contextmanager
def _ray_told(folder: str, line: "Lifeline", interrupt: Interrupt) -> Iterator[None]:
    """Turns an error of Ray that no caller could handle into an error of one line.

    Raises:
        SweepError: the message says what died, or repeats the first line of Ray's message.
    """
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except (RayError, ConnectionError, RuntimeError) as error:
        interrupt.check()  # the signal to this process may have ended Ray's processes, too
        told = line.broken()
        if told is None:
            if not isinstance(error, RayError) or isinstance(error, RayTaskError):
                raise
            said = next(iter(str(error).splitlines()), "")
            told = SweepError(
                f"Ray ended the sweep ({type(error).__name__}: {said}); go on with: bimix-sweep "
                f"resume {shlex.quote(folder)}"
            )
        interrupt.fail(told, wake=False)  # calls to the remaining Ray processes may block
        raise told from error


def _start_actor(
    name: str, folder: str, first: SweepEvent, change: ChangeEvent | None, limits: AttemptLimits
) -> Any:
    """Starts the LawActor of the sweep on this node, and waits until it is ready.

    Raises:
        SweepError: another driver runs the sweep, or the actor did not start in time.
        JournalError: the journal does not fit the configuration and the data.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from bimix_sweep.sweep.cluster.actor_client import NAMESPACE, ask
    from bimix_sweep.sweep.cluster.gauges import SweepGauges
    from bimix_sweep.sweep.coordinator.actor import LawActor

    options = {
        # Without this setting each thread keeps the memory of the largest fit that ran on it.
        "runtime_env": {"env_vars": {"MALLOC_ARENA_MAX": "2"}},
        "name": name,
        "namespace": NAMESPACE,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": -1,
        "max_concurrency": CALLS,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        ),
    }
    try:
        actor = (
            ray.remote(LawActor)
            .options(**options)
            .remote(folder, first, publish=SweepGauges(folder), change=change, limits=limits)
        )
    except ValueError as error:
        raise SweepError(
            f"{folder}: another driver runs this sweep on the cluster; stop that one first"
        ) from error
    import ray.tune  # the actor starts during this import, which takes a second

    try:
        ask(actor.ready.remote(), timeout=START_SECONDS)
    except ray.exceptions.GetTimeoutError as error:
        raise SweepError(
            f"{folder}: the LawActor did not start in {START_SECONDS} seconds; look at Ray's logs "
            "on this node"
        ) from error
    return actor


def _let_go(actor: Any) -> None:
    """Makes the actor close the journal now.

    The next driver then need not wait until the cluster notices that this driver is gone.
    """
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(actor.close.remote(), timeout=5)


@contextlib.contextmanager
def _watching(actor: Any, progress: Progress) -> Iterator[None]:
    """Updates the progress view from a thread while the main thread is in Tune."""
    from ray.exceptions import RayError

    from bimix_sweep.sweep.cluster.actor_client import ask

    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            # The main thread meets the same error and reports it.
            with contextlib.suppress(RayError, BimixSweepError):
                progress.show(ask(actor.snapshot.remote()))

    thread = threading.Thread(target=look, name="progress", daemon=True)
    thread.start()
    try:
        yield
        progress.show(ask(actor.snapshot.remote()))
    finally:
        over.set()
        thread.join(timeout=5)


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial"])
