"""The function that runs one trial under Ray Tune.

This worker, its node, the driver and the actor may crash. Tune then starts the trial on another
worker, Ray repeats calls to an actor that restarts, and a person resumes a sweep whose driver died.
Repeating is safe for four reasons: the actor records a point before Tune receives it, recording is
idempotent by (trial, step), a trial goes on from its checkpoint, and a trial that is finished
according to the record is not run.

An error of the trainer's own code is not retried here, because it would come again until a person
removes the cause and resumes the sweep (`retries`). TryAgainError and OSError are retried a few
times without a new point in between. A full disk does not make a trial fail: the sweep stops, and
goes on when there is room.
"""

import contextlib
import errno
import os
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError

from bimix_sweep.design.trial import Cause
from bimix_sweep.errors import BimixSweepError, DivergedError, JournalError, TryAgainError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.goals import Goals
from bimix_sweep.mixture.objective import weighted_loss
from bimix_sweep.sweep.cluster.actor_client import ask, law_actor
from bimix_sweep.sweep.cluster.preemption import RayPeers, watching
from bimix_sweep.sweep.history.attempts import ATTEMPTS, wait_seconds
from bimix_sweep.sweep.trainers.base import Trainer, TrialJob
from bimix_sweep.sweep.workspace.archive import Checkpoint
from bimix_sweep.sweep.workspace.redaction import masked
from bimix_sweep.sweep.workspace.trial_log import TrialLog

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Error numbers of a disk that is full or read-only."""
FULL_ATTEMPTS = 3
"""Attempts without a new point where the disk is full or read-only; then the sweep stops, because
the trial is not to blame and the next one would meet the same error."""
MAX_REASON = 2000
"""Maximum number of characters of a failure's reason in the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSettings:
    """Settings that all trials of a sweep share."""

    actor: str
    """Name of the LawActor."""
    checkpoints: str
    """Folder or URI in which each trial has its checkpoint, as a folder or as an archive."""
    weights: Mapping[str, float]
    """Weights of the targets, for the objective that Tune and Optuna show."""
    objective: str
    """How the targets' losses are combined into one objective, as `weighted_loss` takes it."""
    goals: Goals
    """Direction and range of targets that are not plain losses."""
    threads: int
    """CPU threads of a trial."""
    trials_per_worker: int
    """Approximate number of trials that one worker runs."""
    trainer: Trainer
    """The prepared trainer."""
    folder: str
    """Folder or URI of the sweep, for logs."""
    nodes: int
    """Number of nodes of a trial."""
    resources: Mapping[str, float]
    """`cpu` and `gpu` of a trial on each of its nodes."""


def trial_function(settings: TrialSettings) -> Callable[[dict[str, Any]], None]:
    """Returns the function that Tune runs for each trial.

    Tune calls the function many times in one process, so no trial leaves anything for the next.
    """

    def bimix_trial(config: dict[str, Any]) -> None:
        _run(settings, config)

    return bimix_trial


def _run(settings: TrialSettings, config: Mapping[str, Any]) -> None:
    """Runs one attempt at a trial and records how it ended."""
    # Set before the first import of torch; two thread pools on one core are very slow.
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    trial: str = config["trial"]
    actor = law_actor(settings.actor)
    cores, gpus = (settings.nodes * settings.resources[name] for name in ("cpu", "gpu"))
    begun = ask(actor.start.remote(trial, f"{os.uname().nodename}:{os.getpid()}", cores, gpus))
    checkpoint = Checkpoint(settings.checkpoints, trial, begun.get("begun_anew", 0))
    # The trial has ended in an earlier attempt, or the sweep was halted.
    if begun["state"] != "running":
        if begun["state"] != "halted":
            checkpoint.drop()
        tune.report(begun["result"])
        return
    try:
        _back_off(begun["fruitless"])
        _train(settings, config, actor, begun, checkpoint)
    except (RayError, JournalError):
        checkpoint.close()
        raise  # the trial is not to blame: Tune tries again, from the checkpoint
    except (OSError, TryAgainError) as error:
        if not _give_up(settings, trial, actor, begun["fruitless"], error, checkpoint):
            return
    # A trainer's code may fail in any way; the record says how, and the sweep goes on.
    except Exception as error:  # noqa: BLE001
        reason = _reason(error)
        ask(actor.abandon.remote(trial, reason, _cause(error)))
        tune.report({"step": 0, "failed": reason})
    else:
        ask(actor.finish.remote(trial))
    checkpoint.drop()


