"""Specification of a sweep: what to optimise, within which domains, bounds and budget, and what
follows from these before any trial."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.design.initial_design import initial_fidelities, num_initial
from bimix_sweep.design.stopping import StoppingRule
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import SweepError
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.posterior.beyond_trials import BeyondTrials, beyond_trials
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.final_run import FinalRun
from bimix_sweep.mixture.goals import Goals
from bimix_sweep.mixture.stated_mixture import divergence


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec:
    """Specification of a sweep."""

    domains: DomainSet
    """Feasible set of trials, confirmation mixtures and optimum: the config's bounds and the token
    caps of the final run."""
    targets: tuple[str, ...]
    """Validation sets; each is measured at every point."""
    weights: Mapping[str, float]
    """Importance of each target, >= 0; a target without an entry counts 0."""
    own: Mapping[str, str]
    """Target -> the domain whose validation split it is."""
    goals: Goals = field(default_factory=dict)
    """Target -> direction and range of its values; a target without an entry is a positive loss."""
    today: Mixture | None = None
    """Mixture trained on now, the baseline of the gain; None where not stated."""
    prior: Mixture | None = None
    """Mixture that the optimum stays near; None where there is none."""
    kl: float = 0.0
    """Strength of the pull to `prior`: objective per nat of divergence."""
    first: tuple[Mixture, ...] = ()
    """Mixtures to try after the uniform and the natural one, inside the bounds."""
    objective: str = "mean"
    """Aggregation of the targets' losses: "mean" or "worst"."""
    steps: int
    """Optimizer steps of a trial at the target fidelity, the largest where there are several
    numbers of steps. The law's optimum is predicted for this step."""
    shorter: tuple[int, ...] = ()
    """Smaller numbers of steps of cheaper trials, rising."""
    size: float
    """Non-embedding parameters of a proxy at the target fidelity, the largest where there are
    several sizes. The law's optimum is predicted for this size."""
    smaller: tuple[float, ...] = ()
    """Smaller sizes of cheaper proxies, rising."""
    eval_steps: tuple[int, ...] = ()
    """Steps at which losses are measured in a trial of `steps` steps."""
    min_step: int = 0
    """First step whose points are in the fit, which leaves the warm-up out; in a shorter trial the
    same proportion of its steps (`first_step`)."""
    seed: int = 0
    """Seed of everything random in the sweep."""
    max_trials: int
    """Budget of trials; failed trials count, confirmation trials do not."""
    slots: int = 1
    """Number of trials that run at the same time."""
    tolerance: float = 0.002
    """Expected regret at which to stop, a fraction of the objective."""
    patience: int = 3
    """Number of successive refits that must be within the tolerance."""
    core_hours: float | None = None
    """Largest number of CPU core-hours of all trials, confirmation trials included; None: no
    limit."""
    gpu_hours: float | None = None
    """Largest number of GPU-hours of all trials, confirmation trials included; None: no limit."""
    max_before_caps: tuple[float, ...] = ()
    """Largest proportion of each domain that the user allows, without the caps of the final run;
    empty: that of `domains`."""
    final: FinalRun | None = None
    """The final run, for which the mixture is chosen; None where not stated. Its caps are included
    in `domains`."""
    tokens_per_step: float | None = None
    """Tokens of an optimizer step of a proxy; None where not known."""
    as_configured: bool = False
    """Whether `tokens_per_step` and the sizes are only what the configuration states. This holds
    where the trainer is not the built-in one and may not follow the configuration."""
    unique_tokens: Mapping[str, float] = field(default_factory=dict)
    """Domain -> unique tokens that a trial draws from; a domain without an entry is not limited."""

    def __post_init__(self) -> None:
        if len(self.max_before_caps) not in (0, len(self.domains)):
            raise SweepError(
                f"max_before_caps has {len(self.max_before_caps)} numbers for {len(self.domains)} "
                "domains; need one each"
            )
        if not self.targets:
            raise SweepError("no targets; need at least one validation set")
        if self.max_trials < 1:
            raise SweepError(f"budget.trials is {self.max_trials}; need at least 1")
        if unknown := [name for name in self.weights if name not in self.targets]:
            raise SweepError(
                f"weights name {', '.join(unknown)}; the targets are {', '.join(self.targets)}"
            )
        if unknown := [name for name in self.goals if name not in self.targets]:
            raise SweepError(
                f"goals name {', '.join(unknown)}; the targets are {', '.join(self.targets)}"
            )
        if not any(weight > 0 for weight in self.weights.values()):
            raise SweepError("all target weights are 0; need one above 0")
        if list(self.sizes) != sorted({*self.sizes}) or self.sizes[0] <= 0:
            raise SweepError(
                f"sizes of the proxies are {', '.join(f'{size:g}' for size in self.sizes)}; need "
                "rising numbers above 0"
            )
        if list(self.lengths) != sorted({*self.lengths}) or self.lengths[0] < 1:
            raise SweepError(
                f"steps of the trials are {', '.join(map(str, self.lengths))}; need rising "
                "whole numbers from 1"
            )

    @property
    def sizes(self) -> tuple[float, ...]:
        """All sizes, rising."""
        return (*self.smaller, self.size)

    @property
    def lengths(self) -> tuple[int, ...]:
        """All numbers of steps, rising."""
        return (*self.shorter, self.steps)

    @property
    def target_fidelity(self) -> Fidelity:
        """Target fidelity, which is also the fidelity of the confirmation trials: the largest size
        with the most steps."""
        return Fidelity(size=self.size, steps=self.steps)

    @property
    def fidelities(self) -> tuple[Fidelity, ...]:
        """All fidelities, every size with every number of steps, from the cheapest to the target
        fidelity."""
        every = (Fidelity(size=size, steps=steps) for size in self.sizes for steps in self.lengths)
        return tuple(sorted(every, key=lambda fidelity: (fidelity.cost, fidelity.size)))

    @property
    def initial_fidelities(self) -> tuple[Fidelity, ...]:
        """Fidelities of the first trials, whose mixtures are chosen without a law."""
        fidelities = self.fidelities
        order = initial_fidelities(
            num_initial(len(self.domains), self.max_trials), len(fidelities), self.max_trials
        )
        return tuple(fidelities[index] for index in order)

    @property
    def num_initial(self) -> int:
        """Number of first trials."""
        return len(self.initial_fidelities)

    def fidelity_of(self, proposal: Proposal) -> Fidelity:
        """Returns the fidelity of a proposed trial."""
        return Fidelity(
            size=self.size if proposal.size is None else proposal.size,
            steps=self.steps if proposal.steps is None else proposal.steps,
        )

    def checked_fidelity(self, proposal: Proposal) -> Fidelity:
        """Returns the fidelity of a proposed trial.

        Raises:
            SweepError: the sweep has no such size or number of steps.
        """
        fidelity = self.fidelity_of(proposal)
        if fidelity.size not in self.sizes:
            known = ", ".join(f"{size:g}" for size in self.sizes)
            raise SweepError(
                f"trial {proposal.trial} has size {fidelity.size:g}; the sweep trains proxies of "
                f"size {known}"
            )
        if fidelity.steps not in self.lengths:
            known = ", ".join(map(str, self.lengths))
            raise SweepError(
                f"trial {proposal.trial} has {fidelity.steps} steps; the sweep trains proxies for "
                f"{known} steps"
            )
        return fidelity

    def epochs_of(self, mixture: Mixture, steps: float) -> dict[str, float]:
        """Returns {domain: passes over its unique tokens} of a trial, where they are known."""
        if self.tokens_per_step is None:
            return {}
        drawn = {name: r * steps * self.tokens_per_step for name, r in mixture.as_dict().items()}
        return {n: drawn[n] / unique for n, unique in self.unique_tokens.items() if n in drawn}

    def cost_of(self, fidelity: Fidelity) -> float:
        """Returns the cost of a trial at this fidelity, in units of one trial at the target
        fidelity."""
        return fidelity.cost / self.target_fidelity.cost

    def first_step(self, steps: int) -> int:
        """Returns the first step whose points are in the fit, for a trial of `steps` steps."""
        return self.min_step * steps // self.steps

    @property
    def limited(self) -> bool:
        """Whether hours of compute have a limit."""
        return self.core_hours is not None or self.gpu_hours is not None

    def decision_problem(self, law: FittedLaw) -> DecisionProblem:
        """Returns the sweep's decision problem for a law: its domains with caps, its objective, the
        target fidelity, and the passes of the final run."""
        unique = None if self.final is None else self.final.unique(self.domains, law.domains)
        return DecisionProblem.of(
            law.for_run(unique),
            self.domains,
            weights=self.weights,
            objective=self.objective,
            step=self.steps,
            size=self.size,
            prior=self.prior,
            kl=self.kl,
        )

    def pull(self, mixture: Mixture) -> float:
        """Returns the pull to the prior, in units of the objective; infinite where the mixture
        holds a domain that the prior does not hold."""
        if self.prior is None or self.kl == 0:
            return 0.0
        names = self.domains.names
        return self.kl * divergence(mixture.as_array(names), self.prior.as_array(names))

    def problem(self, name: str, num_points: int) -> ProblemStatement:
        """Returns what the sweep `name` needs from a law fitted to `num_points` points: domains,
        objective and target fidelity."""
        return ProblemStatement(
            sweep=name,
            domains=replace(self.domains, upper=self.max_before_caps or self.domains.upper),
            weights=self.weights,
            objective=self.objective,
            step=self.steps,
            size=self.size,
            tokens_per_step=self.tokens_per_step,
            as_configured=self.as_configured,
            final=self.final,
            today=self.today,
            prior=self.prior,
            kl=self.kl,
            seed=self.seed,
            num_points=num_points,
        )

    @property
    def beyond(self) -> BeyondTrials:
        """How far the final run lies beyond the trials."""
        return beyond_trials(
            steps=(self.lengths[0], self.steps),
            sizes=(self.sizes[0], self.size),
            tokens_per_step=self.tokens_per_step,
            as_configured=self.as_configured,
            final=self.final,
        )

    @property
    def rule(self) -> StoppingRule:
        """Rule for when the sweep stops."""
        return StoppingRule(
            tolerance=self.tolerance,
            patience=self.patience,
            max_trials=self.max_trials,
            min_trials=len(self.domains)
            + 3
            + sum(fidelity != self.fidelities[0] for fidelity in self.initial_fidelities),
        )
