"""Where Ray Tune may be stopped by a signal: between two steps of its loop."""

from typing import Any

from ray.tune import Stopper

from bimix_sweep.sweep.interrupt import Interrupt


class SafePoint(Stopper):  # type: ignore[misc]
    """Asks the interrupt in every step; Tune catches no KeyboardInterrupt there."""

    def __init__(self, interrupt: Interrupt | None = None) -> None:
        self._interrupt = interrupt

    def stop_all(self) -> bool:
        """Asked by Tune in every step of its loop; never true."""
        if self._interrupt is not None:
            self._interrupt.check()
        return False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        return SafePoint, ()  # Tune pickles its arguments; handlers stay here
