"""Ctrl-C that a library loses: the work ends as interrupted all the same."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def keeping_interrupts() -> Iterator[None]:
    """Raises KeyboardInterrupt for an error that the code inside raises after a Ctrl-C.

    A module written in C turns a KeyboardInterrupt during its import into an ImportError, which
    would be reported as a broken installation. Outside the main thread nothing is done, because
    Python gives signals to the main thread only.

    Raises:
        KeyboardInterrupt: a Ctrl-C came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception:
        if came:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)
