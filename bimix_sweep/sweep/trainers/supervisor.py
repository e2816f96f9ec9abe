"""Supervisor process: runs one command and makes sure that no process of it outlives the worker.

The worker runs `python -I -S supervisor.py STATUS_FD`, so the supervisor imports the standard
library alone and starts fast (docs/evidence.md). The supervisor leaves the worker's process group
at once, because Ray kills the process groups of its workers with SIGKILL and a command in such a
group could not save.

The supervisor reads one JSON order from its standard input. That pipe stays open while the worker
lives: the end of the pipe means that the worker is gone, and a line `stop` asks the command to
stop. In both cases the command gets SIGTERM, time to save, then SIGKILL. On Linux the supervisor
finds every descendant, because it adopts orphans (PR_SET_CHILD_SUBREAPER). Descendants include
processes in sessions of their own, such as torchrun's workers.

Order: command, folder, job (the job file's content), places ({placeholder: text}), lock (a path or
null), grace (seconds).
Status, JSON lines: {"error": text}, {"busy": seconds}, {"exit": code} (negative: the signal that
ended the command).
"""

import contextlib
import ctypes
import fcntl
import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SUBREAPER, DEATH_SIGNAL = 36, 1  # options of prctl(2)
LEFTOVERS_SECONDS = 5.0
"""Seconds between SIGTERM and SIGKILL for processes that a command left behind when it ended."""
LOCK_SECONDS = 10.0
"""Seconds beyond the grace period to wait until an earlier attempt on another node releases the
checkpoint.
"""


class Control:
    """Waits for messages from the worker and for the end of child processes at the same time."""

    def __init__(self) -> None:
        self.stop = False
        self._open = True
        self._received = b""
        self._wake, waker = os.pipe()
        for end in (self._wake, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self.stop = True

    def order(self) -> bytes | None:
        """Reads the first line; None where the worker is gone before it has written one."""
        while b"\n" not in self._received:
            if not (data := os.read(0, 1 << 16)):
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def wait(self, seconds: float) -> None:
        """Waits until the worker writes, a signal arrives or `seconds` have passed."""
        ready, _, _ = select.select([self._wake, *([0] if self._open else [])], [], [], seconds)
        if self._wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
        if 0 in ready:
            data = os.read(0, 1 << 16)
            self._open = bool(data)
            self.stop = True  # a line and the end of the pipe both ask to stop


def main() -> None:
    """Detaches from the worker, reads the order, runs the command and reports the status."""
    status = int(sys.argv[1])
    if os.fork():
        os._exit(0)
    os.setsid()
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if libc is not None:
        libc.prctl(SUBREAPER, 1, 0, 0, 0)
    control = Control()
    line = control.order()
    if line is None:
        return
    order = json.loads(line)
    files = Path(tempfile.mkdtemp(prefix="bimix-job-"))
    try:
        write_status(status, run(order, files, control, libc))
    finally:
        shutil.rmtree(files, ignore_errors=True)


def write_status(status: int, message: dict[str, object]) -> None:
    """Writes one status line; does nothing where the worker is gone."""
    with contextlib.suppress(OSError):  # the worker is gone
        os.write(status, json.dumps(message).encode() + b"\n")


def run(
    order: dict[str, Any], files: Path, control: Control, libc: "ctypes.CDLL | None"
) -> dict[str, object]:
    """Runs the command until its last process has ended, and returns the status to report."""
    waited = lock(order["lock"], order["grace"] + LOCK_SECONDS, control) if order["lock"] else 0.0
    if waited is None:
        return {"busy": order["grace"] + LOCK_SECONDS}
    if control.stop:
        return {"exit": -int(signal.SIGTERM)}
    job = files / "job.json"
    job.write_text(json.dumps(order["job"], indent=1, ensure_ascii=False))
    words = [fill(word, {"job": str(job), **order["places"]}) for word in order["command"]]

    def die_with_me() -> None:
        if libc is not None:
            libc.prctl(DEATH_SIGNAL, int(signal.SIGTERM), 0, 0, 0)

    try:
        process = subprocess.Popen(
            words,
            cwd=order["folder"],
            stdin=subprocess.DEVNULL,
            stdout=1,
            stderr=2,
            start_new_session=True,
            preexec_fn=die_with_me,  # noqa: PLW1509 - this process has one thread
        )
    except (OSError, ValueError) as error:
        return {"error": str(error)}
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)  # the worker's pipes now end with the command
    os.dup2(nothing, 2)
    code, deadline, terminated, cleared = None, None, False, False
    while True:
        reaped = reap()
        code = reaped.get(process.pid, code)
        left = descendants() if code is not None or deadline is not None else [process.pid]
        if code is not None and not left:
            return {"exit": code}
        if control.stop and not terminated:
            terminated, deadline = True, time.monotonic() + order["grace"]
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        if code is not None and not cleared:
            cleared = True
            deadline = min(deadline or math.inf, time.monotonic() + LEFTOVERS_SECONDS)
            kill(left, signal.SIGTERM)
        if deadline is not None and time.monotonic() > deadline:
            kill(left, signal.SIGKILL)
            if libc is None:  # without Linux only the process group is known
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
        control.wait(0.05 if deadline is not None else 3600.0)


def fill(word: str, places: dict[str, str]) -> str:
    """Replaces the placeholders in one word of the command."""
    for name, text in places.items():
        word = word.replace("{" + name + "}", text)
    return word


def lock(path: str, seconds: float, control: Control) -> float | None:
    """Locks the checkpoint for this process until the process ends.

    Returns:
        Seconds waited, about 0 where files cannot be locked; None where another process still holds
        the lock after `seconds`. A stop request ends the wait without the lock.
    """
    began = time.monotonic()
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        while not control.stop:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() - began > seconds:
                    return None
                control.wait(0.2)
            else:
                break
    except OSError:
        pass
    return time.monotonic() - began


def reap() -> dict[int, int]:
    """Returns {pid: exit code} of child processes that ended, adopted ones included."""
    codes = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            codes[pid] = os.waitstatus_to_exitcode(status)
    return codes


def descendants() -> list[int]:
    """Returns the pids of all living descendants of this process.

    A system without /proc gives an empty list: there only the command's own process is known.
    """
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.name))
    pids, ahead = [], [os.getpid()]
    while ahead:
        below = children.get(ahead.pop(), [])
        pids += below
        ahead += below
    return pids


def kill(pids: list[int], number: signal.Signals) -> None:
    """Sends a signal to processes; ignores those that are gone or belong to somebody else."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


if __name__ == "__main__":
    main()
