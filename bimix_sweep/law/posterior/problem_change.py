"""Changes parts of a stored decision problem, as the options of a command say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bimix_sweep.errors import OptimumError
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.final_run import MAX_QUANTITY, FinalRun


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemChange:
    """Parts of a decision problem to replace; None, and names not given, keep their values."""

    step: float | None = None
    """Optimizer step at which losses are compared, instead of those of the final run."""
    size: float | None = None
    """Non-embedding parameters at which losses are compared, instead of those of the final run."""
    weights: Mapping[str, float] | None = None
    """{target: importance}."""
    objective: str | None = None
    """"mean" or "worst"."""
    lower: Mapping[str, float] | None = None
    """{domain: smallest proportion}."""
    upper: Mapping[str, float] | None = None
    """{domain: largest proportion}."""
    available: Mapping[str, float] | None = None
    """{domain: tokens available}."""
    final: Mapping[str, float | None] | None = None
    """{field of `FinalRun`: value}."""
    today: Mixture | None = None
    """Mixture trained on now."""
    prior: Mixture | None = None
    """Mixture to stay near; together with `kl`, unless the problem has a prior."""
    kl: float | None = None
    """Strength of the pull to `prior`; together with it, unless the problem has a prior."""

    def applied_to(self, problem: ProblemStatement) -> ProblemStatement:
        """Returns the decision problem with these parts replaced.

        Raises:
            OptimumError: unknown domains, or parts that need each other.
            MixtureError: bounds that leave no mixture.
        """
        self._check_names(problem.domains)
        final = self._final_run(problem.final)
        if (self.prior is None) != (self.kl is None) and problem.prior is None:
            raise OptimumError("--prior and --kl go together; give both or neither")
        if self.kl is not None and not 0 <= self.kl <= MAX_QUANTITY:
            raise OptimumError(f"--kl is {self.kl:g}; need a number from 0")
        return replace(
            problem,
            domains=self._domains(problem.domains),
            final=final,
            at_final=problem.at_final and self.step is None and self.size is None,
            step=problem.step if self.step is None else self.step,
            size=problem.size if self.size is None else self.size,
            weights=problem.weights if self.weights is None else self.weights,
            objective=problem.objective if self.objective is None else self.objective,
            today=problem.today if self.today is None else self.today,
            prior=problem.prior if self.prior is None else self.prior,
            kl=problem.kl if self.kl is None else self.kl,
        )

    def _check_names(self, domains: DomainSet) -> None:
        for given in (self.lower, self.upper, self.available):
            if unknown := next((name for name in given or {} if name not in domains.names), None):
                raise OptimumError(
                    f"{unknown} is not a domain of the law; it knows {', '.join(domains.names)}"
                )

    def _domains(self, domains: DomainSet) -> DomainSet:
        columns = {"tokens": self.available, "lower": self.lower, "upper": self.upper}
        bounds = {
            name: tuple(
                (given or {}).get(domain, value)
                for domain, value in zip(domains.names, getattr(domains, name), strict=True)
            )
            for name, given in columns.items()
        }
        return DomainSet(names=domains.names, **bounds)

    def _final_run(self, final: FinalRun | None) -> FinalRun | None:
        given = {name: value for name, value in (self.final or {}).items() if value is not None}
        whole = replace(final or FinalRun(), **given) if given else final
        if whole is None or whole.tokens is None:
            if self.available:
                raise OptimumError("--domain-tokens is given without --final-tokens; give both")
            if "max_epochs" in given:
                raise OptimumError("--max-epochs is given without --final-tokens; give both")
        return whole
