"""Brings a tracker up to date with a sweep, once or for as long as the sweep goes on.

Ray has callbacks for W&B and MLflow (`ray.air.integrations`). They are not used: MLflow's sends from
Tune's own loop, which a slow tracker would stop; W&B's takes two Ray actors for each trial; both
know Tune's results only, and make new runs when a sweep is resumed.
"""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from bimix_sweep import files, locations
from bimix_sweep.errors import SweepError
from bimix_sweep.file_lock import LockedError, lock
from bimix_sweep.parsing import parse_json
from bimix_sweep.sweep.views.tracking.runs import SweepRuns
from bimix_sweep.sweep.views.tracking.tracker import Tracker, TrackerConfig, TrackerName, connect
from bimix_sweep.sweep.workspace.paths import local_part
from bimix_sweep.sweep.workspace.redaction import masked
from bimix_sweep.text import printable

FOLDER = "tracking"
"""Folder in a sweep's folder that says, for each tracker, which runs it holds whole."""
POLL_SECONDS = 5.0
"""Seconds between two reads of the journal."""
ANSWER_SECONDS = 60.0
"""Seconds that a tracker has to take a run; one that takes longer counts as down."""
CLOSE_SECONDS = 10.0
"""Seconds that a tracker has to close its runs when the sweep stops."""
FIRST_PAUSE = 5.0
"""Seconds after which a tracker that is down is tried again; doubled each time."""
MAX_PAUSE = 300.0
"""Largest number of seconds between two tries."""


class _TooSlow(BaseException):
    """The time is over. No `except Exception` of a client takes it for an error of the network."""


class TrackerError(Exception):
    """A tracker did not take a run; the message is one line without credentials."""


class SweepLogger:
    """Sends the runs of a sweep that a tracker does not hold yet."""

    def __init__(self, folder: str, name: TrackerName, config: TrackerConfig) -> None:
        """Prepares the logger; the first call of `send` opens the connection.

        Args:
            folder: folder or URI of the sweep.
            name: which tracker.
            config: where it keeps the runs.
        """
        self._folder, self._name, self._config = folder, name, config
        self.runs = SweepRuns(folder)
        self._tracker: Tracker | None = None
        self._sent: dict[str, object] = {}
        self._place = ""
        self._whole: dict[str, str] | None = None  # see `_known`

    def send(self) -> int:
        """Sends what the journal gained since the last call, and returns the number of runs sent.

        Raises:
            TrackerError: the tracker failed, or took too long; the next call sends the rest.
            BimixSweepError, OSError: the sweep cannot be read.
        """
        self.runs.poll()
        with self._kept():
            return sum(
                self._send(name, version)
                for name, version in self.runs.versions().items()
                if self._sent.get(name) != version
            )

    def _send(self, name: str, version: object) -> bool:
        """Sends one run; returns False where the tracker holds it already."""
        run = self.runs.run(name)
        with self._answer() as tracker:
            whole = self._known(tracker)
            new = whole.get(run.id) != run.mark
            if new:
                tracker.send(run)
        if run.state != "running":
            whole[run.id] = run.mark
        self._sent[name] = version
        return new

    def close(self) -> None:
        """Closes the connection; what the tracker does not take in time is sent another time."""
        tracker, self._tracker, self._sent = self._tracker, None, {}
        if tracker is not None:
            with contextlib.suppress(Exception), _time_limit(CLOSE_SECONDS):
                tracker.close()

    @contextlib.contextmanager
    def _answer(self) -> Iterator[Tracker]:
        """Gives the connection, and closes it where the block fails or takes too long.

        Raises:
            TrackerError: the block failed.
        """
        try:
            with _time_limit(ANSWER_SECONDS):
                if self._tracker is None:
                    folder = local_part(self._folder)
                    self._tracker = connect(self._name, self._config, folder)
                yield self._tracker
        # The clients raise exceptions of all kinds, of their own and of their libraries.
        except Exception as error:
            self.close()
            raise TrackerError(_one_line(error)) from error

    def _known(self, tracker: Tracker) -> dict[str, str]:
        """Returns {id: mark} of the runs that the tracker holds whole, as an earlier process wrote
        it down."""
        if self._whole is None:
            self._place, self._whole = tracker.place, {}
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
                content = parse_json(files.read_text(self._record))
                if content["place"] == self._place:
                    self._whole = {str(run): str(mark) for run, mark in content["runs"].items()}
        return self._whole

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        """Writes down which runs the tracker holds whole if the block changed that."""
        before = dict(self._whole or {})
        try:
            yield
        finally:
            if self._whole and self._whole != before:
                content = {"place": self._place, "runs": self._whole}
                files.write_text(self._record, json.dumps(content, indent=1))

    @property
    def _record(self) -> str:
        return locations.join(self._folder, FOLDER, f"{self._name}.json")


