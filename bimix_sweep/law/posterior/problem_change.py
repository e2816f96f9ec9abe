"""Changes parts of a stored decision problem, as the options of a command say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bimix_sweep.errors import OptimumError
from bimix_sweep.law.posterior.problem_statement import SAME, ProblemStatement
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
    fixed: Mapping[str, float] | None = None
    """{domain: its proportion}: smallest and largest proportion in one."""
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
        for given in (self.lower, self.upper, self.fixed, self.available):
            if unknown := next((name for name in given or {} if name not in domains.names), None):
                raise OptimumError(
                    f"{unknown} is not a domain of the law; it knows {', '.join(domains.names)}"
                )

    def _domains(self, domains: DomainSet) -> DomainSet:
        fixed = self.fixed or {}
        if twice := next(
            (n for n in fixed if n in {**(self.lower or {}), **(self.upper or {})}), None
        ):
            raise OptimumError(f"--set and a bound are given for {twice}; give one of them")
        columns = {
            "tokens": self.available,
            "lower": {**(self.lower or {}), **fixed},
            "upper": {**(self.upper or {}), **fixed},
        }
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


def changed_weights(
    given: Mapping[str, float], weights: Mapping[str, float] | None, targets: Sequence[str]
) -> dict[str, float]:
    """Returns the weights of all targets after some of them were stated.

    Numbers for all targets are their weights, on any scale. Numbers for some targets are fractions
    of the whole objective; the other targets share the rest in proportion to their weights before.

    Args:
        given: {target: number}.
        weights: the weights before; a missing target counts 0, None: all count equally.
        targets: targets of the law.

    Raises:
        OptimumError: an unknown target, a number that is no weight, or fractions that do not fit.
    """
    before = dict.fromkeys(targets, 1.0) if weights is None else weights
    if unknown := [name for name in given if name not in targets]:
        raise OptimumError(
            f"--weight names {', '.join(unknown)}; the law's targets are {', '.join(targets)}"
        )
    for name, value in given.items():
        if not 0 <= value <= MAX_QUANTITY:
            raise OptimumError(f"--weight of {name} is {value:g}; need a number from 0")
    others = {name: before.get(name, 0.0) for name in targets if name not in given}
    if not others:
        return dict(given)
    rest, total = 1 - sum(given.values()), sum(others.values())
    if rest < -SAME:
        raise OptimumError(
            f"the weights given sum to {1 - rest:g}, and {', '.join(others)} are not named; need "
            "fractions of the whole with a sum of at most 1, or a weight for each target"
        )
    if rest > SAME and total == 0:
        raise OptimumError(
            f"the weights given sum to {1 - rest:g}, and the other targets have weight 0; need the "
            "sum 1, or a weight for each target"
        )
    share = max(rest, 0.0) / total if total else 0.0
    return {name: given.get(name, others.get(name, 0.0) * share) for name in targets}
