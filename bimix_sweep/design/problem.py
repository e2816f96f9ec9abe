"""What a sweep is asked to find, and what follows from that before anything is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bimix_sweep.design.fidelity import Scale
from bimix_sweep.design.initial_design import initial_scales, num_initial
from bimix_sweep.design.stopping import StoppingRule
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import SweepError
from bimix_sweep.law.posterior.beyond_trials import BeyondTrials, beyond_trials
from bimix_sweep.law.posterior.question import FinalRun, LawQuestion
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.goals import Goals


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec:
    """What a sweep is asked to find."""

    domains: DomainSet
    """The feasible set of trials, confirmation mixtures and optimum: the config's bounds and the token
    caps of the final run."""
    targets: tuple[str, ...]
    """Validation sets, each measured at every point."""
    weights: Mapping[str, float]
    """Importance of each target, >= 0; one that is missing counts 0."""
    own: Mapping[str, str]
    """Target -> the domain it is the validation split of."""
    goals: Goals = field(default_factory=dict)
    """Target -> direction and range of its values; one that is missing is a positive loss."""
    objective: str = "mean"
    """"mean" or "worst"."""
    steps: int
    """Optimizer steps of a training, of the longest where there are several numbers: the law is asked about this step."""
    shorter: tuple[int, ...] = ()
    """Numbers of steps of cheaper trainings, rising."""
    size: float
    """Non-embedding parameters of a proxy, of the largest where there are several sizes: the law is asked about this one."""
    smaller: tuple[float, ...] = ()
    """Sizes of cheaper proxies, rising."""
    eval_steps: tuple[int, ...] = ()
    """Steps at which losses are measured in a training of `steps`."""
    min_step: int = 0
    """Its points before it (the warm-up) are left out of the fit; of a shorter training the same share of its steps."""
    seed: int = 0
    """Decides everything random."""
    max_trials: int
    """Budget of trainings, failed ones counted, the final ones not."""
    slots: int = 1
    """Trainings that run at once."""
    tolerance: float = 0.002
    """Expected regret at which to stop, a fraction of the objective."""
    patience: int = 3
    """Refits in a row that must agree."""
    core_hours: float | None = None
    """Most CPU core-hours of all trainings, the final ones among them; None: no limit."""
    gpu_hours: float | None = None
    """The same of GPU-hours."""
    max_before_caps: tuple[float, ...] = ()
    """Largest proportion of each domain that the user allows, without the caps of the final run;
    empty: that of `domains`."""
    final: FinalRun | None = None
    """The run that the mixture is for; None where not stated. Its caps stand in `domains`."""
    tokens_per_step: float | None = None
    """Tokens of an optimizer step of a proxy; None where not known."""
    as_configured: bool = False
    """This number and the sizes are those of the configuration: its trainer is not the built-in
    one, and need not follow them."""

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
                f"sizes of the proxies are {', '.join(f'{size:g}' for size in self.sizes)}; need rising numbers above 0"
            )
        if list(self.lengths) != sorted({*self.lengths}) or self.lengths[0] < 1:
            raise SweepError(
                f"steps of the trainings are {', '.join(map(str, self.lengths))}; need rising whole numbers from 1"
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
    def asked(self) -> Scale:
        """The scale that the law is asked about, and that of the final trainings: the largest size for the most steps."""
        return Scale(size=self.size, steps=self.steps)

    @property
    def scales(self) -> tuple[Scale, ...]:
        """Every size for every number of steps, from the cheapest to the one asked about."""
        every = (Scale(size=size, steps=steps) for size in self.sizes for steps in self.lengths)
        return tuple(sorted(every, key=lambda scale: (scale.cost, scale.size)))

    @property
    def initial_scales(self) -> tuple[Scale, ...]:
        """Scales of the first trainings, whose mixtures are chosen before the law is asked."""
        scales = self.scales
        order = initial_scales(
            num_initial(len(self.domains), self.max_trials), len(scales), self.max_trials
        )
        return tuple(scales[index] for index in order)

    @property
    def num_initial(self) -> int:
        """How many first trainings."""
        return len(self.initial_scales)

    def scale_of(self, proposal: Proposal) -> Scale:
        """Of a training."""
        return Scale(
            size=self.size if proposal.size is None else proposal.size,
            steps=self.steps if proposal.steps is None else proposal.steps,
        )

    def cost_of(self, scale: Scale) -> float:
        """Of a training, in units of one at the scale asked about."""
        return scale.cost / self.asked.cost

    def first_step(self, steps: int) -> int:
        """From where on the points of a training of so many steps are in the fit."""
        return self.min_step * steps // self.steps

    @property
    def limited(self) -> bool:
        """Hours of compute have a limit."""
        return self.core_hours is not None or self.gpu_hours is not None

    def question(self, name: str, num_points: int) -> LawQuestion:
        """What the sweep `name` asks of a law fitted to so many points."""
        return LawQuestion(
            sweep=name,
            domains=replace(self.domains, upper=self.max_before_caps or self.domains.upper),
            weights=self.weights,
            objective=self.objective,
            step=self.steps,
            size=self.size,
            tokens_per_step=self.tokens_per_step,
            as_configured=self.as_configured,
            final=self.final,
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
        """When the sweep stops."""
        return StoppingRule(
            tolerance=self.tolerance,
            patience=self.patience,
            max_trials=self.max_trials,
            min_trials=len(self.domains)
            + 3
            + sum(scale != self.scales[0] for scale in self.initial_scales),
        )
