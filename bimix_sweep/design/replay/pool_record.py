"""Record of a replay: trials are finished runs of a table, and their losses come from the table.
`SweepState` plans with this record exactly as it plans a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass

from bimix_sweep.design.acquisition.pool import Pool
from bimix_sweep.design.acquisition.scores import EXPLORATION
from bimix_sweep.design.evidence import fit_points
from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.replay.run_pool import RunPool
from bimix_sweep.design.trial import Proposal, TrialRecord
from bimix_sweep.design.trial_record import SweepRecord
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import DomainSet, Mixture


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec(SweepSpec):
    """Specification of a simulated sweep, whose fidelities are those of finished runs and need not
    be every size with every number of steps."""

    kinds: tuple[Fidelity, ...]
    """Fidelities of the runs, from the cheapest to the target fidelity; steps are whole numbers."""

    @classmethod
    def of(cls, runs: RunPool, *, trials: int, slots: int, seed: int) -> "PoolSpec":
        """Makes the specification of a sweep of `trials` trials over the runs of a pool; every
        target has the same weight."""
        table, kinds = runs.table, tuple(dict.fromkeys(map(whole, runs.kinds)))
        size, steps = kinds[-1].size, int(kinds[-1].steps)
        return cls(
            domains=DomainSet(names=table.domains),
            targets=table.targets,
            weights=dict.fromkeys(table.targets, 1.0),
            own={name: name for name in table.targets if name in table.domains},
            goals=table.goals,
            steps=steps,
            shorter=tuple(sorted({int(kind.steps) for kind in kinds} - {steps})),
            size=size,
            smaller=tuple(sorted({kind.size for kind in kinds} - {size})),
            max_trials=trials,
            slots=slots,
            seed=seed,
            kinds=kinds,
        )

    @property
    def sizes(self) -> tuple[float, ...]:
        """All sizes, rising."""
        return tuple(sorted({kind.size for kind in self.kinds}))

    @property
    def lengths(self) -> tuple[int, ...]:
        """All numbers of steps, rising."""
        return tuple(sorted({int(kind.steps) for kind in self.kinds}))

    @property
    def fidelities(self) -> tuple[Fidelity, ...]:
        """All fidelities that the runs have, from the cheapest to the target fidelity."""
        return self.kinds

    def decision_problem(self, law: FittedLaw) -> DecisionProblem:
        """Returns the decision problem of a law, in which every target that the law has counts
        alike: a table may lack values of a target."""
        return DecisionProblem.of(
            law,
            self.domains,
            step=self.steps,
            size=None if law.sizes is None else self.size,
        )


def whole(fidelity: Fidelity) -> Fidelity:
    """Returns the fidelity with a whole number of steps, as a trial of a sweep has."""
    return Fidelity(size=fidelity.size, steps=max(1, round(fidelity.steps)))


class PoolRecord(SweepRecord):
    """Record whose trials are runs of a pool. A run is proposed at most once."""

    spec: PoolSpec

    def __init__(self, spec: PoolSpec, runs: RunPool, exploration: float = EXPLORATION) -> None:
        """Makes an empty record.

        Args:
            spec: specification of the simulated sweep.
            runs: the finished runs.
            exploration: weight of the variance over all mixtures in the acquisition score.
        """
        super().__init__(spec)
        self.run_of: dict[str, int] = {}
        """{trial: run of the pool}."""
        self._runs, self._exploration = runs, exploration
        self._fidelities = [whole(fidelity) for fidelity in runs.fidelities]

    @property
    def left(self) -> list[int]:
        """Runs that may be selected and were not."""
        taken = {*self.run_of.values()}
        return [run for run in self._runs.open if run not in taken]

    @property
    def pool(self) -> Pool:
        """Runs that may be selected and were not."""
        left = self.left
        return Pool(
            mixtures=self._runs.mixtures[left],
            fidelities=tuple(self._fidelities[run] for run in left),
            exploration=self._exploration,
        )

    def add_trial(self, proposal: Proposal, role: str) -> None:
        """Adds a trial, as `SweepRecord.add_trial`; it is the first run left that has its mixture
        and its fidelity."""
        super().add_trial(proposal, role)
        fidelity = self.trials[proposal.trial].fidelity
        mixture = proposal.mixture.as_array(self.spec.domains.names)
        self.run_of[proposal.trial] = next(
            run
            for run in self.left
            if self._fidelities[run] == fidelity and (self._runs.mixtures[run] == mixture).all()
        )

    def proposal_of(self, trial: str, run: int) -> Proposal:
        """Returns the proposal of a run that no policy chose."""
        fidelity = self._fidelities[run]
        return Proposal(
            trial=trial,
            mixture=Mixture.from_array(self.spec.domains.names, self._runs.mixtures[run]),
            reason="random",
            seed=0,
            size=fidelity.size,
            steps=int(fidelity.steps),
            num_points=self.num_points,
        )

    def measure(self, trial: str) -> None:
        """Records the losses of the trial's run and finishes the trial. A law is fitted to the rows
        of the table, so a target may lack values, and steps need not be whole numbers."""
        rows = self._runs.rows([self.run_of[trial]])
        for step, losses in zip(rows.steps, rows.losses, strict=True):
            point = dict(zip(rows.targets, losses.tolist(), strict=True))
            self._append(trial, max(1, round(step)), point)
        self.finish(trial)

    def fit(
        self,
        purpose: str,
        evidence: Sequence[TrialRecord],
        num_points: int,
        previous: WarmStart | None,
    ) -> FittedLaw | None:
        """Fits the law to the runs of some trials; None where they determine no law."""
        if len({record.mixture for record in evidence}) < 2:
            return None
        table = self._runs.rows(self.run_of[record.trial] for record in evidence)
        return fit_points(self.spec, purpose, table, len(evidence), num_points, previous)
