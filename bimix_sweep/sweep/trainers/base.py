"""Trainer protocol: what a sweep needs from whatever trains its proxy models.

A trainer is prepared once in the driver (`Prepare`), is sent to the workers, and trains one mixture
after another there. A trainer knows nothing of Ray, the journal or the law. The module `builtin`
holds the built-in trainer; `function` and `command` hold the trainers for the user's own code.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import TrainingError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.history.trainer_facts import TrainerFacts

Report = Callable[[int, dict[str, float]], None]
"""Records one point, a step and {target: loss}; returns when the point is on storage. A trainer may
report the same point twice.
"""


class Peers(Protocol):
    """The other nodes of a trial that runs on several nodes; each node runs the same command."""

    @property
    def master(self) -> str:
        """Address of this node, as the other nodes reach it."""
        ...

    def start(self, orders: Sequence[Mapping[str, Any]]) -> None:
        """Sends each of the other nodes its order (see `supervisor`)."""
        ...

    def failed(self) -> TrainingError | None:
        """Returns the error of a node that ended too early, or None while all nodes are well.

        The error is a TryAgainError where another attempt may succeed.
        """
        ...

    def stop(self) -> None:
        """Stops the other nodes and returns when they have ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialJob:
    """One trial, as the trainer receives it on a worker."""

    trial: str
    mixture: Mixture
    seed: int
    checkpoint_dir: Path
    """Checkpoint folder of this trial alone; an interrupted attempt left its checkpoint there."""
    precision: Mapping[str, Any]
    """Precision settings of the sweep, as `Trainer.precision` chose them for the first trial."""
    recorded: tuple[int, ...] = ()
    """Steps whose points earlier attempts recorded."""
    preempted: threading.Event = field(default_factory=threading.Event)
    """Set when the node is about to be taken away: save and raise TryAgainError."""
    say: Callable[[str], None] = print
    """Adds text to the trial's log."""
    size: float | None = None
    """Non-embedding parameters, one of `facts.sizes`; None: the only size, or the largest."""
    steps: int | None = None
    """Optimizer steps, at most `facts.steps`; None: `facts.steps`."""
    last_words: Callable[[], str] = str
    """Returns the last lines of the trial's log, which the reason of a failure quotes."""
    peers: Peers | None = None
    """The other nodes of a trial on several nodes; None for a trial on one node."""


class Trainer(Protocol):
    """A prepared trainer, which can be pickled."""

    @property
    def facts(self) -> TrainerFacts:
        """What the trainer knows of its trials before the first one runs."""
        ...

    def precision(self, num_trials: int) -> dict[str, Any]:
        """Chooses the precision of all trials of a sweep, on the machine of the first trial.

        Args:
            num_trials: approximate number of trials that one worker will run.

        Returns:
            JSON-able settings, stored once for the sweep.
        """
        ...

    def train(self, job: TrialJob, report: Report) -> None:
        """Trains one mixture, starting from the checkpoint where there is one.

        Raises:
            TryAgainError, OSError: another attempt may succeed; it starts from the checkpoint.
            TrainingError, or any other exception: this trial cannot be trained, and another attempt
                would not help.
        """
        ...


Prepare = Callable[[SweepConfig, str, Callable[[str], None]], Trainer]
"""Makes the trainer of a sweep from the configuration, the sweep's folder and a function that
receives progress messages.
"""


def realised_words(what: str, sequences: int, domain: str, wanted: float, got: float) -> str:
    """Returns one sentence about a proportion that a trial cannot realise."""
    return (
        f"{what} asks for a proportion of {wanted:.3g} of {domain}, and a trial of {sequences:,} "
        f"sequences realises {got:.3g}; more steps or a larger batch come nearer"
    )


def references_realised(config: SweepConfig, facts: TrainerFacts) -> tuple[str, ...]:
    """Returns sentences about natural proportions that the shortest trial cannot realise, and about
    those of today's mixture that a confirmation trial cannot realise.
    """
    from bimix_sweep.data.stream import badly_realised

    *_, longest = lengths = config.proxy.lengths
    tokens = dict(facts.domain_tokens)
    natural = config.domain_set(tokens).natural()
    references = [("the natural mixture", natural, lengths[0] * config.proxy.batch)]
    if (today := config.stated_mixtures(tokens, facts.entropy).today) is not None:
        references.append(("today's mixture", today, longest * config.proxy.batch))
    return tuple(
        realised_words(what, sequences, name, wanted, got)
        for what, mixture, sequences in references
        for name, (wanted, got) in badly_realised(mixture, sequences).items()
    )
