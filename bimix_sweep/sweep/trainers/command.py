"""Trainer `{command: [...]}`: runs a program of the user's for each trial.

The program reads a job file and writes its points as JSON lines to its standard output.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimix_sweep.config import CommandConfig, SweepConfig
from bimix_sweep.errors import ConfigError, TrainingError, TryAgainError
from bimix_sweep.sweep.trainers import supervisor
from bimix_sweep.sweep.trainers.base import Report, TrialJob
from bimix_sweep.sweep.trainers.user_trainer import Points, UserTrainer, brought

TRY_AGAIN = 75
"""Exit status of a program that asks for another attempt (EX_TEMPFAIL of sysexits.h)."""
GRACE_SECONDS = 30.0
"""Seconds between SIGTERM and SIGKILL."""
MAX_LINE = 1 << 20
"""Maximum bytes of an output line; a longer line is cut and logged, and is not read as a point."""
LOOK_SECONDS = 0.25
"""Seconds between checks for a stop request while a command writes nothing."""
LOCK = ".training.lock"
"""Name of the lock file in a checkpoint folder; the process that trains there holds the lock."""

Order = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    """Exit status; a negative number is the signal that ended the command."""
    stopped: bool
    """True where the command was asked to stop."""


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

        def heard(line: str) -> None:
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
            ended = supervise(first, heard, job.say, stop)
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
            raise TryAgainError("its node is about to go; the command was told by SIGTERM")
        if ended.code != 0:
            raise TrainingError(
                f"the command {said(ended.code)}; its last lines: {job.last_words() or 'none'}"
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
    _find(trainer.command[0], folder)
    return CommandTrainer(
        command=trainer.command,
        folder=str(folder),
        nodes=config.resources.nodes,
        **brought(config, {"command": list(trainer.command)}),
    )


def supervise(
    order: Order, heard: Callable[[str], None], say: Callable[[str], None], stop: Callable[[], bool]
) -> Ended:
    """Runs a command and returns when the last of its processes has ended.

    Args:
        order: order for the `supervisor` process.
        heard: called with each line of the command's standard output.
        say: called with each line of its standard error, and with lines that were cut.
        stop: called several times a second; when it returns True the command is asked to stop.

    Raises:
        ConfigError, TrainingError: the command cannot be started.
        TryAgainError: an earlier attempt still holds the checkpoint, or the supervisor was killed.
        Any exception that `heard` raises, after the command has ended.
    """
    # Without the folder on this machine the command runs in the current one: Ray's working_dir.
    folder = order["folder"] if Path(order["folder"]).is_dir() else str(Path.cwd())
    order = {
        **order,
        "folder": folder,
        "command": [_find(order["command"][0], Path(folder)), *order["command"][1:]],
    }
    status, told = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", supervisor.__file__, str(told)],
        pass_fds=(told,),
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(told)
    assert (  # noqa: S101, PT018
        process.stdin is not None and process.stdout is not None and process.stderr is not None
    )
    answer, stopped, problem = b"", False, None
    takers = {
        process.stdout.fileno(): _Lines(heard, say),
        process.stderr.fileno(): _Lines(say, say),
    }
    # The end of the `with` block waits for the process that started the supervisor.
    with process, selectors.DefaultSelector() as selector:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        for stream in (*takers, status):
            selector.register(stream, selectors.EVENT_READ)
        try:
            while selector.get_map():
                for key, _ in selector.select(LOOK_SECONDS):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fd)
                    if key.fd == status:
                        answer += data
                    elif problem is None:
                        try:
                            takers[key.fd].feed(data)
                        except Exception as error:  # noqa: BLE001
                            # `problem` is raised below, when no process of the command is left.
                            problem = error
                if not stopped and (problem is not None or stop()):
                    stopped = True
                    _ask_to_stop(process)
        finally:
            os.close(status)
    if problem is not None:
        raise problem
    return _ended(answer, stopped)


def _ended(answer: bytes, stopped: bool) -> Ended:
    found = json.loads(answer) if answer.endswith(b"\n") else {}
    if "busy" in found:
        raise TryAgainError(
            f"an earlier attempt was still at the checkpoint after {found['busy']:g} seconds"
        )
    if "error" in found:
        raise TrainingError(
            f"the command cannot be started on {socket.gethostname()}: {found['error']}"
        )
    if "exit" not in found:
        raise TryAgainError("the process that watches the command was killed")
    return Ended(int(found["exit"]), stopped)


def _ask_to_stop(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):  # the process has ended already
        process.stdin.write(b"stop\n")
        process.stdin.flush()


class _Lines:
    """Splits bytes into lines; the end of the data ends the last line."""

    def __init__(self, take: Callable[[str], None], say: Callable[[str], None]) -> None:
        self._take, self._say = take, say
        self._rest, self._cut = bytearray(), 0

    def feed(self, data: bytes) -> None:
        """Takes the next bytes and passes on the lines that they end; empty bytes end the data."""
        if not data:
            if self._rest or self._cut:
                self._out()
            return
        while data:
            piece, end, data = data.partition(b"\n")
            room = MAX_LINE - len(self._rest)
            self._rest += piece[:room]
            self._cut += max(0, len(piece) - room)
            if end:
                self._out()

    def _out(self) -> None:
        line, cut = self._rest.decode(errors="replace").rstrip("\r"), self._cut
        self._rest, self._cut = bytearray(), 0
        if cut:
            self._say(f"a line of {MAX_LINE + cut} bytes was cut; no point is read from it:")
            self._say(line)
        else:
            self._take(line)


def _point(line: str) -> tuple[Any, Any] | None:
    """Returns step and losses of a line that is a JSON object with both, else None."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return (
        (found["step"], found["losses"])
        if isinstance(found, dict) and {"step", "losses"} <= found.keys()
        else None
    )


def _find(program: str, folder: Path) -> str:
    """Returns the path of a program on this machine.

    Raises:
        ConfigError: there is no such program on this machine.
    """
    place = folder / Path(program).expanduser() if "/" in program else None
    found = shutil.which(str(place)) if place is not None else shutil.which(program)
    # The folder of this Python's executable holds programs of an environment that is not activated.
    if found is None and place is None:
        found = shutil.which(program, path=str(Path(sys.executable).parent))
    if found is None:
        where = str(place) if place is not None else f"PATH ({os.environ.get('PATH', '')})"
        raise ConfigError(
            f"trainer.command {program!r} is no program that can be run on {socket.gethostname()}; "
            f"looked at {where}"
        )
    return found


def _free_port() -> int:
    """Returns a port that no process uses now.

    Another process may take the port before the command uses it. The command should fail then and
    be tried again.
    """
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])


def said(code: int) -> str:
    """Describes an exit status in words."""
    if code >= 0:
        return f"exited with {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"was ended by {name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
