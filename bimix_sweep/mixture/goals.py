"""Goals of targets: a direction and a range, and the positive loss that a law models for a measured
value.

A law models the logarithm of a positive loss that is minimised. The value of a target without a
range is already such a loss. The value of a target with a range [low, high], for example an
accuracy, is converted to a loss without a unit:

    loss = (high - value) / (high - low) + FLOOR    goal max
    loss = (value - low) / (high - low) + FLOOR     goal min

The conversion is linear. Therefore the weighted mean of the losses is smallest where the weighted
mean of the values is best, and predicted means, intervals and standard deviations convert back to
the target's own unit exactly. With a weight of 1 the whole range counts as much as one unit (one
nat per token) of a target without a range. FLOOR keeps the logarithm finite at the good end of the
range.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bimix_sweep.errors import ConfigError
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.text import shown

MIN_LOSS, MAX_LOSS = 1e-6, 1e6
"""Smallest and largest loss that is accepted. A loss outside measures nothing (a uniform guess
costs log(vocabulary), below 20 nats; rounding is about 1e-6), and fits would overflow on it."""
LOSS_NEEDED = f"a number between {MIN_LOSS:g} and {MAX_LOSS:g}"
"""What a loss must be, for messages."""
FLOOR = 0.01
"""Loss of a value at the good end of its range, a fraction of the range."""
MAX_END = 1e9
"""Largest absolute value of an end of a range."""
FORM = "min, max:LOW:HIGH or min:LOW:HIGH"
"""Syntax of a goal on the command line."""
ACCURACY = re.compile(
    r"(?<![a-z0-9])(acc(urac(y|ies))?|exact[ _.-]?match|em|f1|pass[ _-]?(@|at)[ _-]?(k|\d+)|mc[123]"
    r"|bleu\d?|rouge([12l]|lsum)?|auc|auroc|recall|precision|win[ _-]?rate)(?![a-z0-9])"
)
"""Words in a target's name that name a metric whose larger values are better."""
LOSS_NAME = re.compile(
    r"(?<![a-z0-9])(loss|nll|xent|ce|ppl|perplexity|bpb|bpc|bits|nats|err|error)(?![a-z0-9])"
)
"""Words in a target's name that name a metric whose smaller values are better; a name that matches
ACCURACY, too, is taken for a loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Direction and range of a target's values."""

    direction: Literal["min", "max"] = "min"
    """"min" where smaller values are better, "max" where larger values are better."""
    range: tuple[float, float] | None = None
    """Smallest and largest possible value; None: the value is a positive loss."""

    def __post_init__(self) -> None:
        if self.direction not in ("min", "max"):
            raise ConfigError(f"goal is {shown(self.direction)}; need min or max")
        if self.range is None:
            if self.direction == "max":
                raise ConfigError(
                    "goal max needs the range of its values, such as [0, 1] for an accuracy"
                )
            return
        low, high = map(float, self.range)
        object.__setattr__(self, "range", (low, high))  # floats, as JSON and YAML return them
        if not (-MAX_END <= low < high <= MAX_END and high - low >= MIN_LOSS):
            raise ConfigError(
                f"range is {shown(list(self.range))}; need [low, high], the smallest and the "
                f"largest possible value, between {-MAX_END:g} and {MAX_END:g}"
            )

    @property
    def needed(self) -> str:
        """What a value must be, for messages."""
        if self.range is None:
            return LOSS_NEEDED
        return f"a number in its range, {self.range[0]:g} to {self.range[1]:g}"

    @property
    def words(self) -> str:
        """The goal in words, for a person: `maximised in 0 to 1`."""
        ends = "" if self.range is None else f" in {self.range[0]:g} to {self.range[1]:g}"
        return f"{'minimised' if self.direction == 'min' else 'maximised'}{ends}"

    @property
    def scale(self) -> float:
        """Change of the value that corresponds to one unit of loss."""
        return 1.0 if self.range is None else self.range[1] - self.range[0]

    def allows(self, value: Any) -> Any:
        """Tells whether a value, or each value of an array, is possible for this target."""
        if self.range is None:
            return (value > MIN_LOSS) & (value < MAX_LOSS)
        return (value >= self.range[0]) & (value <= self.range[1])

    def loss_of(self, value: Any) -> Any:
        """Converts a value or an array of values to losses by the equations of the module's
        docstring."""
        if self.range is None:
            return value
        low, high = self.range
        far = high - value if self.direction == "max" else value - low
        return far / (high - low) + FLOOR

    def value_of(self, loss: Array) -> Array:
        """Inverse of `loss_of`; a loss outside the range is clipped to the nearer end of the
        range."""
        if self.range is None:
            return loss
        low, high = self.range
        far = np.clip(loss - FLOOR, 0.0, 1.0) * (high - low)
        return np.asarray(high - far if self.direction == "max" else low + far)

    def to_json(self) -> dict[str, Any]:
        """Returns the goal as JSON: `{"goal": "max", "range": [0, 1]}`."""
        return {
            "goal": self.direction,
            "range": None if self.range is None else list(self.range),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Goal":
        """Inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError, ConfigError: the content is not a goal.
        """
        ends = content["range"]
        if ends is not None:
            low, high = ends
            ends = (float(low), float(high))
        return cls(direction=content["goal"], range=ends)

    @classmethod
    def parse(cls, text: str) -> "Goal":
        """Reads a goal in the syntax of FORM.

        Raises:
            ConfigError: the text is not a goal.
        """
        direction, *ends = text.split(":")
        if direction not in ("min", "max") or len(ends) not in (0, 2):
            raise ConfigError(f"goal {shown(text)} is not known; need {FORM}")
        try:
            numbers = tuple(float(end) for end in ends)
        except ValueError:
            raise ConfigError(f"goal {shown(text)} has no numbers; need {FORM}") from None
        if direction == "max" and not numbers:
            raise ConfigError(
                "goal max needs the range of its values: max:0:1 for a fraction, max:0:100 for "
                "percent"
            )
        return cls(
            direction=direction,  # type: ignore[arg-type]
            range=(numbers[0], numbers[1]) if numbers else None,
        )


Goals = Mapping[str, Goal]
"""{target: goal}; a target without an entry is a positive loss by default, because no direction was
stated."""
PLAIN = Goal()
"""Goal of a plain positive loss."""


def losses_of(goals: Goals, targets: Sequence[str], values: Array) -> Array:
    """Converts (..., targets) measured values to the losses that are minimised; NaN stays NaN."""
    return _by_target(values, [goals.get(target, PLAIN).loss_of for target in targets])


def values_of(goals: Goals, targets: Sequence[str], losses: Array) -> Array:
    """Converts (..., targets) losses to values in the targets' own units."""
    return _by_target(losses, [goals.get(target, PLAIN).value_of for target in targets])


def first_refused(goals: Goals, targets: Sequence[str], values: Array) -> tuple[int, int] | None:
    """Returns row and column of the first of (rows, targets) values that its goal does not allow;
    None where all are allowed."""
    allowed = np.stack(
        [
            np.isnan(column) | goals.get(target, PLAIN).allows(column)
            for target, column in zip(targets, values.T, strict=True)
        ],
        axis=1,
    )
    bad = np.argwhere(~allowed)
    return (int(bad[0][0]), int(bad[0][1])) if bad.size else None


def why_refused(goals: Goals, target: str, value: float) -> str | None:
    """Returns what a value of this target must be, in words, where the value is not finite or is
    outside the range that the target's goal allows; None where the value is allowed."""
    goal = goals.get(target, PLAIN)
    return None if goal.allows(value) else goal.needed + hint(goals, target, value)


def hint(goals: Goals, target: str, value: float) -> str:
    """Returns advice to state a goal and a range, for the message that refuses a value that cannot
    be a loss; empty where this advice does not apply."""
    if goals.get(target, PLAIN).range is not None or not -MAX_END <= value <= MIN_LOSS:
        return ""
    return (
        f"; if {target} is another metric state its goal and range, such as goal: max, range: "
        f"[0, 1] (--goal {target}=max:0:1)"
    )


def value_scales(goals: Goals, targets: Sequence[str]) -> Array:
    """Returns the (targets,) factors that convert a standard deviation of losses to one of
    values."""
    return np.array([goals.get(target, PLAIN).scale for target in targets])


def ranged(goals: Goals) -> dict[str, Goal]:
    """Returns the goals that have a range, that is, the goals of targets that are not plain
    losses."""
    return {target: goal for target, goal in goals.items() if goal.range is not None}


def _by_target(columns: Array, changes: Sequence[Any]) -> Array:
    return np.stack(
        [change(columns[..., index]) for index, change in enumerate(changes)], axis=-1
    ).reshape(columns.shape)


def named_accuracy(target: str) -> bool:
    """Tells whether the target's name says that larger values are better: `arc_acc`, `exact_match`,
    `pass@1`."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", target).lower()
    return bool(ACCURACY.search(words)) and not LOSS_NAME.search(words)


def to_write(value: float) -> str:
    """Returns the range to suggest for an accuracy whose largest measured value is `value`."""
    return "[0, 100]" if value > 1 else "[0, 1]"


def unstated(
    goals: Goals, targets: Sequence[str], values: Array, own: Mapping[str, str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Finds targets without a stated direction that may be accuracies.

    Args:
        values: (rows, targets), NaN where not measured.
        own: {target: domain}; the held-out text of a domain is measured by a loss.

    Returns:
        [(target named like an accuracy, goal to write)], and notes on other targets whose values
            all lie between 0 and 1.
    """
    named, notes = [], []
    for index, target in enumerate(targets):
        measured = values[:, index][~np.isnan(values[:, index])]
        if target in goals or target in own or not measured.size:
            continue
        if named_accuracy(target):
            low, high = to_write(measured.max()).strip("[]").split(", ")
            named.append((target, f"max:{low}:{high}"))
        elif measured.min() >= 0 and measured.max() <= 1:
            notes.append(
                f"{target} is minimised as a loss, and all its values lie between 0 and 1; if "
                f"more is better state goal max with range [0, 1] (--goal {target}=max:0:1), "
                f"else goal min (--goal {target}=min)"
            )
    return named, notes
