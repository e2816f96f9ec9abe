"""One training under Ray Tune.

Who may crash: this worker, its node, the driver, the actor. Who retries: Tune starts a training anew on another worker,
Ray repeats calls to an actor that restarts, a person resumes a sweep whose driver died. What makes that safe: a point
is recorded by the actor before Tune hears of it, recording is idempotent by (trial, step), the training goes on from its
checkpoint, and a training that the record says is finished is not run. What the trainer itself raises is not retried
here, as it would come again until a person mends the cause and resumes (`retries`). TryAgainError and OSError are, a
few times without a new point in between. A full disk fails no training: the sweep stops, and goes on when there is room.
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
from bimix_sweep.sweep.workspace.trial_log import TrainingLog

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
FULL_ATTEMPTS = 3
"""The same where the disk is full or read-only: then the sweep stops, because no training is to blame and the next one would meet the same."""
LONGEST_REASON = 2000
"""Characters of a failure's reason in the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What all trainings of a sweep share."""

    actor: str
    """Name of the LawActor."""
    checkpoints: str
    """Each training has a folder here, or a parcel."""
    weights: Mapping[str, float]
    """Of the targets, for the number that Tune and Optuna show."""
    objective: str
    goals: Goals
    """Direction and range of targets that are no plain losses."""
    threads: int
    """CPU threads of a training."""
    each: int
    """About how many trainings one worker runs."""
    trainer: Trainer
    folder: str
    """The sweep's, for logs."""
    nodes: int
    """Of a training."""
    resources: Mapping[str, float]
    """`cpu` and `gpu` of a training on each of its nodes."""


def proxy_training(training: Training) -> Callable[[dict[str, Any]], None]:
    """The function that Tune runs, again and again in the same process, so nothing is left over from one to the next."""

    def bimix_training(config: dict[str, Any]) -> None:
        _run(training, config)

    return bimix_training


def _run(training: Training, config: Mapping[str, Any]) -> None:
    os.environ["OMP_NUM_THREADS"] = str(
        training.threads
    )  # before the first import of torch; two pools on a core collapse
    trial: str = config["trial"]
    actor = law_actor(training.actor)
    cores, gpus = (training.nodes * training.resources[name] for name in ("cpu", "gpu"))
    begun = ask(actor.start.remote(trial, f"{os.uname().nodename}:{os.getpid()}", cores, gpus))
    checkpoint = Checkpoint(training.checkpoints, trial, begun.get("begun_anew", 0))
    if begun["state"] != "running":  # the attempt before died, or was told to stop
        if begun["state"] != "halted":
            checkpoint.drop()
        tune.report(begun["result"])
        return
    preempted = threading.Event()

    def report(step: int, losses: dict[str, float]) -> None:
        ask(actor.record.remote(trial, step, losses))
        checkpoint.keep()
        shown = {
            "step": step,
            "timesteps_total": step,
            "objective": weighted_loss(
                losses, training.weights, training.objective, training.goals
            ),
        }  # TensorBoard's axis is timesteps_total
        tune.report({**shown, **{f"loss_{target}": loss for target, loss in losses.items()}})

    try:
        _wait_for_better_times(begun["fruitless"])
        precision = begun["precision"]
        if precision is None:
            precision = ask(
                actor.settle_precision.remote(training.trainer.precision(training.each))
            )
        group = ray.util.get_current_placement_group() if training.nodes > 1 else None
        with (
            watching(_nodes(group), preempted, lambda: not ask(actor.alive.remote(trial))),
            contextlib.closing(TrainingLog(training.folder, trial)) as log,
        ):
            checkpoint.fetch(log.say)
            training.trainer.train(
                TrialJob(
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
                    peers=RayPeers(
                        group, training.nodes, training.resources, training.folder, trial
                    )
                    if group is not None
                    else None,
                ),
                report,
            )
    except (RayError, JournalError):
        checkpoint.close()
        raise  # not the training's fault: Tune tries again, from the checkpoint
    except (OSError, TryAgainError) as error:
        reason = _reason(error)
        full = isinstance(error, OSError) and error.errno in FULL
        if begun["fruitless"] < (FULL_ATTEMPTS if full else ATTEMPTS):
            with contextlib.suppress(OSError):
                checkpoint.keep(last=True)
            raise TryAgainError(reason) from None  # what Tune writes down of it is masked
        if full:
            _halt(actor, trial, reason, training.folder)
            checkpoint.close()
            tune.report({"step": 0, "failed": reason})  # to Tune alone
            return
        reason = f"{begun['fruitless']} attempts in a row brought no new point, the last ended with: {reason}"
        ask(actor.abandon.remote(trial, reason))
        tune.report({"step": 0, "failed": reason})
    except Exception as error:  # noqa: BLE001 - a trainer's code may fail in any way; the record says how and the sweep goes on
        reason = _reason(error)
        ask(actor.abandon.remote(trial, reason, _cause(error)))
        tune.report({"step": 0, "failed": reason})
    else:
        ask(actor.finish.remote(trial))
    checkpoint.drop()


def _halt(actor: Any, trial: str, reason: str, folder: str) -> None:
    """Have the sweep stop, to be resumed by a person."""
    advice = (
        f"make room, or mend the disk, and go on with: bimix-sweep resume {shlex.quote(folder)}"
    )
    ask(
        actor.halt.remote(
            f"{trial} cannot be trained on {os.uname().nodename} ({reason}); {advice}"
        )
    )


def _wait_for_better_times(fruitless: int) -> None:
    """Attempts at what can't go well now follow each other more and more slowly.

    Raises:
        TryAgainError: there were so many that this one, whose predecessors could not even say why, is not made.
    """
    if fruitless > ATTEMPTS:
        raise TryAgainError("its worker or its node died (out of memory?)")
    time.sleep(wait_seconds(fruitless))


def _nodes(group: Any) -> list[str]:
    """Ids of the nodes of a training."""
    if group is None:
        return [ray.get_runtime_context().get_node_id()]
    return sorted(ray.util.placement_group_table(group)["bundles_to_node_id"].values())


def _cause(error: Exception) -> Cause:
    """Whether the mixture and the learning rate may be to blame."""
    return "diverged" if isinstance(error, DivergedError) else "outside"


def _reason(error: Exception) -> str:
    """One line without credentials."""
    words = masked(" ".join(str(error).split()))
    if len(words) > LONGEST_REASON:
        words = words[: LONGEST_REASON // 2] + " ... " + words[-LONGEST_REASON // 2 :]
    return words if isinstance(error, BimixSweepError) else f"{type(error).__name__}: {words}"
