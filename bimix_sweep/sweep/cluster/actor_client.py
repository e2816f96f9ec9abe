"""Clients of the LawActor: its name on the cluster, and the planner for driver and searcher."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from bimix_sweep.errors import BimixSweepError

if TYPE_CHECKING:  # workers import this module, too, and need no law
    from bimix_sweep.design.stopping import Decision
    from bimix_sweep.design.trial import Cause, Proposal

NAMESPACE = "bimix-sweep"
"""Ray namespace of the actors of all sweeps; each actor is named by the id of its sweep."""


def ask(reference: Any, *, timeout: float | None = None) -> Any:
    """Returns the answer of a call to the actor.

    An error of this package is raised as it was raised in the actor, not wrapped in Ray's error.

    Args:
        reference: what the actor's method returned, a Ray object reference.
        timeout: seconds after which Ray's GetTimeoutError is raised.
    """
    try:
        return ray.get(reference, timeout=timeout)
    except RayTaskError as error:
        if isinstance(error.cause, BimixSweepError):
            raise error.cause from None
        raise


def law_actor(name: str) -> Any:
    """Returns the handle of a sweep's LawActor.

    Anything that is pickled must keep the name of the actor, not its handle.

    Raises:
        RayError: the actor has died for good, with its node or with its driver.
    """
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError as error:
        raise RayError(f"the LawActor {name} has died") from error


class RemotePlanner:
    """A `SweepPlanner` that gets its answers from the LawActor."""

    def __init__(self, name: str) -> None:
        self._name = name

    def propose(self, trial: str) -> "Proposal | None":
        """Returns the next proposal; None when the sweep is settled or its budget is spent."""
        proposal: Proposal | None = ask(law_actor(self._name).propose.remote(trial))
        return proposal

    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool:
        """Records the losses of one step; returns False if that step was recorded already."""
        return bool(ask(law_actor(self._name).record.remote(trial, step, dict(losses))))

    def finish(self, trial: str) -> None:
        """Records that the trial has finished."""
        ask(law_actor(self._name).finish.remote(trial))

    def abandon(self, trial: str, reason: str, cause: "Cause" = "outside") -> None:
        """Records that the trial has failed, with the reason and its cause."""
        ask(law_actor(self._name).abandon.remote(trial, reason, cause))

    def decide(self) -> "Decision":
        """Returns the decision whether to stop, made from everything recorded."""
        decision: Decision = ask(law_actor(self._name).decide.remote())
        return decision

    def final(self, started: Collection[str]) -> "Proposal | None":
        """Returns the next confirmation trial that is not in `started`; None if there is none."""
        proposal: Proposal | None = ask(law_actor(self._name).final.remote(list(started)))
        return proposal

    def over(self) -> bool:
        """Returns whether every confirmation trial was decided."""
        return bool(ask(law_actor(self._name).over.remote()))
