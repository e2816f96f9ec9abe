"""What hangs on Ray Tune's loop: where a signal may stop it, and what it need not keep of trainings that ended."""

from typing import Any

from ray.tune import Callback, Stopper

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


class Forgetting(Callback):  # type: ignore[misc]
    """Lets go of the running averages that Tune keeps of every metric of every ended training: 35 KB each at seven targets."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune after the training's last report."""
        trial.metric_analysis.clear()
        trial.metric_n_steps.clear()
