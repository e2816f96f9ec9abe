"""What a training is besides its mixture: how large its proxy is and for how many steps it trains."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The size of a proxy and its number of steps."""

    size: float
    """Non-embedding parameters."""
    steps: float
    """Optimizer steps."""

    @property
    def cost(self) -> float:
        """What a training costs, in units that only compare with each other."""
        return self.size * self.steps

    def beyond(self, other: "Scale") -> str:
        """In what it exceeds another one, in words: `at a larger size`, `for more steps`."""
        said = [word for word, more in (("at a larger size", self.size > other.size), ("for more steps", self.steps > other.steps)) if more]
        return " and ".join(said)
