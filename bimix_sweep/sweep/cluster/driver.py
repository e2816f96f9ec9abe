"""A driver: from wherever the journal is to the results. Crash, stop and resume take this same path.

The journal is the truth. A driver that starts, for the first time or again, opens the data, reads the journal through
the LawActor, and gives Tune a fresh experiment whose searcher first asks for the unfinished trainings; these go on from
their checkpoints, and finished ones are not run again. Deliberately not done: `Tuner.restore` (its snapshots lag behind
what happened), Optuna storage as a record (the study is a view).
"""

import contextlib
import hashlib
import math
import pickle
import shlex
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bimix_sweep import files
from bimix_sweep.config import SweepConfig
from bimix_sweep.design.initial_design import moved_references, too_few
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import BimixSweepError, SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.journal.codec import Event
from bimix_sweep.sweep.cluster.signals import Interrupt
from bimix_sweep.sweep.cluster.slots import Slots
from bimix_sweep.sweep.config_change import Change
from bimix_sweep.sweep.config_staging import settle
from bimix_sweep.sweep.history.attempts import AttemptLimits
from bimix_sweep.sweep.history.confirmation_trials import MOST_FINALS
from bimix_sweep.sweep.history.retries import RetryFailed
from bimix_sweep.sweep.history.spec import first_event
from bimix_sweep.sweep.results import write_results
from bimix_sweep.sweep.trainers.base import Trainer
from bimix_sweep.sweep.views.terminal import Progress
from bimix_sweep.sweep.workspace.paths import CHECKPOINTS, local_part

if TYPE_CHECKING:
    from bimix_sweep.sweep.cluster.lifeline import Lifeline

RETRIES = 6
"""Further attempts, in each of the searcher's turns, at a training whose worker or node died; each goes on from the last checkpoint."""
CALLS = 64
"""Calls the LawActor serves at a time; those that wait for the disk share a flush."""
START_SECONDS = 120
"""For the LawActor to start and read the journal."""
LOOK_SECONDS = 1.0
"""Between looks at the sweep for the progress view."""


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
    """From wherever the journal is, over a change of the sweep where there is one, to the results."""
    from bimix_sweep.sweep.cluster.actor_client import ask
    from bimix_sweep.sweep.cluster.connection import cluster
    from bimix_sweep.sweep.cluster.lifeline import lifeline
    from bimix_sweep.sweep.cluster.worker_check import check_loadable

    if said := too_few(len(spec.domains), len(spec.scales), spec.max_trials):
        progress.say(f"warning: {said}")
    if said := moved_references(spec.domains):
        progress.say(said)
    with (
        cluster(address, config.resources) as found,
        _storage_told(folder),
        lifeline(address, folder, interrupt.fail) as line,
        _ray_told(folder, line, interrupt),
    ):
        interrupt.install()  # Ray has taken SIGTERM over
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
    """One Tune experiment, from here to the last final training.

    Raises:
        BimixSweepError: what ended the search early.
    """
    from ray import tune

    from bimix_sweep.sweep.cluster.actor_client import RemotePlanner
    from bimix_sweep.sweep.cluster.callbacks import (
        Forgetting,
        KillsOverdue,
        NewestFirst,
        SafePoint,
        lost_workers_tried_again,
    )
    from bimix_sweep.sweep.cluster.searcher import SweepSearcher
    from bimix_sweep.sweep.cluster.trainable import Training, proxy_training

    planner = RemotePlanner(actor)
    searcher = SweepSearcher(planner, spec.domains.names, config.name, past, slots)
    training = Training(
        actor=actor,
        checkpoints=files.join(folder, CHECKPOINTS),
        weights=spec.weights,
        objective=spec.objective,
        goals=spec.goals,
        threads=max(1, int(config.resources.cpu)),
        trainer=trainer,
        each=math.ceil((spec.max_trials + MOST_FINALS) / slots()),
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
            scheduler=NewestFirst(searcher.lost),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(local_part(folder)),
            verbose=0,
            stop=SafePoint(interrupt),
            callbacks=[Forgetting(), KillsOverdue(actor)],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    )
    try:
        with lost_workers_tried_again(), interrupt.loop():
            tuner.fit()
    except (
        OSError,
        EOFError,
        pickle.UnpicklingError,
    ):  # on a full disk Tune trips over its own half-written files
        if searcher.error is None:
            raise
    if searcher.error is not None:
        raise searcher.error
    if not planner.over():
        raise SweepError(
            f"Ray Tune ended before the sweep did; go on with: bimix-sweep resume {shlex.quote(folder)}"
        )


@contextlib.contextmanager
def _storage_told(folder: str) -> Iterator[None]:
    """What Tune or the results meet on a full or broken disk ends in one line, too.

    Raises:
        SweepError: the storage failed.
    """
    try:
        yield
    except (ConnectionError, TimeoutError):  # of Ray, not of the storage
        raise
    except OSError as error:
        raise SweepError(
            f"{folder} cannot be used ({error.strerror or error}); make room or mend it, and go on with: bimix-sweep resume {shlex.quote(folder)}"
        ) from error


@contextlib.contextmanager
def _ray_told(folder: str, line: "Lifeline", interrupt: Interrupt) -> Iterator[None]:
    """An error of Ray that nobody could do anything about ends in one line.

    Raises:
        SweepError: what died, or what Ray said.
    """
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except (RayError, ConnectionError, RuntimeError) as error:
        interrupt.check()  # a signal that ended Ray's processes, too
        told = line.broken()
        if told is None:
            if not isinstance(error, RayError) or isinstance(error, RayTaskError):
                raise
            said = next(iter(str(error).splitlines()), "")
            told = SweepError(
                f"Ray ended the sweep ({type(error).__name__}: {said}); go on with: bimix-sweep "
                f"resume {shlex.quote(folder)}"
            )
        interrupt.fail(told, wake=False)  # what is left of Ray may not let go
        raise told from error


def _start_actor(
    name: str, folder: str, first: Event, change: Event | None, limits: AttemptLimits
) -> Any:
    """The sweep's LawActor, on this node.

    Raises:
        SweepError, JournalError: another driver runs the sweep, or the journal does not fit configuration and data.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from bimix_sweep.sweep.cluster.actor_client import NAMESPACE, ask
    from bimix_sweep.sweep.cluster.gauges import SweepGauges
    from bimix_sweep.sweep.coordinator.actor import LawActor

    options = {
        "runtime_env": {
            "env_vars": {"MALLOC_ARENA_MAX": "2"}
        },  # else each of its threads keeps what the largest fit on it took
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
    import ray.tune  # takes a second, in which the actor starts

    try:
        ask(actor.ready.remote(), timeout=START_SECONDS)
    except ray.exceptions.GetTimeoutError as error:
        raise SweepError(
            f"{folder}: the LawActor did not start in {START_SECONDS} seconds; look at Ray's logs on this node"
        ) from error
    return actor


def _let_go(actor: Any) -> None:
    """Have the journal closed now, so that the next driver need not wait until a cluster notices that this one is gone."""
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(actor.close.remote(), timeout=5)


@contextlib.contextmanager
def _watching(actor: Any, progress: Progress) -> Iterator[None]:
    """Show the sweep from a thread while the main one is in Tune."""
    from ray.exceptions import RayError

    from bimix_sweep.sweep.cluster.actor_client import ask

    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            with contextlib.suppress(
                RayError, BimixSweepError
            ):  # the main thread meets the same and reports it
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
