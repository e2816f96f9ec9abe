"""What a proxy training is: the shape of its small language model and the recipe that trains it.

The recipe is the one under which the law shows on runs of a minute: constant rate after a short warm-up, and a power moving
average of the weights that is what gets evaluated, so every point of one run is the loss of an annealed run that stops there.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bimix_sweep.errors import ConfigError

LARGEST = 10**9
"""Any count above it is a slip of the hand."""
HEAD_WIDTH = 32
"""Width of an attention head; the model's width is a multiple of it."""


def too_short(target: str, tokens: int, context: int) -> str | None:
    """What to say of a target that is shorter than one sequence; None where it is not."""
    if tokens > context:
        return None
    return (
        f"target {target} has {tokens} tokens; need at least {context + 1}, one sequence of the "
        f"context {context}: give it more text or lower proxy.context"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySpec:
    """One proxy training, but for its mixture and seed."""

    vocabulary: int
    """Token ids are below it."""
    width: int = 64
    """Of the residual stream, a multiple of 32."""
    layers: int = 2
    """Blocks of attention and MLP."""
    context: int = 128
    """Tokens a sequence predicts."""
    batch: int = 8
    """Sequences a step."""
    steps: int = 400
    """Optimizer steps."""
    learning_rate: float = 8e-3
    """Constant after the warm-up."""
    warmup: int = 40
    """Steps over which the rate rises linearly."""
    beta1: float = 0.9
    """AdamW's first moment decay."""
    beta2: float = 0.99
    """AdamW's second moment decay."""
    weight_decay: float = 0.1
    """AdamW's decoupled decay."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema_share: float = 0.1
    """About the share of the run that the average of the weights reaches back, in (0, .5)."""
    num_evaluations: int = 8
    """Points of the loss curve, log-spaced up to the last step."""
    first_evaluation: float = 0.25
    """Where the curve begins, as a share of the steps; before it the exponents drift."""

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
                    f"proxy.{name} is {value!r}; need a whole number of at least 1 and at most {LARGEST}"
                )
        if self.width % HEAD_WIDTH:
            raise ConfigError(
                f"proxy.width is {self.width}; need a multiple of {HEAD_WIDTH}, the width of a head"
            )
        if not (
            self.learning_rate > 0 and self.clip > 0 and self.weight_decay >= 0 and self.warmup >= 0
        ):
            raise ConfigError(
                f"proxy has learning_rate {self.learning_rate:g}, clip {self.clip:g}, weight_decay {self.weight_decay:g}, warmup "
                f"{self.warmup}; need the first two > 0, the others >= 0"
            )
        if not (
            0 < self.ema_share < 0.5
            and 0 < self.first_evaluation <= 1
            and 0 <= self.beta1 < 1
            and 0 <= self.beta2 < 1
        ):
            raise ConfigError(
                f"proxy has ema_share {self.ema_share:g}, first_evaluation {self.first_evaluation:g}, betas {self.beta1:g}, {self.beta2:g}; "
                "need ema_share in (0, .5), first_evaluation in (0, 1] and betas in [0, 1)"
            )

    @classmethod
    def for_size(cls, size: float, *, vocabulary: int, **settings: Any) -> "ProxySpec":
        """The spec whose non-embedding parameters come nearest to `size`, its rate falling with its width.

        1e5 gives width 64 and 2 layers, 1e6 160 and 3, 3e6 256 and 4: width and depth grow together.

        Args:
            size: non-embedding parameters wanted, at least 2e4.
            settings: any other field.
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
        """Non-embedding parameters: 12 width^2 a layer; norms have none."""
        return 12 * self.layers * self.width**2

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.width // HEAD_WIDTH

    @property
    def tokens_per_step(self) -> int:
        """Tokens predicted a step."""
        return self.batch * self.context

    def eval_steps(self) -> tuple[int, ...]:
        """Steps after which the losses are measured, log-spaced, rising; the last is `steps`."""
        first = max(1, round(self.first_evaluation * self.steps))
        return tuple(
            sorted(
                {round(float(s)) for s in np.geomspace(first, self.steps, self.num_evaluations)}
                | {self.steps}
            )
        )

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)
