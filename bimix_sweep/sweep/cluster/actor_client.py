"""The LawActor from elsewhere: its name on the cluster, and the planner that driver and searcher see."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayTaskError

from bimix_sweep.errors import BimixSweepError

if TYPE_CHECKING:  # workers load this too, and need no law
    from bimix_sweep.design.stopping import Decision
    from bimix_sweep.design.trial import Cause, Proposal

NAMESPACE = "bimix-sweep"
"""All sweeps' actors live in it, each named by its sweep's id."""


def ask(reference: Any, *, timeout: float | None = None) -> Any:
    """The answer of a call to the actor; an error of ours comes back as it was raised there, not wrapped in Ray's.

    Args:
        timeout: seconds after which to raise Ray's GetTimeoutError.
    """
    try:
        return ray.get(reference, timeout=timeout)
    except RayTaskError as error:
        if isinstance(error.cause, BimixSweepError):
            raise error.cause from None
        raise


def law_actor(name: str) -> Any:
    """The handle of a sweep's actor. Keep the name, not the handle, in anything that is pickled."""
    return ray.get_actor(name, namespace=NAMESPACE)


class RemotePlanner:
    """A `SweepPlanner` whose answers come from the actor."""

    def __init__(self, name: str) -> None:
        self._name = name

    def propose(self, trial: str) -> "Proposal | None":
        proposal: Proposal | None = ask(law_actor(self._name).propose.remote(trial))
        return proposal

    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool:
        return bool(ask(law_actor(self._name).record.remote(trial, step, dict(losses))))

    def finish(self, trial: str) -> None:
        ask(law_actor(self._name).finish.remote(trial))

    def abandon(self, trial: str, reason: str, cause: "Cause" = "outside") -> None:
        ask(law_actor(self._name).abandon.remote(trial, reason, cause))

    def decide(self) -> "Decision":
        decision: Decision = ask(law_actor(self._name).decide.remote())
        return decision

    def final(self, started: Collection[str]) -> "Proposal | None":
        proposal: Proposal | None = ask(law_actor(self._name).final.remote(list(started)))
        return proposal

    def over(self) -> bool:
        return bool(ask(law_actor(self._name).over.remote()))
