"""A lease file, which names the driver of a sweep and keeps a second living driver out.

Content: `{"holder": "000002-9f3a1c07", "host": "node7", "pid": 4711, "time": 1767225600.2}`. The
driver renews the lease every few seconds and removes it at the end. The lease is not a lock: on
storage without conditional writes, two drivers can take it at the same time. The journal stays
correct even then, because it lets only the newest writer acknowledge events.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimix_sweep import files, locations, uri_storage
from bimix_sweep.errors import SweepError

RENEW_SECONDS = 10.0
SETTLE_SECONDS = 1.0
"""Wait after a write, before a process checks which of several waiting processes got the lease."""
STALE_SECONDS = 30.0
"""A lease that was not renewed for this long, on the waiting process's clock, is free."""
OLD_SECONDS = 15.0
"""Seconds without renewal after which a lease with an old time is free.

An old time is more than `STALE_SECONDS` ago. A change of the clock can make the lease of a living
driver look old, so this lease too must miss a renewal before another process takes it.
"""


@dataclass(frozen=True, slots=True)
class _Holder:
    """The process that holds a lease, as the lease file names it."""

    holder: str
    host: str
    pid: int
    time: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def age(self) -> float:
        """Seconds since the last renewal, by this host's clock."""
        return max(0.0, time.time() - self.time)

    @property
    def here(self) -> bool:
        """Whether the holder is a process of this host."""
        return self.host == socket.gethostname()

    @property
    def dead(self) -> bool:
        """Whether the holder was a process of this host that no longer exists."""
        if not self.here:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


class Lease:
    """A lease, which this process does not hold at first."""

    def __init__(self, path: str, what: str) -> None:
        """Prepares the lease; nothing is read or written.

        Args:
            path: path or URI of the lease file or object.
            what: what the lease protects, for messages.
        """
        self._path, self._what = path, what
        self._holder = ""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def wait(
        self,
        seconds: float,
        *,
        locked_here: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Returns when no living process seems to hold the lease.

        Args:
            seconds: how long a holder that is about to end may keep the lease.
            locked_here: this process has the sweep's file lock, so a holder on this host has ended.
            say: called once with a line that names the holder.

        Raises:
            SweepError: a living process holds the lease.
            OSError: the lease cannot be read.
        """
        began, first, patience = time.monotonic(), None, STALE_SECONDS
        while (
            (current := self._read()) is not None
            and not current.dead
            and not (locked_here and current.here)
        ):
            waited = time.monotonic() - began
            if first is None:
                first = current
                patience = STALE_SECONDS if current.age < STALE_SECONDS else OLD_SECONDS
                say(f"waiting for {current}, which held {self._what} {current.age:.0f} s ago")
            recent_here = current.here and patience == STALE_SECONDS
            if waited > seconds and (current != first or recent_here):
                raise SweepError(
                    f"{self._what} is being written by {current}, {current.age:.0f} s ago; a "
                    "sweep has one driver, so stop that one first. If it is gone, try again "
                    f"{STALE_SECONDS:.0f} s after its end, or take over now by deleting "
                    f"{self._path}"
                )
            if current == first and waited > patience:
                return
            time.sleep(0.25)

    def take(
        self, holder: str, seconds: float, *, say: Callable[[str], None] = lambda line: None
    ) -> None:
        """Waits until the lease is free, then holds it until `release`.

        Args:
            holder: a name that no other process uses.
            seconds: how long to wait for a living holder; if several processes wait, one of them
                gets the lease.
            say: called once with a line that names the holder.

        Raises:
            SweepError: a living process holds the lease.
            OSError: the lease cannot be read or written.
        """
        until = time.monotonic() + seconds
        while True:
            self.wait(max(0.0, until - time.monotonic()), say=say)
            if not seconds:
                break
            self._holder = holder
            self._write_patiently()
            time.sleep(SETTLE_SECONDS)
            if (current := self._read()) is not None and current.holder == holder:
                break
        self.hold(holder)

    def hold(self, holder: str) -> None:
        """Writes the lease and renews it until `release`.

        Raises:
            OSError: the lease cannot be written.
        """
        self._holder = holder
        self._write_patiently()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def holder(self) -> str:
        """Describes the other process that holds the lease, for messages."""
        with contextlib.suppress(OSError):
            if (current := self._read()) is not None and current.holder != self._holder:
                return str(current)
        return "another process"

    def release(self) -> None:
        """Stops the renewal, and removes the lease if this process still holds it."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=STALE_SECONDS)
            with contextlib.suppress(OSError):
                if (current := self._read()) is not None and current.holder == self._holder:
                    files.delete(self._path)

    def _renew(self) -> None:
        """Renews the lease until `release`, or until another living process has taken it.

        A late write of an ended holder can replace this lease. Such a lease is not renewed, so it
        is replaced in turn after `STALE_SECONDS`.
        """
        other: _Holder | None = None
        since = 0.0
        while not self._over.wait(RENEW_SECONDS):
            with contextlib.suppress(OSError):  # the next renewal may succeed
                current = self._read()
                if current is not None and current.holder != self._holder:
                    if other is None or other.holder != current.holder:
                        other, since = current, time.monotonic()
                    elif other != current:
                        return
                    if time.monotonic() - since < STALE_SECONDS:
                        continue
                self._write()

    def _write(self) -> None:
        content = {
            "holder": self._holder,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "time": round(time.time(), 3),
        }
        files.write_text(self._path, json.dumps(content) + "\n")

    def _write_patiently(self) -> None:
        """Writes the lease again while the storage fails.

        A renewal does not: the next one comes anyway, and a late write could replace the lease of
        another driver that has taken over.
        """
        uri_storage.patiently(self._write, uri_storage.READ_SECONDS)

    def _read(self) -> _Holder | None:
        """Reads the holder; None if there is no lease, or if no driver wrote the file."""
        try:
            text = (
                files.read_bytes(self._path)[:10_000]
                if locations.is_uri(self._path)
                else files.peek(Path(self._path), 10_000)
            )
            content: Any = json.loads(text)
            current = _Holder(
                str(content["holder"]),
                str(content["host"])[:200],
                int(content["pid"]),
                float(content["time"]),
            )
            return current if 0 < current.pid < 2**31 else None
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
            return None