def _train(
    settings: TrialSettings,
    config: Mapping[str, Any],
    actor: Any,
    begun: Mapping[str, Any],
    checkpoint: Checkpoint,
) -> None:
    """Trains the trial from its checkpoint; every point is recorded before Tune receives it.

    Args:
        settings: settings that all trials share.
        config: the order of the trial, as the searcher gave it to Tune.
        actor: handle of the LawActor.
        begun: answer of the actor to the start of this attempt.
        checkpoint: the trial's checkpoint.
    """
    trial: str = config["trial"]
    preempted = threading.Event()

    def report(step: int, losses: dict[str, float]) -> None:
        ask(actor.record.remote(trial, step, losses))
        checkpoint.keep()
        shown = {
            "step": step,
            "timesteps_total": step,  # TensorBoard's axis
            "objective": weighted_loss(
                losses, settings.weights, settings.objective, settings.goals
            ),
        }
        tune.report({**shown, **{f"loss_{target}": loss for target, loss in losses.items()}})

    precision = begun["precision"]
    if precision is None:
        chosen = settings.trainer.precision(settings.trials_per_worker)
        precision = ask(actor.settle_precision.remote(chosen))
    group = ray.util.get_current_placement_group() if settings.nodes > 1 else None
    with (
        watching(_nodes(group), preempted, lambda: not ask(actor.alive.remote(trial))),
        contextlib.closing(TrialLog(settings.folder, trial)) as log,
    ):
        checkpoint.fetch(log.say)
        job = TrialJob(
            trial=trial,
            mixture=Mixture.from_mapping(config["mixture"]),
            seed=config["seed"],
            checkpoint_dir=checkpoint.folder,
            precision=precision,
            recorded=tuple(begun["recorded"]),
            preempted=preempted,
            say=log.say,
            last_words=log.last_words,
            size=config.get("size"),
            steps=config.get("steps"),
            peers=None
            if group is None
            else RayPeers(group, settings.nodes, settings.resources, settings.folder, trial),
        )
        settings.trainer.train(job, report)


def _give_up(
    settings: TrialSettings,
    trial: str,
    actor: Any,
    fruitless: int,
    error: OSError | TryAgainError,
    checkpoint: Checkpoint,
) -> bool:
    """Abandons a trial, or halts the sweep, after too many attempts without a new point.

    Returns:
        True where the trial has failed for good; False where the sweep was halted instead, because
        the disk is full or read-only.

    Raises:
        TryAgainError: another attempt is made, from the checkpoint.
    """
    reason = _reason(error)
    full = isinstance(error, OSError) and error.errno in FULL
    if fruitless < (FULL_ATTEMPTS if full else ATTEMPTS):
        with contextlib.suppress(OSError):
            checkpoint.keep(last=True)
        raise TryAgainError(reason) from None  # Tune writes down the masked reason only
    if full:
        _halt(actor, trial, reason, settings.folder)
        checkpoint.close()
        tune.report({"step": 0, "failed": reason})  # for Tune only, not for the record
        return False
    reason = f"{fruitless} attempts in a row brought no new point, the last ended with: {reason}"
    ask(actor.abandon.remote(trial, reason))
    tune.report({"step": 0, "failed": reason})
    return True


def _halt(actor: Any, trial: str, reason: str, folder: str) -> None:
    """Stops the sweep, until a person resumes it."""
    advice = (
        f"make room, or mend the disk, and go on with: bimix-sweep resume {shlex.quote(folder)}"
    )
    ask(
        actor.halt.remote(
            f"{trial} cannot be trained on {os.uname().nodename} ({reason}); {advice}"
        )
    )


def _back_off(fruitless: int) -> None:
    """Waits before a retry, with exponential back-off.

    Raises:
        TryAgainError: so many attempts ended without even a reason that this one is not made.
    """
    if fruitless > ATTEMPTS:
        raise TryAgainError("its worker or its node died (out of memory?)")
    time.sleep(wait_seconds(fruitless))


def _nodes(group: Any) -> list[str]:
    """Returns the ids of the nodes of a trial."""
    if group is None:
        return [ray.get_runtime_context().get_node_id()]
    return sorted(ray.util.placement_group_table(group)["bundles_to_node_id"].values())


def _cause(error: Exception) -> Cause:
    """Returns "diverged" if the mixture and the learning rate may be to blame, else "outside"."""
    return "diverged" if isinstance(error, DivergedError) else "outside"


def _reason(error: Exception) -> str:
    """Returns the text of an error as one line without credentials."""
    words = masked(" ".join(str(error).split()))
    if len(words) > MAX_REASON:
        words = words[: MAX_REASON // 2] + " ... " + words[-MAX_REASON // 2 :]
    return words if isinstance(error, BimixSweepError) else f"{type(error).__name__}: {words}"
