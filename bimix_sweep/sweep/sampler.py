"""Optuna sampler for mixtures: a planner proposes all proportions of a trial together.

The life of a trial: Optuna makes the trial, and `sample_relative` asks the planner for the mixture
of `t<number>`. The objective reads the mixture with `suggest_mixture`, trains, and gives each point
to `planner.record`. When the trial ends, `after_trial` tells the planner. Every proportion is a
float in [0, 1] with the name of its domain. The planner enforces the bounds, because Optuna
silently redraws a single value that leaves its range, which breaks the sum.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from bimix_sweep.design.stopping import Decision
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import SweepError
from bimix_sweep.mixture.domains import Mixture

PROPORTION = FloatDistribution(0.0, 1.0)


class Planner(Protocol):
    """Decides which mixture is trained next.

    Both `SweepState` and a handle on the LawActor are planners.
    """

    def propose(self, trial: str) -> Proposal | None:
        """Proposes the mixture of a trial; None if there is nothing more to propose."""
        ...

    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool:
        """Records the losses of a trial at a step; False if that step was already recorded."""
        ...

    def finish(self, trial: str) -> None:
        """Records that a trial finished."""
        ...

    def abandon(self, trial: str, reason: str) -> None:
        """Records that a trial failed, with the reason."""
        ...

    def decide(self) -> Decision:
        """Decides whether to stop."""
        ...


class MixtureSampler(optuna.samplers.BaseSampler):
    """Samples whole mixtures that a planner proposes."""

    def __init__(self, planner: Planner, domains: Sequence[str]) -> None:
        self.planner = planner
        self.domains = tuple(domains)
        self._given: Proposal | None = None
        self._names: dict[int, str] = {}

    def give(self, proposal: Proposal) -> None:
        """Makes the next trial take `proposal` instead of asking the planner.

        The driver uses this for a trial that continues after a restart and for a confirmation
        trial.
        """
        self._given = proposal

    def reseed_rng(self) -> None:
        """Does nothing: all random draws are made by the planner, which has the sweep's seed."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The search space: a float in [0, 1] for each domain."""
        return dict.fromkeys(self.domains, PROPORTION)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All proportions of one trial.

        Returns:
            {domain: proportion}.

        Raises:
            SweepError: the planner has nothing more to propose; end the study with
                `stop_when_settled` before that.
        """
        proposal, self._given = self._given or self.planner.propose(trial_name(trial.number)), None
        if proposal is None:
            raise SweepError(
                f"nothing left to propose after {trial.number} trials; the sweep has stopped "
                "or spent its budget"
            )
        self._names[trial.number] = proposal.trial
        return dict(
            zip(self.domains, proposal.mixture.as_array(self.domains).tolist(), strict=True)
        )

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Refuses to sample one parameter alone.

        Raises:
            SweepError: always, because mixtures are proposed whole.
        """
        raise SweepError(
            f"parameter {param_name} with {param_distribution} is none of the proportions "
            f"{', '.join(self.domains)} in [0, 1]; mixtures are proposed whole"
        )

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Tells the planner that a trial finished or failed."""
        name = self._names.pop(trial.number, None)
        if name is None:  # the trial ended before it had a mixture
            return
        if state == TrialState.COMPLETE:
            self.planner.finish(name)
        else:
            self.planner.abandon(name, str(trial.user_attrs.get("failed", "the trial failed")))

    def stop_when_settled(self, study: Study, trial: FrozenTrial) -> None:
        """Callback for `study.optimize` that ends the study when the planner decides to stop."""
        if self.planner.decide().stop:
            study.stop()


def trial_name(number: int) -> str:
    """Name of a study's trial for the planner, such as `t0017`."""
    return f"t{number:04d}"


def suggest_mixture(trial: Trial, domains: Sequence[str]) -> Mixture:
    """Mixture of a trial, for an objective whose study uses `MixtureSampler`.

    Args:
        trial: the Optuna trial.
        domains: names of the domains.
    """
    return Mixture.from_mapping({name: trial.suggest_float(name, 0.0, 1.0) for name in domains})
