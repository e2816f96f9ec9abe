"""Who trains the proxies: what the sweep asks of a trainer, and the built-in one.

A trainer is prepared once in the driver (`Prepare`), travels to the workers, and trains one mixture after another there.
It knows nothing of Ray, journal or law.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import DataError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.sweep.folder import NEXT_STORE, STORE, begun

Report = Callable[[int, dict[str, float]], None]
"""Takes a step and {target: loss}; returns when they are recorded for good. The same point may come twice."""


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


class Trainer(Protocol):
    """A prepared trainer; it can be pickled."""

    @property
    def steps(self) -> int:
        """Optimizer steps of a training."""
        ...

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """Steps with a point, rising; the last is `steps`."""
        ...

    @property
    def size(self) -> float:
        """Non-embedding parameters."""
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
            TrainingError: this training can't be done, and trying again would not help.
        """
        ...


Prepare = Callable[[SweepConfig, Path, Callable[[str], None]], Trainer]
"""Makes the trainer of a sweep: configuration, the sweep's folder, a listener told what is being done."""


@dataclass(frozen=True, kw_only=True)
class BuiltinTrainer:
    """The small language model of `bimix_sweep.proxy` on the sweep's own token store."""

    store: Path
    spec: ProxySpec
    sources: Mapping[str, str]
    """Target -> name of its validation split in the store."""
    bits_per_byte: frozenset[str]
    """Targets measured in bits per byte; the others in nats per token."""
    limits: Mapping[str, int] | None
    """Training tokens a domain may use, so that a proxy repeats them as the final run would."""
    device: str
    domain_tokens: Mapping[str, float]
    data: Mapping[str, Any]

    @property
    def steps(self) -> int:
        return self.spec.steps

    @property
    def eval_steps(self) -> tuple[int, ...]:
        return self.spec.eval_steps()

    @property
    def size(self) -> float:
        return float(self.spec.size)

    def precision(self, trainings: int) -> dict[str, Any]:
        from bimix_sweep.proxy.precision import choose_precision

        return choose_precision(self.spec, self.device, trainings=trainings)

    def train(self, job: TrialJob, report: Report) -> None:
        from bimix_sweep.data.store import TokenStore
        from bimix_sweep.data.stream import MixtureStream
        from bimix_sweep.proxy.train import train

        store = TokenStore.open(self.store)
        stream = MixtureStream(
            store, job.mixture, batch=self.spec.batch, context=self.spec.context, seed=job.seed, limits=self.limits
        )  # fmt: skip
        unit = {
            target: 1 / (math.log(2) * store.bytes_per_token(split)) if target in self.bits_per_byte else 1.0
            for target, split in self.sources.items()
        }
        train(
            self.spec, stream, {target: store.validation(split) for target, split in self.sources.items()}, seed=job.seed,
            report=lambda step, losses: report(step, {target: loss * unit[target] for target, loss in losses.items()}),
            device=self.device, precision=dict(job.precision), checkpoint_dir=job.checkpoint_dir, checkpoint_seconds=10.0,
        )  # fmt: skip


def prepare_builtin(config: SweepConfig, folder: Path, say: Callable[[str], None]) -> BuiltinTrainer:
    """Tokenise the sweep's text into `folder/store`, or open the store of a sweep that was begun.

    Raises:
        DataError: text is missing or too short for what the configuration asks.
    """
    from bimix_sweep.data.prepare import prepare
    from bimix_sweep.data.sources import Source
    from bimix_sweep.data.store import TokenStore

    targets = config.resolved_targets()
    if begun(folder):  # a sweep that goes on needs its store, not the text
        store = TokenStore.open(next((path for path in (folder / NEXT_STORE, folder / STORE) if path.exists()), folder / STORE))
    else:
        store = prepare(
            {name: Source(path=domain.path) for name, domain in config.domains.items()},
            {name: Source(path=target.path) for name, target in targets.items() if target.path is not None},
            out=folder / STORE, vocabulary=config.proxy.vocabulary, progress=say,
            # what a training can use is enough, but a domain whose size nobody stated is counted whole
            max_tokens={name: math.ceil(config.proxy.tokens * domain.max) for name, domain in config.domains.items() if domain.tokens},
        )  # fmt: skip
    tokens = {name: float(store.num_train_tokens(name)) for name in store.domains}
    limits = config.subsample(tokens)
    for name, limit in (limits or {}).items():
        if min(limit, tokens[name]) <= config.proxy.context:
            raise DataError(
                f"domain {name} keeps {limit:g} tokens for a proxy to repeat as often as the final run would; need more than the context "
                f"{config.proxy.context}, so lengthen the proxy (steps, batch) or set final.match_epochs: false"
            )
    spec = ProxySpec.for_size(
        config.proxy.sizes[0], vocabulary=store.vocabulary, context=config.proxy.context, batch=config.proxy.batch, steps=config.proxy.steps
    )  # fmt: skip
    return BuiltinTrainer(
        store=folder / STORE, spec=spec, limits=limits, device="cuda" if config.resources.gpu else "cpu", domain_tokens=tokens,
        sources={name: target.domain or name for name, target in targets.items()},
        bits_per_byte=frozenset(name for name, target in targets.items() if target.unit == "bits_per_byte"),
        data={"store": store.digest, "vocabulary": store.vocabulary, "tokens": tokens},
    )  # fmt: skip
