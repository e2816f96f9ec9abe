"""What a trainer knows of its trials beforehand; workers import it, so it needs nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bimix_sweep.mixture.domains import Mixture


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerFacts:
    """What a trainer knows of its trials before the first one runs.

    The built-in trainer, the trainers for user code, a plan, and a sweep whose trials are trained
    elsewhere all describe their trials in this way.
    """

    steps: int
    """Optimizer steps of the longest trial."""
    eval_steps: tuple[int, ...]
    """Steps at which the longest trial reports a point, rising; the last is `steps`."""
    sizes: tuple[float, ...]
    """Non-embedding parameters of the models that the trainer trains, rising."""
    domain_tokens: Mapping[str, float] = field(default_factory=dict)
    """{domain: tokens in its text}, where the trainer knows the number."""
    unique_tokens: Mapping[str, float] = field(default_factory=dict)
    """{domain: unique tokens that a trial draws from}, where the trainer knows the number."""
    entropy: Mixture | None = None
    """Entropy mixture of the domains; None where nothing asks for it, or the trainer reads no text.
    """
    data: Mapping[str, Any] = field(default_factory=dict)
    """Identity of the data, JSON-able; a sweep may only be resumed with the same identity."""
