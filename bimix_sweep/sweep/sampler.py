"""Optuna's sampler for mixtures: it asks a planner, which proposes all proportions of a trial at once.

The life of a trial: Optuna makes it, `sample_relative` asks the planner for the mixture of `t<number>`, the objective
reads it with `suggest_mixture`, trains, gives each point to `planner.record`; when the trial ends, `after_trial` tells
the planner. Every proportion is a float in [0, 1] named by its domain: bounds stay with the planner, because Optuna
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

SHARE = FloatDistribution(0.0, 1.0)


class Planner(Protocol):
    """Who decides which mixture is trained next; `SweepState` is one, a handle on the LawActor another."""

    def propose(self, trial: str) -> Proposal | None: ...
    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool: ...
    def finish(self, trial: str) -> None: ...
    def abandon(self, trial: str, reason: str) -> None: ...
    def decide(self) -> Decision: ...


class MixtureSampler(optuna.samplers.BaseSampler):
    """Samples whole mixtures as a planner proposes them."""

    def __init__(self, planner: Planner, domains: Sequence[str]) -> None:
        self.planner = planner
        self.domains = tuple(domains)
        self._given: Proposal | None = None
        self._names: dict[int, str] = {}

    def give(self, proposal: Proposal) -> None:
        """The next trial takes this proposal instead of asking the planner: one that goes on after a restart, or a final training."""
        self._given = proposal

    def reseed_rng(self) -> None:
        """Nothing to do: what is random belongs to the planner, which has the sweep's seed."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict.fromkeys(self.domains, SHARE)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All proportions of one trial.

        Raises:
            SweepError: the planner has nothing more to propose; end the study with `stop_when_settled` before that.
        """
        proposal, self._given = self._given or self.planner.propose(trial_name(trial.number)), None
        if proposal is None:
            raise SweepError(
                f"nothing left to propose after {trial.number} trials; the sweep has stopped or spent its budget"
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
        raise SweepError(
            f"parameter {param_name} with {param_distribution} is none of the proportions {', '.join(self.domains)} in [0, 1]; "
            "mixtures are proposed whole"
        )

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        name = self._names.pop(trial.number, None)
        if name is None:  # it ended before it had a mixture
            return
        if state == TrialState.COMPLETE:
            self.planner.finish(name)
        else:
            self.planner.abandon(name, str(trial.user_attrs.get("failed", "the training failed")))

    def stop_when_settled(self, study: Study, trial: FrozenTrial) -> None:
        """A callback for `study.optimize`: ends it as soon as the planner says so."""
        if self.planner.decide().stop:
            study.stop()


def trial_name(number: int) -> str:
    """The planner's name of a study's trial."""
    return f"t{number:04d}"


def suggest_mixture(trial: Trial, domains: Sequence[str]) -> Mixture:
    """The mixture of a trial, for an objective under `MixtureSampler`."""
    return Mixture.from_mapping({name: trial.suggest_float(name, 0.0, 1.0) for name in domains})
