"""Trainer `{command: [...]}`: runs a program of the user's for each trial.

The program reads a job file and writes its points as JSON lines to its standard output.
"""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimix_sweep.config import CommandConfig, SweepConfig
from bimix_sweep.errors import ConfigError, TrainingError, TryAgainError
from bimix_sweep.sweep.trainers.base import Report, TrialJob
from bimix_sweep.sweep.trainers.command_process import (
    GRACE_SECONDS,
    TRY_AGAIN,
    Order,
    exit_words,
    find_program,
    supervise,
)
from bimix_sweep.sweep.trainers.user_trainer import Points, UserTrainer, configured_fields

LOCK = ".training.lock"
"""Name of the lock file in a checkpoint folder; the process that trains there holds the lock."""


@dataclass(frozen=True, kw_only=True)
class CommandTrainer(UserTrainer):
    """Runs the command under a supervisor process and records the points that it writes."""

    command: tuple[str, ...]
    folder: str
    nodes: int
    """Number of nodes; the command is started once on each of them."""

    def train(self, job: TrialJob, report: Report) -> None:
        """Runs the command on every node and records its points.

        Raises:
            TryAgainError: the command asked for another attempt, its node is about to be taken
                away, an earlier attempt still holds the checkpoint, or the supervisor was killed.
            TrainingError: the command failed, cannot be started, or ended without its last point.
        """
        points = Points(self, job, report)
        job.checkpoint_dir.mkdir(parents=True, exist_ok=True)

        def take_line(line: str) -> None:
            point = _point(line)
            if point is None:
                job.say(line)
            else:
                points.take(*point)

        peer_failed: TrainingError | None = None

        def stop() -> bool:
            nonlocal peer_failed
            peer_failed = peer_failed or (job.peers.failed() if job.peers is not None else None)
            return job.preempted.is_set() or peer_failed is not None

        first, *others = self._orders(job)
        try:
            if job.peers is not None:
                job.peers.start(others)
            ended = supervise(first, take_line, job.say, stop)
        finally:
            if job.peers is not None:
                job.peers.stop()
        if peer_failed is not None:
            raise peer_failed
        if ended.code == TRY_AGAIN:
            raise TryAgainError(
                f"the command asked to be tried again (exit {TRY_AGAIN}); its last lines: "
                f"{job.last_words() or 'none'}"
            )
        if ended.stopped and not (ended.code == 0 and points.whole):
            raise TryAgainError("its node is about to go; the command was stopped by SIGTERM")
        if ended.code != 0:
            raise TrainingError(
                f"the command {exit_words(ended.code)}; its last lines: "
                f"{job.last_words() or 'none'}"
            )
        points.check_whole("the command exited with 0")

    def _orders(self, job: TrialJob) -> Iterator[Order]:
        """Yields one order for each node; the first order is for this node."""
        content = {
            "trial": job.trial,
            "mixture": job.mixture.as_dict(),
            "steps": self.steps_of(job),
            "eval_steps": list(self.eval_steps_of(job)),
            "size": self.size_of(job),
            "seed": job.seed,
            "domains": self.domains,
            "targets": self.targets,
            "proxy": self.proxy,
            "tokenizer": self.tokenizer,
            "checkpoint_dir": str(job.checkpoint_dir),
            "recorded": list(job.recorded),
        }
        count = self.nodes
        places = {
            "nodes": str(count),
            "master": job.peers.master if job.peers is not None else "127.0.0.1",
            "port": str(_free_port()),
        }
        for rank in range(count):
            yield {
                "command": list(self.command),
                "folder": self.folder,
                "job": content,
                "places": places | {"rank": str(rank)},
                "lock": str(job.checkpoint_dir / LOCK) if rank == 0 else None,
                "grace": GRACE_SECONDS,
            }


def prepare_command(config: SweepConfig, trainer: CommandConfig) -> CommandTrainer:
    """Makes the trainer after a check that the folder and the program exist on this machine.

    The other machines should have the program at the same place.

    Raises:
        ConfigError: there is no such program or folder.
    """
    folder = Path(trainer.folder).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError(
            f"trainer.folder {folder} is no folder; need the one that the command runs in"
        )
    find_program(trainer.command[0], folder)
    return CommandTrainer(
        command=trainer.command,
        folder=str(folder),
        nodes=config.resources.nodes,
        **configured_fields(config, {"command": list(trainer.command)}),
    )


def _point(line: str) -> tuple[Any, Any] | None:
    """Returns step and losses of a line that is a JSON object with both, else None."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return (
        (value["step"], value["losses"])
        if isinstance(value, dict) and {"step", "losses"} <= value.keys()
        else None
    )


def _free_port() -> int:
    """Returns a port that no process uses now.

    Another process may take the port before the command uses it. The command should fail then and
    be tried again.
    """
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])
