"""Handling of Ctrl-C and SIGTERM in a driver: stop at the next safe point, and say how to go on.

Nothing needs to be saved then, because the journal and the checkpoints are on the disk. Both
signals become a KeyboardInterrupt in the main thread: at once, or at the next step while Tune's
loop runs. `ray.init` installs its own SIGTERM handler, so `install` is called again after it.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

from bimix_sweep.errors import BimixSweepError
from bimix_sweep.sweep.views.terminal import Progress

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""The signals that stop a driver."""
LATEST_SECONDS = 10.0
"""Seconds after a signal in which the driver must have ended. A signal to a whole process group
also ends embedded Ray's daemons, and calls to them then wait for minutes; ending the process at
once is as safe, because every acknowledged loss is on the disk."""


class Interrupt:
    """Turns both signals into a KeyboardInterrupt; use it as a context manager.

    A second signal does not wait for the safe point. Outside the main thread the object does
    nothing, because Python gives signals to the main thread only.

    Args:
        leave: called to end the process if the KeyboardInterrupt has not ended it within
            `LATEST_SECONDS`.
    """

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self.failure: BimixSweepError | None = None
        """The error for which the work must end; None where only a person's signal ends it."""
        # A signal has reached the process; Python has handled one.
        self._arrived = self._handled = False
        self._in_loop = False
        self._before: dict[signal.Signals, Any] = {}
        self._over = threading.Event()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            # The C handler of the signal writes to this pipe. Python's own handler waits while the
            # main thread is in a call to Ray that does not return.
            read_end, write_end = os.pipe()
            os.set_blocking(write_end, False)
            self._wakeup = (signal.set_wakeup_fd(write_end, warn_on_full_buffer=False), write_end)
            threading.Thread(
                target=self._watch, args=(read_end,), name="signals", daemon=True
            ).start()
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._before:
            before, write_end = self._wakeup
            signal.set_wakeup_fd(before)
            os.close(write_end)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _watch(self, read_end: int) -> None:
        """Makes the process end soon after the first signal."""
        with os.fdopen(read_end, "rb", buffering=0) as stream:
            while number := stream.read(1):
                if number[0] in SIGNALS:
                    self._arrived = True
                    self._leave_late()

    def install(self) -> None:
        """Installs the handlers of both signals, in place of the present ones."""
        for number in self._before:
            signal.signal(number, self._handle)

    def fail(self, error: BimixSweepError, *, wake: bool = True) -> None:
        """Ends the work with this error, as a first signal would; any thread may call it.

        The call does nothing if the work is ending already: a Ctrl-C ends embedded Ray's processes,
        too, which then seem to fail.

        Args:
            error: the error to report at the end.
            wake: whether to interrupt the main thread; False where the main thread knows of the
                error and is ending already.
        """
        if self._handled or self._arrived or self.failure is not None:
            return
        self.failure = error
        threading.Thread(target=self._leave_late, name="end", daemon=True).start()
        if not wake:
            return
        if self._before:
            os.kill(os.getpid(), signal.SIGINT)
        else:  # not entered in the main thread: the work ends at the next safe point
            self._handled = True

    def _leave_late(self) -> None:
        """Calls `leave` if the work has not ended after `LATEST_SECONDS`."""
        if not self._over.wait(LATEST_SECONDS):
            self._leave()

    @contextlib.contextmanager
    def loop(self) -> Iterator[None]:
        """Makes a first signal wait, inside this context, until `check` is called.

        Raises:
            KeyboardInterrupt: a signal came meanwhile.
        """
        self._in_loop = True
        try:
            yield
        finally:
            self._in_loop = False
        self.check()

    def check(self) -> None:
        """Marks a safe point, at which the work may end.

        Raises:
            KeyboardInterrupt: a signal has come.
        """
        if self._handled:
            raise KeyboardInterrupt

    @property
    def handled(self) -> bool:
        """Whether a signal has come that stops the work."""
        return self._handled

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self._handled = not self._handled, True
        if not (first and self._in_loop):
            raise KeyboardInterrupt


@contextlib.contextmanager
def stoppable(progress: Progress, advice: Callable[[], str]) -> Iterator[Interrupt]:
    """Ends the code inside with a KeyboardInterrupt after a signal; shows `advice()` as last line.

    Args:
        progress: the progress view, which shows the messages.
        advice: returns how to go on.

    Raises:
        KeyboardInterrupt: a signal stopped the work.
        BimixSweepError: the work had to end for this error (`Interrupt.fail`).
    """

    def leave() -> None:
        progress.end()
        if interrupt.failure is not None:
            progress.say(f"error: {interrupt.failure}")
            os._exit(1)
        progress.say(f"stopped; {advice()}")
        os._exit(130)

    with Interrupt(leave) as interrupt:
        try:
            yield interrupt
        except (KeyboardInterrupt, SystemExit, BimixSweepError, ImportError) as error:
            # While Ray starts, its own SIGTERM handler raises SystemExit with this code.
            if isinstance(error, SystemExit) and error.code != signal.SIGTERM:
                raise
            # Code that may not raise (an import in C, a destructor) loses the KeyboardInterrupt.
            if isinstance(error, (BimixSweepError, ImportError)) and not interrupt.handled:
                raise
            if interrupt.failure is not None:
                raise interrupt.failure from error
            progress.end()
            progress.say(f"stopped; {advice()}")
            raise KeyboardInterrupt from error
