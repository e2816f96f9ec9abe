"""Describes a trial: the shape of its small language model and the settings of its training.

The learning rate is constant after a short warm-up. The evaluated weights are a power moving
average. So every point of one loss curve is the loss of an annealed trial that stops at that point.
With these settings, the law is visible in trials of about a minute.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bimix_sweep.errors import ConfigError

LARGEST = 10**9
"""Maximum of every count; a larger number is a typing error."""
BYTES_PER_PARAMETER = 32
"""Bytes of memory of a trial for each parameter (docs/evidence.md)."""
HEAD_WIDTH = 32
"""Width of an attention head; the model's width is a multiple of it."""


def too_short(target: str, tokens: int, context: int) -> str | None:
    """Error message for a target that is shorter than one sequence; None if it is long enough."""
    if tokens > context:
        return None
    return (
        f"target {target} has {tokens} tokens; need at least {context + 1}, one sequence of the "
        f"context {context}: give it more text or lower proxy.context"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySpec:
    """All settings of a trial, except its mixture and seed."""

    vocabulary: int
    """Vocabulary size: every token id is below this number."""
    width: int = 64
    """Width of the residual stream, a multiple of 32."""
    layers: int = 2
    """Number of blocks of attention and MLP."""
    context: int = 128
    """Number of predicted tokens per sequence."""
    batch: int = 8
    """Sequences per step."""
    steps: int = 400
    """Number of optimizer steps."""
    learning_rate: float = 8e-3
    """Learning rate, constant after the warm-up."""
    warmup: int = 40
    """Number of steps over which the learning rate rises linearly."""
    beta1: float = 0.9
    """Decay of AdamW's first moment."""
    beta2: float = 0.99
    """Decay of AdamW's second moment."""
    weight_decay: float = 0.1
    """AdamW's decoupled weight decay."""
    clip: float = 1.0
    """Maximum norm of the gradient."""
    ema_share: float = 0.1
    """Standard deviation, over the steps, of the weights in the power average, as a proportion
    of the steps so far, in (0, 0.5)."""
    num_evaluations: int = 8
    """Number of points of the loss curve, log-spaced up to the last step."""
    first_evaluation: float = 0.25
    """Start of the loss curve, as a proportion of the steps; at earlier steps, the exponents of
    the law are not constant."""

    def __post_init__(self) -> None:
        for name in (
            "vocabulary",
            "width",
            "layers",
            "context",
            "batch",
            "steps",
            "num_evaluations",
        ):
            if not (isinstance(value := getattr(self, name), int) and 1 <= value <= LARGEST):
                raise ConfigError(
                    f"proxy.{name} is {value!r}; need a whole number of at least 1 and at most "
                    f"{LARGEST}"
                )
        if self.width % HEAD_WIDTH:
            raise ConfigError(
                f"proxy.width is {self.width}; need a multiple of {HEAD_WIDTH}, the width of a head"
            )
        if not (
            self.learning_rate > 0 and self.clip > 0 and self.weight_decay >= 0 and self.warmup >= 0
        ):
            raise ConfigError(
                f"proxy has learning_rate {self.learning_rate:g}, clip {self.clip:g}, weight_decay "
                f"{self.weight_decay:g}, warmup "
                f"{self.warmup}; need the first two > 0, the others >= 0"
            )
        if not (
            0 < self.ema_share < 0.5
            and 0 < self.first_evaluation <= 1
            and 0 <= self.beta1 < 1
            and 0 <= self.beta2 < 1
        ):
            raise ConfigError(
                f"proxy has ema_share {self.ema_share:g}, first_evaluation "
                f"{self.first_evaluation:g}, betas {self.beta1:g}, {self.beta2:g}; "
                "need ema_share in (0, .5), first_evaluation in (0, 1] and betas in [0, 1)"
            )

    @classmethod
    def for_size(cls, size: float, *, vocabulary: int, **settings: Any) -> "ProxySpec":
        """The spec whose number of non-embedding parameters is nearest to `size`.

        Width and depth grow together, and the learning rate falls with the width. For example, size
        1e5 gives width 64 and 2 layers, 1e6 gives 160 and 3, 3e6 gives 256 and 4.

        Args:
            size: non-embedding parameters wanted, from 2e4 to 1e9.
            vocabulary: vocabulary size.
            settings: any other field.

        Raises:
            ConfigError: `size` or a setting is out of its range.
        """
        if not 2e4 <= size <= 1e9:
            raise ConfigError(
                f"proxy size is {size:g}; need from 2e4 to 1e9 non-embedding parameters"
            )
        layers = max(2, round((size / (12 * 64**2)) ** (1 / 3)))
        width = max(1, round((size / (12 * layers)) ** 0.5 / HEAD_WIDTH)) * HEAD_WIDTH
        return cls(
            **{
                "vocabulary": vocabulary,
                "width": width,
                "layers": layers,
                "learning_rate": 8e-3 * 64 / width,
                **settings,
            }
        )

    @property
    def size(self) -> int:
        """Number of non-embedding parameters: 12 width^2 per layer; norms have none."""
        return 12 * self.layers * self.width**2

    @property
    def embedding_parameters(self) -> int:
        """Number of parameters of the vocabulary: the embedding and the head."""
        return 2 * self.vocabulary * self.width

    @property
    def state_bytes(self) -> int:
        """Approximate bytes of memory of a trial for its parameters and what trains them."""
        return BYTES_PER_PARAMETER * (self.size + self.embedding_parameters)

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return self.width // HEAD_WIDTH

    @property
    def tokens_per_step(self) -> int:
        """Number of tokens predicted per step."""
        return self.batch * self.context

    def eval_steps(self) -> tuple[int, ...]:
        """Steps after which the losses are measured, log-spaced and ascending; the last one is
        `steps`."""
        first = max(1, round(self.first_evaluation * self.steps))
        return tuple(
            sorted(
                {round(float(s)) for s in np.geomspace(first, self.steps, self.num_evaluations)}
                | {self.steps}
            )
        )

    def to_json(self) -> dict[str, Any]:
        """All fields, JSON-able."""
        return asdict(self)
