"""Who trains the proxies: what the sweep asks of a trainer, and the built-in one.

A trainer is prepared once in the driver (`Prepare`), travels to the workers, and trains one mixture after another there.
It knows nothing of Ray, journal or law. `function` and `command` are the trainers that users bring.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import TrainingError
from bimix_sweep.mixture.domains import Mixture

Report = Callable[[int, dict[str, float]], None]
"""Takes a step and {target: loss}; returns when they are recorded for good. The same point may come twice."""


class Peers(Protocol):
    """The other nodes of a training, each of which runs the same command."""

    @property
    def master(self) -> str:
        """Address of this node, as the others reach it."""
        ...

    def start(self, orders: Sequence[Mapping[str, Any]]) -> None:
        """Give each of them its order (`supervisor`)."""
        ...

    def failed(self) -> TrainingError | None:
        """Why one of them ended before its time, TryAgainError where another attempt may do better; None while all is well."""
        ...

    def stop(self) -> None:
        """End them, and return when they have ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialJob:
    """One training."""

    trial: str
    mixture: Mixture
    seed: int
    checkpoint_dir: Path
    """Its own; a training interrupted earlier left its checkpoint there."""
    precision: Mapping[str, Any]
    """The sweep's, as `Trainer.precision` gave it to the first training."""
    recorded: tuple[int, ...] = ()
    """Steps that earlier attempts recorded."""
    preempted: threading.Event = field(default_factory=threading.Event)
    """Set when the node is about to go: save and raise TryAgainError."""
    say: Callable[[str], None] = print
    """Adds to the training's log."""
    size: float | None = None
    """Non-embedding parameters, one of the trainer's sizes; None: its only one, or the largest."""
    steps: int | None = None
    """Optimizer steps, at most the trainer's; None: just these."""
    last_words: Callable[[], str] = str
    """The end of that log, for a failure's reason."""
    peers: Peers | None = None
    """The other nodes of a training on several."""


class Trainer(Protocol):
    """A prepared trainer; it can be pickled."""

    @property
    def steps(self) -> int:
        """Optimizer steps of a training, of the longest where there are several numbers."""
        ...

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """Steps with a point in such a training, rising; the last is `steps`."""
        ...

    @property
    def sizes(self) -> tuple[float, ...]:
        """Non-embedding parameters of the models it trains, rising."""
        ...

    @property
    def domain_tokens(self) -> Mapping[str, float]:
        """Tokens each domain's text has, where the trainer knows."""
        ...

    @property
    def data(self) -> Mapping[str, Any]:
        """JSON-able identity of the data: a sweep goes on only with the same."""
        ...

    def precision(self, trainings: int) -> dict[str, Any]:
        """What is chosen once for all trainings of a sweep, on the machine of the first one; JSON-able.

        Args:
            trainings: about how many of them one worker will run.
        """
        ...

    def train(self, job: TrialJob, report: Report) -> None:
        """Train, from the checkpoint where there is one.

        Raises:
            TryAgainError, OSError: another attempt may do better; it goes on from the checkpoint.
            TrainingError, or anything else: this training can't be done, and trying again would not help.
        """
        ...


Prepare = Callable[[SweepConfig, str, Callable[[str], None]], Trainer]
"""Makes the trainer of a sweep: configuration, the sweep's folder, a listener told what is being done."""


def realised_words(what: str, sequences: int, domain: str, asked: float, got: float) -> str:
    """One sentence about a proportion that a trial cannot realise."""
    return (
        f"{what} asks for a proportion of {asked:.3g} of {domain}, and a trial of {sequences:,} "
        f"sequences realises {got:.3g}; more steps or a larger batch come nearer"
    )


def natural_realised(config: SweepConfig, text_tokens: Mapping[str, float]) -> tuple[str, ...]:
    """Sentences about proportions of the natural mixture that the shortest trial cannot realise.

    Args:
        text_tokens: tokens of domains for which the file gives none.
    """
    from bimix_sweep.data.stream import badly_realised

    sequences = config.proxy.lengths[0] * config.proxy.batch
    natural = config.domain_set(dict(text_tokens)).natural()
    return tuple(
        realised_words("the natural mixture", sequences, name, asked, got)
        for name, (asked, got) in badly_realised(natural, sequences).items()
    )