def log_once(
    folder: str, name: TrackerName, config: TrackerConfig, say: Callable[[str], None]
) -> int:
    """Brings a tracker up to date with a sweep, running or not; returns the number of runs sent.

    Raises:
        SweepError: the folder holds no sweep, another process logs it, or the tracker fails.
        JournalError: the journal is damaged.
    """
    if not files.exists(locations.join(folder, "journal")):
        raise SweepError(f"{folder} holds no sweep; start one with: bimix-sweep run")
    with _alone(folder, name, 0.0):
        logger = SweepLogger(folder, name, config)
        try:
            count = logger.send()
        except TrackerError as error:
            raise SweepError(f"{name} did not take the sweep: {error}") from error
        finally:
            logger.close()
        if not logger.runs.complete:
            say(f"{folder}: the sweep is not complete; log it again for what follows")
        return count


def log_while_running(
    folder: str,
    name: TrackerName,
    config: TrackerConfig,
    tell: Callable[[str, bool], None],
    stopped: Callable[[], bool],
) -> None:
    """Keeps a tracker up to date with a sweep until all of the complete sweep is sent.

    A tracker that fails is tried again with growing pauses. The first failure of a row is told, and
    the end of the row.

    Args:
        folder: folder or URI of the sweep.
        name: which tracker.
        config: where it keeps the runs.
        tell: told a line for a person, and whether the tracker fails from now on.
        stopped: asked at every poll whether to end early.

    Raises:
        SweepError: another process logs the sweep to this tracker.
        JournalError: the journal is damaged.
    """
    with _alone(folder, name, 2 * POLL_SECONDS):
        logger = SweepLogger(folder, name, config)
        pause = 0.0
        try:
            while not stopped():
                try:
                    logger.send()
                # OSError: the journal's storage, which may come back as a tracker does
                except (TrackerError, OSError) as error:
                    if not pause:
                        why = str(error) if isinstance(error, TrackerError) else _one_line(error)
                        tell(f"logging to {name} fails ({why}); it is tried again", True)
                    pause = min(MAX_PAUSE, 2 * pause or FIRST_PAUSE)
                else:
                    if pause:
                        tell(f"logging to {name} works again, and nothing is missing", False)
                    pause = 0.0
                    if logger.runs.complete:
                        return
                _wait(pause or POLL_SECONDS, stopped)
        finally:
            logger.close()


def _wait(seconds: float, stopped: Callable[[], bool]) -> None:
    """Waits, but not longer than a second after the process is to stop."""
    until = time.monotonic() + seconds
    while not stopped() and (left := until - time.monotonic()) > 0:
        time.sleep(min(1.0, left))


@contextlib.contextmanager
def _alone(folder: str, name: TrackerName, wait_seconds: float) -> Iterator[None]:
    """Lets no other process of this machine log the same sweep to the same tracker.

    Raises:
        SweepError: another process does.
    """
    place = Path(local_part(folder), FOLDER)
    place.mkdir(parents=True, exist_ok=True)
    try:
        held = lock(place / f"{name}.lock", wait_seconds)
    except LockedError as error:
        raise SweepError(
            f"{folder} is being logged to {name} already ({error.holder}); that process sends what "
            "follows, too"
        ) from None
    with os.fdopen(held, "rb"):  # closes the descriptor, which releases the lock
        yield


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Ends the block with a TimeoutError after so many seconds, also while it waits for a socket.

    Only the main thread can be interrupted in this way; elsewhere there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: FrameType | None) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TooSlow:
        raise TimeoutError(f"no answer in {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _one_line(error: Exception) -> str:
    """Returns the first line of an error without credentials, no longer than a line of a log."""
    line = next((line for line in str(error).splitlines() if line.strip()), "")
    text = printable(masked(f"{type(error).__name__}: {line}" if line else type(error).__name__))
    return text if len(text) <= 300 else f"{text[:300]}..."
