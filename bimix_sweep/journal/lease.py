"""Who drives a sweep, said in a file beside what they write: a courtesy that keeps a second driver out while the first one lives.

`{"holder": "000002-9f3a1c07", "host": "node7", "pid": 4711, "time": 1767225600.2}`, renewed every few seconds and removed at the end.
It is no lock: storage without conditional writes can't keep two drivers from taking it at once. What they write stays right all
the same, because the journal lets only the newest writer acknowledge anything.
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

from bimix_sweep import files
from bimix_sweep.errors import SweepError

RENEW_SECONDS = 10.0
SETTLE_SECONDS = 1.0
"""After which one of several processes that waited for a lease and wrote it at once finds whose it became."""
STALE_SECONDS = 30.0
"""A lease that was not renewed for so long, by the watch of whoever waits, is nobody's."""
OLD_SECONDS = 15.0
"""The same for a lease whose own time is more than STALE_SECONDS ago. A clock that was set may make
the lease of a living driver look old, so it too must miss a renewal before it is taken over."""


@dataclass(frozen=True, slots=True)
class _Holder:
    holder: str
    host: str
    pid: int
    time: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def age(self) -> float:
        return max(0.0, time.time() - self.time)

    @property
    def here(self) -> bool:
        return self.host == socket.gethostname()

    @property
    def dead(self) -> bool:
        """It was a process of this host and is no more."""
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
    """One lease, not yet held."""

    def __init__(self, path: str, what: str) -> None:
        """`path`: its file or object; `what` it is for, in messages."""
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
        """Return when nobody seems to hold it.

        Args:
            seconds: how long a holder that is just ending may keep it.
            locked_here: this process has the sweep's file lock, so whoever held the lease on this host is gone.
            say: told once who is waited for.

        Raises:
            SweepError: somebody holds it and lives. OSError: it cannot be read.
        """
        began, first, patience = time.monotonic(), None, STALE_SECONDS
        while (
            (found := self._read()) is not None
            and not found.dead
            and not (locked_here and found.here)
        ):
            waited = time.monotonic() - began
            if first is None:
                first = found
                patience = STALE_SECONDS if found.age < STALE_SECONDS else OLD_SECONDS
                say(f"waiting for {found}, which held {self._what} {found.age:.0f} s ago")
            recent_here = found.here and patience == STALE_SECONDS
            if waited > seconds and (found != first or recent_here):
                raise SweepError(
                    f"{self._what} is being written by {found}, {found.age:.0f} s ago; a sweep has one driver, so stop that one first. If it "
                    f"is gone, try again {STALE_SECONDS:.0f} s after its end, or take over now by deleting {self._path}"
                )
            if found == first and waited > patience:
                return
            time.sleep(0.25)

    def take(
        self, holder: str, seconds: float, *, say: Callable[[str], None] = lambda line: None
    ) -> None:
        """Wait until nobody holds it, then hold it until `release`.

        Args:
            holder: a name that no other process uses.
            seconds: how long to wait for a holder that lives; others may wait at the same time, and one of them gets it.
            say: told once who is waited for.

        Raises:
            SweepError: somebody holds it and lives. OSError: it cannot be read or written.
        """
        until = time.monotonic() + seconds
        while True:
            self.wait(max(0.0, until - time.monotonic()), say=say)
            if not seconds:
                break
            self._holder = holder
            self._write()
            time.sleep(SETTLE_SECONDS)
            if (found := self._read()) is not None and found.holder == holder:
                break
        self.hold(holder)

    def hold(self, holder: str) -> None:
        """Write it, and renew it until `release`.

        Raises:
            OSError: it cannot be written.
        """
        self._holder = holder
        self._write()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def holder(self) -> str:
        """Who holds it, in words."""
        with contextlib.suppress(OSError):
            if (found := self._read()) is not None and found.holder != self._holder:
                return str(found)
        return "another process"

    def release(self) -> None:
        """Stop renewing it; remove it if it is still ours."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=STALE_SECONDS)
            with contextlib.suppress(OSError):
                if (found := self._read()) is not None and found.holder == self._holder:
                    files.delete(self._path)

    def _renew(self) -> None:
        while not self._over.wait(RENEW_SECONDS):
            with contextlib.suppress(OSError):  # storage that fails now may answer the next time
                found = self._read()
                if found is not None and found.holder != self._holder:
                    return
                self._write()

    def _write(self) -> None:
        content = {
            "holder": self._holder,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "time": round(time.time(), 3),
        }
        files.write_text(self._path, json.dumps(content) + "\n")

    def _read(self) -> _Holder | None:
        """None where there is none, or none that a driver wrote."""
        try:
            text = (
                files.read_bytes(self._path)[:10_000]
                if files.is_uri(self._path)
                else files.peek(Path(self._path), 10_000)
            )
            content: Any = json.loads(text)
            found = _Holder(
                str(content["holder"]),
                str(content["host"])[:200],
                int(content["pid"]),
                float(content["time"]),
            )
            return found if 0 < found.pid < 2**31 else None
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
            return None
