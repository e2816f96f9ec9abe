"""The `SweepSpec` as the journal stores it: its one schema, for writing and for reading."""

import math
from dataclasses import asdict
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field

from bimix_sweep.config import MAX_FIRST, MAX_SIZES
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import SweepError
from bimix_sweep.mixture.domains import MAX_DOMAINS, DomainSet, Mixture
from bimix_sweep.mixture.final_run import FinalRun
from bimix_sweep.mixture.goals import Goal
from bimix_sweep.sweep.history.event_fields import (
    Count,
    Interval,
    Number,
    Numbers,
    Positive,
    PositiveNumber,
    Stored,
)


class StoredDomain(Stored):
    """One domain: its tokens (None: not limited) and the bounds of its proportion."""

    tokens: PositiveNumber | None
    min: Number
    max: Number


class StoredFinalRun(Stored):
    """The final run."""

    model_config = ConfigDict(extra="forbid")

    tokens: PositiveNumber | None
    size: PositiveNumber | None
    max_epochs: PositiveNumber


class StoredGoal(Stored):
    """The goal of one target."""

    goal: Literal["min", "max"]
    range: Interval | None


class StoredSpec(Stored):
    """The fields of a `SweepSpec`, under the same names and in the order in which they are written.

    `SweepSpec` documents the fields.
    """

    left_out = ("smaller", "shorter", "today", "prior", "kl", "first", "unique_tokens")

    targets: list[str]
    weights: Numbers
    own: dict[str, str]
    goals: dict[str, StoredGoal]
    today: Numbers | None = None
    prior: Numbers | None = None
    kl: Annotated[Number, Field(ge=0)] = 0.0
    first: Annotated[list[Numbers], Field(max_length=MAX_FIRST, default_factory=list)]
    objective: Literal["mean", "worst"]
    steps: Positive
    size: PositiveNumber
    eval_steps: list[Positive]
    min_step: Count
    seed: Count
    max_trials: Positive
    slots: Positive
    tolerance: Number
    patience: Positive
    core_hours: PositiveNumber | None = None
    gpu_hours: PositiveNumber | None = None
    max_before_caps: Annotated[list[Number], Field(max_length=MAX_DOMAINS)]
    final: StoredFinalRun | None
    tokens_per_step: PositiveNumber | None
    as_configured: bool
    unique_tokens: dict[str, PositiveNumber] = Field(default_factory=dict)
    smaller: Annotated[list[PositiveNumber], Field(max_length=MAX_SIZES - 1, default_factory=list)]
    shorter: Annotated[list[Positive], Field(max_length=MAX_SIZES - 1, default_factory=list)]
    domains: dict[str, StoredDomain]

    @classmethod
    def of(cls, spec: SweepSpec) -> Self:
        """Makes the stored form of a spec."""
        fields = {name: getattr(spec, name) for name in cls.model_fields}
        fields = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
        }
        final, domains = spec.final, spec.domains
        fields |= {
            "weights": dict(spec.weights),
            "unique_tokens": dict(spec.unique_tokens),
            "own": dict(spec.own),
            "today": None if spec.today is None else spec.today.as_dict(),
            "prior": None if spec.prior is None else spec.prior.as_dict(),
            "first": [mixture.as_dict() for mixture in spec.first],
            "goals": {name: StoredGoal(**goal.to_json()) for name, goal in spec.goals.items()},
            "final": None if final is None else StoredFinalRun(**asdict(final)),
            "domains": {
                name: StoredDomain(
                    tokens=tokens if math.isfinite(tokens) else None, min=low, max=high
                )
                for name, tokens, low, high in zip(
                    domains.names, domains.tokens, domains.lower, domains.upper, strict=True
                )
            },
        }
        return cls(**fields)

    def spec(self) -> SweepSpec:
        """The spec itself.

        Raises:
            BimixSweepError: the fields do not fit together.
        """
        entries = self.domains
        if not 1 <= len(entries) <= MAX_DOMAINS:
            raise SweepError(f"domains has {len(entries)} entries; need 1 to {MAX_DOMAINS}")
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        fields = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        fields |= {
            "domains": DomainSet(
                names=tuple(entries),
                tokens=tuple(
                    math.inf if e.tokens is None else float(e.tokens) for e in entries.values()
                ),
                lower=tuple(float(e.min) for e in entries.values()),
                upper=tuple(float(e.max) for e in entries.values()),
            ),
            "goals": {
                target: Goal.from_json(goal.model_dump()) for target, goal in self.goals.items()
            },
            "today": None if self.today is None else Mixture.from_mapping(self.today),
            "prior": None if self.prior is None else Mixture.from_mapping(self.prior),
            "first": tuple(Mixture.from_mapping(mixture) for mixture in self.first),
            "final": None if self.final is None else FinalRun(**self.final.model_dump()),
        }
        return SweepSpec(**fields)
