"""Hard recipes for the trainers: 40 domains, 1e-4, zeros, one domain, repeated data, hard names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.rounding import rounded
from tests.benchmarks.proofs.job import SEQUENCE, Domain

SAMPLES = 32_000
"""Samples of SEQUENCE tokens that are drawn of each file."""
LENGTHS = (20, 40, 60, 80, 100)
"""Mean tokens of a document; the domains take them in turn."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recipe, and how many tokens its domains hold."""

    name: str
    """Name in the results."""
    proportions: dict[str, float]
    """Proportions of tokens, sum 1."""
    scarce: str = ""
    """Domain that holds only half of the tokens that are drawn of it."""

    def domains(self) -> list[Domain]:
        """The domains, each with enough tokens for one pass but the scarce one."""
        drawn = SAMPLES * SEQUENCE
        return [
            Domain(
                name=name,
                token=number,
                tokens=int((0.5 if name == self.scarce else 1.2) * x * drawn) + 20_000,
                length=LENGTHS[number % len(LENGTHS)],
            )
            for number, (name, x) in enumerate(self.proportions.items(), start=1)
        ]

    def recipe(self) -> Recipe:
        """The recipe, with the tokens and epochs of a run as long as the drawing."""
        tokens = {name: x * SAMPLES * SEQUENCE for name, x in self.proportions.items()}
        return Recipe(
            proportions=self.proportions,
            tokens=tokens,
            epochs={name: count / self.held(name) for name, count in tokens.items()},
            provenance={"seed": 7},
        )

    def held(self, name: str) -> float:
        """Tokens that a domain holds."""
        return float(sum(map(len, self._domain(name).documents())))

    def mean_length(self, name: str) -> float:
        """Mean tokens of a domain's documents."""
        return float(np.mean([len(document) for document in self._domain(name).documents()]))

    def to_job(self, folder: Path) -> dict[str, Any]:
        """What a proof is told of the case."""
        folder.mkdir()
        domains = [vars(domain) for domain in self.domains()]
        return {"name": self.name, "folder": str(folder), "domains": domains, "held": {}}

    def largest_error(self, counts: list[int]) -> float:
        """Largest difference between the proportion of tokens drawn and the recipe's."""
        drawn = np.array(counts[1:]) / sum(counts[1:])
        return float(np.abs(drawn - np.array([*self.proportions.values()])).max())

    def _domain(self, name: str) -> Domain:
        return next(domain for domain in self.domains() if domain.name == name)


def _forty() -> dict[str, float]:
    """40 domains, some of 1e-4 and two at 0."""
    drawn = np.random.default_rng(3).dirichlet(np.full(40, 0.7))
    drawn[:3], drawn[3:5] = 1e-4, 0
    drawn[5:] = np.maximum(drawn[5:], 1e-4)
    drawn[5:] *= (1 - drawn[:5].sum()) / drawn[5:].sum()
    return rounded({f"set-{number}": float(x) for number, x in enumerate(drawn)})


CASES = (
    Case(
        name="hard names",
        proportions={
            "1e3": 0.35,
            "null": 0.25,
            "dolma/web": 0.2,
            "a b.c": 0.1,
            "yes": 0.05,
            "#x: y": 0.0499,
            "rare": 0.0001,
            "zero": 0.0,
        },
    ),
    Case(name="forty domains", proportions=_forty()),
    Case(name="one domain", proportions={"only": 1.0}),
    Case(name="capped", proportions={"web": 0.6, "code": 0.3, "math": 0.1}, scarce="math"),
)
