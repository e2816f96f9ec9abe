"""What hangs on Ray Tune's loop: where a signal may stop it, and what it tells of trainings that begin and end."""

from collections.abc import Callable
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


class BeginAndEnd(Callback):  # type: ignore[misc]
    """Says when a training begins; when it ended, lets go of the running averages that Tune keeps of its metrics: 35 KB at seven targets."""

    def __init__(self, begun: Callable[[str], None] = lambda trial_id: None) -> None:
        """`begun` is given Tune's id of each training that a worker begins with."""
        self._begun = begun

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune when a worker, new or warm, takes the training."""
        self._begun(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune after the training's last report."""
        trial.metric_analysis.clear()
        trial.metric_n_steps.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return BeginAndEnd, ()  # Tune pickles its arguments; the searcher stays here
