"""Who trains the proxies: what the sweep asks of a trainer, and the built-in one.

A trainer is prepared once in the driver (`Prepare`), travels to the workers, and trains one mixture after another there.
It knows nothing of Ray, journal or law. `function` and `command` are the trainers that users bring.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from bimix_sweep.config import CommandConfig, FunctionConfig, SweepConfig
from bimix_sweep.errors import ConfigError, DataError, TrainingError, TryAgainError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.proxy.spec import ProxySpec, too_short
from bimix_sweep.sweep.folder import NEXT_STORE, STORE, begun, local_part
from bimix_sweep.sweep.parcels import at_hand, keep_store

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


def prepare_trainer(config: SweepConfig, folder: str, say: Callable[[str], None]) -> Trainer:
    """The trainer that the configuration names.

    Raises:
        DataError, ConfigError: its text, function or program can't be used.
    """
    from bimix_sweep.sweep.command import prepare_command
    from bimix_sweep.sweep.function import prepare_function

    if isinstance(config.trainer, CommandConfig):
        return prepare_command(config, config.trainer)
    if isinstance(config.trainer, FunctionConfig):
        return prepare_function(config, config.trainer)
    return prepare_builtin(config, folder, say)


@dataclass(frozen=True, kw_only=True)
class BuiltinTrainer:
    """The small language model of `bimix_sweep.proxy` on the sweep's own token store."""

    store: str
    """A local folder, or the URI of its parcel."""
    specs: tuple[ProxySpec, ...]
    """One a size, rising."""
    sources: Mapping[str, str]
    """Target -> name of its validation split in the store."""
    bits_per_byte: frozenset[str]
    """Targets measured in bits per byte; the others in nats per token."""
    limits: Mapping[str, int] | None
    """Training tokens a domain may use, so that the longest training repeats them as the final run would; a shorter one is its beginning."""
    device: str
    domain_tokens: Mapping[str, float]
    data: Mapping[str, Any]

    @property
    def steps(self) -> int:
        return self.specs[-1].steps

    @property
    def eval_steps(self) -> tuple[int, ...]:
        return self.specs[-1].eval_steps()

    @property
    def sizes(self) -> tuple[float, ...]:
        return tuple(float(spec.size) for spec in self.specs)

    def precision(self, trainings: int) -> dict[str, Any]:
        from bimix_sweep.proxy.precision import check_device, choose_precision

        check_device(self.device)
        return choose_precision(
            self.specs[-1], self.device, trainings=trainings
        )  # the largest takes most of the time

    def train(self, job: TrialJob, report: Report) -> None:
        from bimix_sweep.data.store import TokenStore
        from bimix_sweep.data.stream import MixtureStream, badly_realised
        from bimix_sweep.proxy.precision import check_device
        from bimix_sweep.proxy.train import train

        check_device(self.device)  # of each worker: their nodes may differ
        spec = self.specs[-1 if job.size is None else self.sizes.index(job.size)]
        spec = replace(spec, steps=self.steps if job.steps is None else job.steps)
        store = TokenStore.open(at_hand(self.store))
        stream = MixtureStream(
            store,
            job.mixture,
            batch=spec.batch,
            context=spec.context,
            seed=job.seed,
            limits=self.limits,
        )
        sequences = spec.steps * spec.batch
        for name, (asked, got) in badly_realised(job.mixture, sequences).items():
            job.say(realised_words(job.trial, sequences, name, asked, got))
        unit = {
            target: 1 / (math.log(2) * store.bytes_per_token(split))
            if target in self.bits_per_byte
            else 1.0
            for target, split in self.sources.items()
        }
        done = train(
            spec,
            stream,
            {target: store.validation(split) for target, split in self.sources.items()},
            seed=job.seed,
            report=lambda step, losses: report(
                step, {target: loss * unit[target] for target, loss in losses.items()}
            ),
            device=self.device,
            precision=dict(job.precision),
            checkpoint_dir=job.checkpoint_dir,
            checkpoint_seconds=10.0,
            should_stop=job.preempted.is_set,
        )
        if not done:
            raise TryAgainError("its node is about to go; the checkpoint is written")


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


def proxy_specs(config: SweepConfig, vocabulary: int) -> tuple[ProxySpec, ...]:
    """The built-in models of a configuration, one a size, with the most steps.

    Raises:
        ConfigError: two of its sizes come to the same model.
    """
    shape = {
        "context": config.proxy.context,
        "batch": config.proxy.batch,
        "steps": config.proxy.lengths[-1],
    }
    specs = tuple(
        ProxySpec.for_size(size, vocabulary=vocabulary, **shape) for size in config.proxy.sizes
    )
    for wanted, before, spec in zip(config.proxy.sizes[1:], specs, specs[1:], strict=False):
        if spec.size <= before.size:
            raise ConfigError(
                f"proxy.sizes has {wanted:g}, and the builtin model nearest to it has {spec.size} parameters, no more than the one before; "
                "need sizes further apart"
            )
    return specs


def prepare_builtin(config: SweepConfig, folder: str, say: Callable[[str], None]) -> BuiltinTrainer:
    """Tokenise the sweep's text into `folder/store`, or open the store of a sweep that was begun.

    Raises:
        DataError: text is missing or too short for what the configuration asks.
    """
    from bimix_sweep.data.store import TokenStore
    from bimix_sweep.sweep.checks import check_before_run, too_scarce
    from bimix_sweep.sweep.texts import make_store, remember_texts

    targets, place = config.resolved_targets(), local_part(folder)
    if begun(folder):  # a sweep that goes on needs its store, not the text
        store = TokenStore.open(
            next(
                (path for path in (place / NEXT_STORE, place / STORE) if path.exists()),
                place / STORE,
            )
        )
    else:
        check_before_run(config, estimates=False)
        store = make_store(config, place / STORE, say)
        remember_texts(folder, config)
    tokens = {name: float(store.num_train_tokens(name)) for name in store.domains}
    limits = config.subsample(tokens)
    for name, limit in (limits or {}).items():
        if line := too_scarce(name, min(limit, tokens[name]), config.proxy.context):
            raise DataError(line)
    for name, target in targets.items():
        count = len(store.validation(target.domain or name))
        if line := too_short(name, count, config.proxy.context):
            raise DataError(line)
    for line in natural_realised(config, tokens):
        say(f"note: {line}")
    specs = proxy_specs(config, store.vocabulary)
    return BuiltinTrainer(
        store=keep_store(folder, store.path, store.digest),
        specs=specs,
        limits=limits,
        device="cuda" if config.resources.gpu else "cpu",
        domain_tokens=tokens,
        sources={name: target.domain or name for name, target in targets.items()},
        bits_per_byte=frozenset(
            name for name, target in targets.items() if target.unit == "bits_per_byte"
        ),
        data={"store": store.digest, "vocabulary": store.vocabulary, "tokens": tokens},
    )
