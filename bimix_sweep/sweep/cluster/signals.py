"""Ctrl-C and SIGTERM at any moment of a driver's life: stop at the next safe point, and say how to go on.

Nothing needs saving then: the journal and the checkpoints are on the disk. Both signals become a KeyboardInterrupt in the
main thread, at once or, inside Tune's loop, at its next step; `ray.init` puts a SIGTERM handler of its own in place, so
`install` is called again after it.
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
LATEST_SECONDS = 10.0
"""After a signal in which the driver must be gone. A signal to a whole process group ends embedded Ray's daemons too, and calls
to them then wait for minutes; leaving at once is as safe, since what was acknowledged is on the disk."""


class Interrupt:
    """Turns both signals into a KeyboardInterrupt; use it as a context manager.

    `leave` ends the process where that has not ended it in time. A second signal does not wait for the safe point. In another
    thread than the main one it does nothing, as Python gives signals to the main thread only.
    """

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self.failure: BimixSweepError | None = None
        """Why the work must end, where no signal of a person asked for it."""
        self._asked = self._told = False  # by a signal: handled, and noticed at least
        self._in_loop = False
        self._before: dict[signal.Signals, Any] = {}
        self._over = threading.Event()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            # told by the system's own handler: Python's waits while the main thread is in a call to Ray that does not return
            told, tell = os.pipe()
            os.set_blocking(tell, False)
            self._wakeup = (signal.set_wakeup_fd(tell, warn_on_full_buffer=False), tell)
            threading.Thread(target=self._watch, args=(told,), name="signals", daemon=True).start()
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._before:
            before, tell = self._wakeup
            signal.set_wakeup_fd(before)
            os.close(tell)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _watch(self, told: int) -> None:
        """See that the process ends soon after the first signal."""
        with os.fdopen(told, "rb", buffering=0) as stream:
            while number := stream.read(1):
                if number[0] in SIGNALS:
                    self._told = True
                    self._leave_late()

    def install(self) -> None:
        """Take the signals over, from whoever has them now."""
        for number in self._before:
            signal.signal(number, self._handle)

    def fail(self, error: BimixSweepError, *, wake: bool = True) -> None:
        """End the work with this error, as a first signal would; called from any thread.

        Nothing where the work is ending already: a Ctrl-C ends embedded Ray's processes too.

        Args:
            error: what to say at the end.
            wake: the main thread is to be interrupted; False where it knows and is ending already.
        """
        if self._asked or self._told or self.failure is not None:
            return
        self.failure = error
        threading.Thread(target=self._leave_late, name="end", daemon=True).start()
        if not wake:
            return
        if self._before:
            os.kill(os.getpid(), signal.SIGINT)
        else:  # in another thread than the main one: at the next safe point
            self._asked = True

    def _leave_late(self) -> None:
        if not self._over.wait(LATEST_SECONDS):
            self._leave()

    @contextlib.contextmanager
    def loop(self) -> Iterator[None]:
        """Inside, a first signal waits until `check` is called."""
        self._in_loop = True
        try:
            yield
        finally:
            self._in_loop = False
        self.check()

    def check(self) -> None:
        """A safe point.

        Raises:
            KeyboardInterrupt: a signal has come.
        """
        if self._asked:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self._asked = not self._asked, True
        if not (first and self._in_loop):
            raise KeyboardInterrupt


@contextlib.contextmanager
def stoppable(progress: Progress, advice: Callable[[], str]) -> Iterator[Interrupt]:
    """Both signals end what is inside with a KeyboardInterrupt, and `advice()` is the last thing said then."""

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
        except (KeyboardInterrupt, SystemExit) as error:
            if (
                isinstance(error, SystemExit) and error.code != signal.SIGTERM
            ):  # Ray's own handler, while it starts
                raise
            if interrupt.failure is not None:
                raise interrupt.failure from error
            progress.end()
            progress.say(f"stopped; {advice()}")
            raise KeyboardInterrupt from error
