"""Ctrl-C and SIGTERM while Tune runs: stop at a safe point, within a step of Tune's loop."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from ray.tune import Stopper

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt(Stopper):  # type: ignore[misc]
    """Turns both signals into a KeyboardInterrupt; use it as a context manager in the main thread, after `ray.init`.

    Nothing needs saving then: the journal and the checkpoints are on the disk. A second signal does not wait for the
    safe point. In another thread than the main one it does nothing, as Python gives signals to the main thread only.
    """

    def __init__(self) -> None:
        self._asked = False
        self._in_loop = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def loop(self) -> Iterator[None]:
        """Inside, a first signal waits until Tune asks `stop_all`."""
        self._in_loop = True
        try:
            yield
        finally:
            self._in_loop = False
        if self._asked:
            raise KeyboardInterrupt

    def stop_all(self) -> bool:
        """Asked by Tune in every step of its loop."""
        if self._asked:
            raise KeyboardInterrupt
        return False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        return Interrupt, ()  # Tune pickles its arguments; handlers stay here

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._in_loop and not self._asked:
            self._asked = True
            return
        raise KeyboardInterrupt
