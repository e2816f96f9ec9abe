"""Runs one command under a supervisor process, reads its output, and says how it ended."""

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimix_sweep.errors import ConfigError, TrainingError, TryAgainError
from bimix_sweep.sweep.trainers import supervisor

TRY_AGAIN = 75
"""Exit status of a program that asks for another attempt (EX_TEMPFAIL of sysexits.h)."""
GRACE_SECONDS = 30.0
"""Seconds between SIGTERM and SIGKILL."""
MAX_LINE = 1 << 20
"""Maximum bytes of an output line; a longer line is cut and logged, and is not read as a point."""
POLL_SECONDS = 0.25
"""Seconds between checks for a stop request while a command writes nothing."""

Order = Mapping[str, Any]
"""Order for the `supervisor` process, which describes its keys."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    """Exit status; a negative number is the signal that ended the command."""
    stopped: bool
    """True where the command was asked to stop."""


def supervise(
    order: Order,
    take_line: Callable[[str], None],
    say: Callable[[str], None],
    stop: Callable[[], bool],
) -> Ended:
    """Runs a command and returns when the last of its processes has ended.

    Args:
        order: order for the `supervisor` process.
        take_line: called with each line of the command's standard output.
        say: called with each line of its standard error, and with lines that were cut.
        stop: called several times a second; when it returns True the command is asked to stop.

    Raises:
        ConfigError, TrainingError: the command cannot be started.
        TryAgainError: an earlier attempt still holds the checkpoint, or the supervisor was killed.
        Any exception that `take_line` raises, after the command has ended.
    """
    # Without the folder on this machine the command runs in the current one: Ray's working_dir.
    folder = order["folder"] if Path(order["folder"]).is_dir() else str(Path.cwd())
    order = {
        **order,
        "folder": folder,
        "command": [find_program(order["command"][0], Path(folder)), *order["command"][1:]],
    }
    process, status = _start_supervisor()
    assert (  # noqa: S101, PT018
        process.stdin is not None and process.stdout is not None and process.stderr is not None
    )
    takers = {
        process.stdout.fileno(): _Lines(take_line, say),
        process.stderr.fileno(): _Lines(say, say),
    }
    # The end of the `with` block waits for the process that started the supervisor.
    with process:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        try:
            answer, stopped, problem = _read_all(process, status, takers, stop)
        finally:
            os.close(status)
    if problem is not None:
        raise problem
    return _ended(answer, stopped)


def _start_supervisor() -> "tuple[subprocess.Popen[bytes], int]":
    """Starts the supervisor process; returns it and the descriptor that gives its status."""
    status, write_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", supervisor.__file__, str(write_end)],
        pass_fds=(write_end,),
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(write_end)
    return process, status


def _read_all(
    process: "subprocess.Popen[bytes]",
    status: int,
    takers: "Mapping[int, _Lines]",
    stop: Callable[[], bool],
) -> tuple[bytes, bool, Exception | None]:
    """Reads output and status until all pipes have ended; asks the command to stop when told so.

    Args:
        process: the supervisor process.
        status: descriptor of its status.
        takers: {descriptor of an output: what takes its bytes}.
        stop: returns True when the command is to stop.

    Returns:
        (status, whether the command was asked to stop, the first error that a taker raised).
    """
    answer, stopped, problem = b"", False, None
    with selectors.DefaultSelector() as selector:
        for stream in (*takers, status):
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(POLL_SECONDS):
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fd)
                if key.fd == status:
                    answer += data
                elif problem is None:
                    try:
                        takers[key.fd].feed(data)
                    except Exception as error:  # noqa: BLE001
                        # It is raised when no process of the command is left.
                        problem = error
            if not stopped and (problem is not None or stop()):
                stopped = True
                _ask_to_stop(process)
    return answer, stopped, problem


def _ended(answer: bytes, stopped: bool) -> Ended:
    """Reads the status line of the supervisor.

    Raises:
        TryAgainError: another attempt may succeed.
        TrainingError: the command cannot be started.
    """
    status = json.loads(answer) if answer.endswith(b"\n") else {}
    if "busy" in status:
        raise TryAgainError(
            f"an earlier attempt was still at the checkpoint after {status['busy']:g} seconds"
        )
    if "error" in status:
        raise TrainingError(
            f"the command cannot be started on {socket.gethostname()}: {status['error']}"
        )
    if "exit" not in status:
        raise TryAgainError("the process that watches the command was killed")
    return Ended(int(status["exit"]), stopped)


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


def find_program(program: str, folder: Path) -> str:
    """Returns the path of a program on this machine.

    Raises:
        ConfigError: there is no such program on this machine.
    """
    place = folder / Path(program).expanduser() if "/" in program else None
    path = shutil.which(str(place)) if place is not None else shutil.which(program)
    # The folder of this Python's executable holds programs of an environment that is not activated.
    if path is None and place is None:
        path = shutil.which(program, path=str(Path(sys.executable).parent))
    if path is None:
        where = str(place) if place is not None else f"PATH ({os.environ.get('PATH', '')})"
        raise ConfigError(
            f"trainer.command {program!r} is no program that can be run on {socket.gethostname()}; "
            f"looked at {where}"
        )
    return path


def exit_words(code: int) -> str:
    """Describes an exit status in words."""
    if code >= 0:
        return f"exited with {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"was ended by {name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
