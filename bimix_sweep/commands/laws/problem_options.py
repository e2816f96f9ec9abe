"""Options that change the decision problem of a law, and what they change it to."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bimix_sweep.commands.options import named_numbers, number_option, numbers_in
from bimix_sweep.errors import OptimumError

if TYPE_CHECKING:
    from bimix_sweep.law.posterior.problem_statement import ProblemStatement
    from bimix_sweep.mixture.domains import Mixture
    from bimix_sweep.sweep.stored_law import StoredLaw

Step = Annotated[float | None, number_option("Optimizer step at which losses are compared.")]
Size = Annotated[
    float | None, number_option("Non-embedding parameters at which losses are compared.")
]
WeightOption = Annotated[
    list[str] | None,
    typer.Option(
        "--weight",
        metavar="TARGET=X",
        help="Fraction of the objective that a target gets; the other targets share the rest as "
        "before. Or a weight for each target; or a JSON file.",
    ),
]
ReferenceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reference",
        metavar="TARGET=X",
        help="Value of a target that counts as 1: the weights of --weight, without it 1 for each "
        "target named here, are of relative improvement. Or a JSON file.",
    ),
]
Objective = Annotated[
    Literal["mean", "worst"] | None,
    typer.Option(help="Weighted mean of the targets' losses, or the largest of them."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="DOMAIN=X",
        help="Fixed proportion of a domain; the other proportions are the best ones with it. Or a "
        "JSON file.",
    ),
]
DomainTokens = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DOMAIN=N",
        help="Tokens of a domain that are available to the final run; or a JSON file. Needs "
        "--final-tokens, unless the sweep states the final run.",
    ),
]
FinalTokens = Annotated[float | None, number_option("Tokens of the final run.")]
FinalSize = Annotated[float | None, number_option("Non-embedding parameters of the final run.")]
MaxEpochs = Annotated[
    float | None,
    number_option("Most passes of the final run over a domain's tokens; default 16."),
]
Prior = Annotated[
    str | None,
    typer.Option(
        metavar="MIXTURE",
        help="Mixture to stay near; needs --kl. A JSON file {domain: proportion or tokens}, "
        "natural, uniform or today.",
    ),
]
Kl = Annotated[
    float | None,
    number_option("Strength of the pull towards --prior: loss per nat of divergence from it."),
]


@dataclass(frozen=True, kw_only=True)
class ProblemOptions:
    """The texts and numbers given to these options."""

    step: float | None
    size: float | None
    weight: list[str] | None
    reference: list[str] | None
    objective: str | None
    maximum: list[str] | None
    minimum: list[str] | None
    fixed: list[str] | None
    domain_tokens: list[str] | None
    final_tokens: float | None
    final_size: float | None
    max_epochs: float | None
    prior: str | None
    kl: float | None

    def applied_to(self, stored: "StoredLaw") -> tuple["ProblemStatement", tuple[str, ...]]:
        """The law's own problem with what the options change, and notes for the user.

        Raises:
            ConfigError, OptimumError, MixtureError: an option cannot be used.
        """
        from bimix_sweep.law.posterior.problem_change import ProblemChange

        problem = stored.problem
        prior, notes = (None, ()) if self.prior is None else stated("--prior", self.prior, problem)
        change = ProblemChange(
            step=self.step,
            size=self.size,
            weights=self._weights(stored),
            objective=self.objective,
            lower=named_numbers("--min", self.minimum),
            upper=named_numbers("--max", self.maximum),
            fixed=named_numbers("--set", self.fixed),
            available=named_numbers("--domain-tokens", self.domain_tokens),
            final={
                "tokens": self.final_tokens,
                "size": self.final_size,
                "max_epochs": self.max_epochs,
            },
            prior=prior,
            kl=self.kl,
        )
        return change.applied_to(problem), notes

    def _weights(self, stored: "StoredLaw") -> dict[str, float] | None:
        """{target: weight} that the options state; None without them.

        Raises:
            ConfigError, OptimumError: an option cannot be used.
        """
        from bimix_sweep.law.posterior.problem_change import changed_weights
        from bimix_sweep.mixture.objective import over_references

        law = stored.law
        weights = named_numbers("--weight", self.weight)
        references = named_numbers("--reference", self.reference)
        # The weights of a sweep may be over its own references already.
        before = None if references else stored.problem.weights
        given = changed_weights(weights, before, law.targets) if weights else None
        if not references:
            return given
        if unknown := [name for name in references if name not in law.targets]:
            raise OptimumError(
                f"--reference names {', '.join(unknown)}; the law's targets are "
                f"{', '.join(law.targets)}"
            )
        return over_references(given, references, law.goals)


def stated(flag: str, text: str, problem: "ProblemStatement") -> tuple["Mixture", tuple[str, ...]]:
    """The mixture that the text of an option states, with notes.

    Args:
        flag: name of the option, for messages.
        text: `natural`, `uniform`, `today` or the path of a JSON file {domain: number}.
        problem: the problem, which knows the domains and today's mixture.

    Raises:
        ConfigError: the file cannot be read, or today's mixture is not stated.
        MixtureError: the numbers are no mixture of the domains.
    """
    from bimix_sweep.errors import ConfigError
    from bimix_sweep.mixture.domains import DomainSet
    from bimix_sweep.mixture.stated_mixture import StatedMixture, natural_mixture

    if text == "today":
        if problem.today is None:
            raise ConfigError(f"{flag} is today, and the sweep does not state today's mixture")
        return problem.today, ()
    if text == "natural":
        return natural_mixture(flag, problem.domains), ()
    if text == "uniform":
        bounded = zip(problem.domains.names, problem.domains.upper, strict=True)
        usable = DomainSet(names=tuple(name for name, high in bounded if high > 0))
        return usable.uniform().moved({}, problem.domains.names), ()
    read = StatedMixture.of(flag, numbers_in(Path(text)), problem.domains)
    return read.mixture, read.notes
