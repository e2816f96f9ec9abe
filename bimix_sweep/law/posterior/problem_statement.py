"""Stores the decision problem of a law, so that later commands solve the same problem.

A law predicts losses. The best mixture also depends on weights, objective, bounds, the tokens of
the domains and the final run that caps them. `LAW.json` of a sweep keeps the sweep's problem under
the key `problem`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from bimix_sweep.errors import OptimumError
from bimix_sweep.mixture.domains import MAX_DOMAINS, DomainSet, Mixture
from bimix_sweep.mixture.final_run import MAX_QUANTITY, FinalRun
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.seeding import rng

Baseline = Literal["today", "natural", "uniform"]
"""Names of the mixtures that a gain may be stated over."""
OBJECTIVES = ("mean", "worst")
"""Accepted objectives: the weighted mean of the losses, or the worst weighted loss."""
SAME = 1e-9
"""Numbers of two decision problems count as equal when they differ by less than this fraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemStatement:
    """Decision problem of a law: which mixture is best for an objective inside bounds."""

    sweep: str = ""
    """Name of the sweep that states the problem; empty where a person states it."""
    domains: DomainSet
    """Domains with the user's own bounds and the tokens available; `final` caps them further."""
    blends: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """{domain that is a fixed blend: {source: proportion of the domain's tokens}}."""
    weights: Mapping[str, float] | None = None
    """{target: importance}, a missing target counts 0; None: all targets count equally."""
    objective: str = "mean"
    """"mean" or "worst"."""
    step: float | None = None
    """Optimizer step at which losses are compared; None: the largest fitted."""
    size: float | None = None
    """Non-embedding parameters at which losses are compared; None: the largest fitted."""
    tokens_per_step: float | None = None
    """Tokens of one optimizer step of the trials; None where not known."""
    as_configured: bool = False
    """True where `tokens_per_step` and the sizes come from the configuration and were not measured
    by the trainer."""
    final: FinalRun | None = None
    """The run that the mixture is for; None where not stated."""
    at_final: bool = True
    """Whether losses are compared at the steps and the size of the final run, as far as they are
    known. False where a person states `step` or `size`."""
    today: Mixture | None = None
    """Mixture trained on now, the baseline of the gain; None where not stated."""
    prior: Mixture | None = None
    """Mixture to stay near; None where there is none."""
    kl: float = 0.0
    """Strength of the pull to `prior`: loss per nat of divergence."""
    seed: int | None = None
    """Seed of the sweep; with `num_points` it selects the generator of the posterior draws."""
    num_points: int = 0
    """Number of points that the sweep had recorded when it stated the problem."""
    confirmation_result: str = ""
    """Result of the sweep's confirmation trials, in words; empty before they have ended."""

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise OptimumError(f'objective is {self.objective!r}; need "mean" or "worst"')
        for name in ("step", "size", "tokens_per_step"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= MAX_QUANTITY:
                raise OptimumError(
                    f"{name} is {value:g}; need a number above 0, at most {MAX_QUANTITY:g}"
                )

    @property
    def final_domains(self) -> DomainSet:
        """Domains with bounds that also include the token caps of the final run.

        Raises:
            MixtureError: the caps leave no mixture.
        """
        if self.final is None or self.final.tokens is None:
            return self.domains
        return self.domains.capped(self.final.tokens, self.final.max_epochs)

    def unique(self, names: Sequence[str]) -> Array | None:
        """(names,) unique tokens of each domain over the final run's tokens; see `FinalRun`."""
        return None if self.final is None else self.final.unique(self.domains, names)

    @property
    def compared_at(self) -> tuple[float | None, float | None]:
        """Step and size at which losses are compared.

        These are those of the final run where it is stated: its tokens count in steps of the
        trials, whose batch may differ. None: the largest fitted.
        """
        step, size = self.step, self.size
        if self.final is None or not self.at_final:
            return step, size
        if self.final.tokens is not None and self.tokens_per_step is not None:
            step = self.final.tokens / self.tokens_per_step
        return step, size if self.final.size is None else self.final.size

    @property
    def baseline(self) -> tuple[Baseline, Mixture]:
        """Name and proportions of the mixture over which the gain is stated.

        This is today's mixture, or where it is not stated the natural mixture, or the uniform
        mixture where the tokens of the domains are not known.

        Raises:
            MixtureError: the caps of the final run leave no mixture.
        """
        if self.today is not None:
            return "today", self.today
        domains = self.final_domains
        if domains.knows_tokens:
            return "natural", domains.natural()
        return "uniform", domains.uniform()

    def generator(self) -> np.random.Generator:
        """Returns the generator of posterior draws; the same problem gets the same draws."""
        if self.seed is None:
            return np.random.default_rng(0)
        return rng(self.seed, "optimum", self.num_points)

    def differences(self, other: "ProblemStatement", targets: tuple[str, ...]) -> tuple[str, ...]:
        """States in words how this decision problem differs from another one.

        Args:
            other: the decision problem to compare with.
            targets: targets of the law.

        Returns:
            Parts such as `max of web is 0.2 instead of 1`; empty where both are the same.
        """
        mine, theirs = self._parts(targets), other._parts(targets)
        return tuple(
            f"{name} is {_in_words(mine.get(name))} instead of {_in_words(theirs.get(name))}"
            for name in dict.fromkeys((*mine, *theirs))
            if not _same(mine.get(name), theirs.get(name))
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; floats round-trip exactly."""
        return {
            "sweep": self.sweep,
            "domains": {
                name: {"tokens": tokens if math.isfinite(tokens) else None, "min": low, "max": high}
                for name, tokens, low, high in _rows(self.domains)
            },
            "blends": {name: dict(sources) for name, sources in self.blends.items()},
            "weights": None if self.weights is None else dict(self.weights),
            "objective": self.objective,
            "step": self.step,
            "size": self.size,
            "tokens_per_step": self.tokens_per_step,
            "as_configured": self.as_configured,
            "final": None if self.final is None else asdict(self.final),
            "at_final": self.at_final,
            "today": None if self.today is None else self.today.as_dict(),
            "prior": None if self.prior is None else self.prior.as_dict(),
            "kl": self.kl,
            "seed": self.seed,
            "num_points": self.num_points,
            "confirmation_result": self.confirmation_result,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ProblemStatement":
        """Reads what `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError, OptimumError, MixtureError: the data are no decision
                problem.
        """
        entries = data["domains"]
        if not 1 <= len(entries) <= MAX_DOMAINS:
            raise ValueError(f"the problem has {len(entries)} domains")
        if not 0 <= (kl := float(data["kl"])) < math.inf:
            raise ValueError(f"kl of the problem is {kl:g}")
        weights, prior, final = data["weights"], data["prior"], data["final"]
        today = data["today"]
        return cls(
            sweep=str(data["sweep"]),
            domains=DomainSet(
                names=tuple(map(str, entries)),
                tokens=tuple(
                    math.inf if e["tokens"] is None else float(e["tokens"])
                    for e in entries.values()
                ),
                lower=tuple(float(e["min"]) for e in entries.values()),
                upper=tuple(float(e["max"]) for e in entries.values()),
            ),
            blends={
                str(name): {str(source): float(x) for source, x in sources.items()}
                for name, sources in data["blends"].items()
            },
            weights=None if weights is None else {str(t): float(w) for t, w in weights.items()},
            objective=str(data["objective"]),
            step=_number(data["step"]),
            size=_number(data["size"]),
            tokens_per_step=_number(data["tokens_per_step"]),
            as_configured=bool(data["as_configured"]),
            final=None
            if final is None
            else FinalRun(
                tokens=_number(final["tokens"]),
                size=_number(final["size"]),
                max_epochs=float(final["max_epochs"]),
            ),
            at_final=bool(data["at_final"]),
            today=None if today is None else Mixture.from_mapping(today),
            prior=None if prior is None else Mixture.from_mapping(prior),
            kl=kl,
            seed=None if data["seed"] is None else int(data["seed"]),
            num_points=int(data["num_points"]),
            confirmation_result=str(data["confirmation_result"]),
        )

    @property
    def _compared_in_words(self) -> str:
        at_trials = self.compared_at == (self.step, self.size)
        return f"that of the {'trials' if at_trials else 'final run'}"

    def _parts(self, targets: tuple[str, ...]) -> dict[str, float | str | None]:
        """{name: value} of everything that changes the optimum or the statements beside it."""
        weights = dict.fromkeys(targets, 1.0) if self.weights is None else self.weights
        total = sum(weights.get(target, 0.0) for target in targets) or 1.0
        final = self.final or FinalRun()
        parts: dict[str, float | str | None] = {"objective": self.objective}
        parts |= {f"weight of {t}": weights.get(t, 0.0) / total for t in targets}
        for name, tokens, low, high in _rows(self.domains):
            parts |= {
                f"min of {name}": low,
                f"max of {name}": high,
                f"tokens of {name}": tokens if math.isfinite(tokens) else None,
            }
        parts |= {
            "tokens of the final run": final.tokens,
            "size of the final run": final.size,
            "max_epochs": None if final.tokens is None else final.max_epochs,
            "step": self.step,
            "size": self.size,
            "fidelity of the comparison": None if self.final is None else self._compared_in_words,
            "kl": self.kl,
        }
        near = {} if self.prior is None else self.prior.as_dict()
        return parts | {f"prior of {name}": proportion for name, proportion in near.items()}


def _rows(domains: DomainSet) -> list[tuple[str, float, float, float]]:
    return list(zip(domains.names, domains.tokens, domains.lower, domains.upper, strict=True))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _same(mine: float | str | None, theirs: float | str | None) -> bool:
    if isinstance(mine, float | int) and isinstance(theirs, float | int):
        return abs(mine - theirs) <= SAME * max(abs(mine), abs(theirs))
    return mine == theirs


def _in_words(value: float | str | None) -> str:
    if value is None:
        return "not stated"
    return value if isinstance(value, str) else f"{value:.4g}"
