"""One training under Ray Tune.

Who may crash: this worker, its node, the driver, the actor. Who retries: Tune starts a training anew on another worker,
Ray repeats calls to an actor that restarts, a person resumes a sweep whose driver died. What makes that safe: a point
is recorded by the actor before Tune hears of it, recording is idempotent by (trial, step), the training goes on from its
checkpoint, and a training that the record says is finished is not run. What the trainer itself raises is not retried:
it would come again.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.exceptions import RayError

from bimix_sweep.errors import BimixSweepError, JournalError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.history import weighted_loss
from bimix_sweep.sweep.remote import ask, law_actor
from bimix_sweep.sweep.trainers import Trainer, TrialJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What all trainings of a sweep share."""

    actor: str
    """Name of the LawActor."""
    checkpoints: Path
    """Each training has a folder here."""
    weights: Mapping[str, float]
    """Of the targets, for the number that Tune and Optuna show."""
    objective: str
    threads: int
    """CPU threads of a training."""
    each: int
    """About how many trainings one worker runs."""
    trainer: Trainer


def proxy_training(training: Training) -> Callable[[dict[str, Any]], None]:
    """The function that Tune runs, again and again in the same process, so nothing is left over from one to the next."""

    def bimix_training(config: dict[str, Any]) -> None:
        _run(training, config)

    return bimix_training


def _run(training: Training, config: Mapping[str, Any]) -> None:
    os.environ["OMP_NUM_THREADS"] = str(training.threads)  # before the first import of torch; two pools on a core collapse
    trial: str = config["trial"]
    actor = law_actor(training.actor)
    begun = ask(actor.start.remote(trial, f"{os.uname().nodename}:{os.getpid()}"))
    if begun["state"] != "running":  # it ended, and whoever should have said so to Tune died
        tune.report(begun["result"])
        return
    folder = training.checkpoints / trial

    def report(step: int, losses: dict[str, float]) -> None:
        ask(actor.record.remote(trial, step, losses))
        objective = weighted_loss(losses, training.weights, training.objective)
        tune.report({"step": step, "objective": objective, **{f"loss_{target}": loss for target, loss in losses.items()}})

    try:
        precision = begun["precision"]
        if precision is None:
            precision = ask(actor.settle_precision.remote(training.trainer.precision(training.each)))
        training.trainer.train(
            TrialJob(
                trial=trial, mixture=Mixture.from_mapping(config["mixture"]), seed=config["seed"], checkpoint_dir=folder,
                precision=precision,
            ),
            report,
        )  # fmt: skip
    except (OSError, RayError, JournalError):
        raise  # not the training's fault: Tune tries again, from the checkpoint
    except Exception as error:  # noqa: BLE001 - a trainer's code may fail in any way; the record says how and the sweep goes on
        reason = _reason(error)
        ask(actor.abandon.remote(trial, reason))
        tune.report({"step": 0, "failed": reason})
    else:
        ask(actor.finish.remote(trial))
    shutil.rmtree(folder, ignore_errors=True)


def _reason(error: Exception) -> str:
    """One line."""
    words = " ".join(str(error).split())
    return words if isinstance(error, BimixSweepError) else f"{type(error).__name__}: {words}"
