"""Built-in trainer: trains the small language model of `bimix_sweep.proxy` on the token store."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import ConfigError, DataError, TryAgainError
from bimix_sweep.proxy.spec import ProxySpec, too_short
from bimix_sweep.sweep.history.trainer_facts import TrainerFacts
from bimix_sweep.sweep.trainers.base import Report, TrialJob, realised_words, references_realised
from bimix_sweep.sweep.workspace.archive import at_hand, keep_store
from bimix_sweep.sweep.workspace.paths import STORE, begun, local_part
from bimix_sweep.text import magnitude

if TYPE_CHECKING:
    from bimix_sweep.data.store import TokenStore


@dataclass(frozen=True, kw_only=True)
class BuiltinTrainer:
    """Trains the small language model of `bimix_sweep.proxy` on the sweep's own token store."""

    store: str
    """A local folder, or the URI of the archive that holds the store."""
    specs: tuple[ProxySpec, ...]
    """One model specification for each size, sizes rising."""
    sources: Mapping[str, str]
    """{target: name of its validation split in the store}."""
    bits_per_byte: frozenset[str]
    """Targets measured in bits per byte; the other targets are measured in nats per token."""
    limits: Mapping[str, int] | None
    """{domain: training tokens that a trial may use}, or None where no domain is limited.

    With these limits the longest trial repeats the text of a domain as often as the final run
    would. A shorter trial equals the beginning of the longest trial.
    """
    device: str
    """Device of a trial: "cpu" or "cuda"."""
    facts: TrainerFacts

    def precision(self, num_trials: int) -> dict[str, Any]:
        """Chooses the precision of the largest model on this machine's device."""
        from bimix_sweep.proxy.precision import check_device, choose_precision

        check_device(self.device)
        # The largest model takes most of the time.
        return choose_precision(self.specs[-1], self.device, num_trials=num_trials)

    def train(self, job: TrialJob, report: Report) -> None:
        """Trains one mixture on the token store, starting from the checkpoint where there is one.

        Raises:
            TryAgainError: the node is about to be taken away; the checkpoint is written.
        """
        from bimix_sweep.data.store import TokenStore
        from bimix_sweep.data.stream import MixtureStream, badly_realised
        from bimix_sweep.proxy.precision import check_device
        from bimix_sweep.proxy.train import train

        # Each worker checks its own device, because the nodes of the workers may differ.
        check_device(self.device)
        spec = self.specs[-1 if job.size is None else self.facts.sizes.index(job.size)]
        spec = replace(spec, steps=self.facts.steps if job.steps is None else job.steps)
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
        for name, (wanted, got) in badly_realised(job.mixture, sequences).items():
            job.say(realised_words(job.trial, sequences, name, wanted, got))
        unit = {
            target: 1 / (math.log(2) * store.bytes_per_token(split))
            if target in self.bits_per_byte
            else 1.0
            for target, split in self.sources.items()
        }
        done = train(
            spec,
            stream,
            {
                target: store.validation_rows(split, spec.context)
                for target, split in self.sources.items()
            },
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


def proxy_specs(config: SweepConfig, vocabulary: int) -> tuple[ProxySpec, ...]:
    """Returns the specification of the built-in model for each size, with the most steps.

    Raises:
        ConfigError: two sizes of the configuration give the same model.
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
                f"proxy.sizes has {wanted:g}, and the builtin model nearest to it has {spec.size} "
                "parameters, no more than the one before; need sizes further apart"
            )
    return specs


def vocabulary_cost(spec: ProxySpec) -> str:
    """A sentence on the parameters and the memory that a vocabulary costs each trial."""
    embeddings = spec.embedding_parameters
    return (
        f"{spec.vocabulary:,} tokens: {magnitude(embeddings)} parameters of embeddings beside "
        f"{magnitude(spec.size)} of the proxy, about {spec.state_bytes / 2**30:.1f} GB of memory of "
        "each trial"
        + (
            "; most of a trial's time goes into them, so it is faster with a smaller vocabulary"
            if embeddings > 10 * spec.size
            else ""
        )
    )


def _available_tokens(
    config: SweepConfig, store: "TokenStore", say: Callable[[str], None]
) -> dict[str, float]:
    """{domain: tokens of its text}; says which numbers are estimates and count."""
    tokens = {}
    for name in store.domains:
        tokens[name], counted = store.available_tokens(name)
        stated = name in config.domains and config.domains[name].tokens
        if not counted and not stated and config.final is not None:
            say(
                f"note: domain {name} has about {tokens[name]:.3g} tokens, estimated from the text "
                "that was read; the caps of final and match_epochs count this estimate, so state "
                f"domains.{name}.tokens if you know the number"
            )
    return tokens


def unique_tokens(
    tokens: Mapping[str, float], limits: Mapping[str, int], context: int
) -> dict[str, float]:
    """{domain: tokens of the sequences of its text that a trial may use}, as the stream cuts it."""
    from bimix_sweep.data.stream import num_windows

    used = {name: min(count, limits.get(name, count)) for name, count in tokens.items()}
    return {name: float(num_windows(count, context) * context) for name, count in used.items()}


def prepare_builtin(config: SweepConfig, folder: str, say: Callable[[str], None]) -> BuiltinTrainer:
    """Tokenises the sweep's text into `folder/store`, or opens the store of a sweep that has begun.

    Raises:
        DataError: the text is missing or too short for what the configuration asks.
    """
    from bimix_sweep.data.entropy import DomainEntropies
    from bimix_sweep.sweep.run_checks import check_before_run, too_scarce
    from bimix_sweep.sweep.trainers.store_preparation import open_store
    from bimix_sweep.sweep.trainers.texts import make_store, remember_texts

    targets = config.resolved_targets()
    if begun(folder):  # a resumed sweep needs its store, not the text
        store = open_store(folder)
    else:
        check_before_run(config, estimates=False)
        store = make_store(config, local_part(folder) / STORE, say)
        remember_texts(folder, config)
    tokens = _available_tokens(config, store, say)
    limits = config.subsample(tokens)
    for name, limit in (limits or {}).items():
        if line := too_scarce(name, min(limit, tokens[name]), config.proxy.context):
            raise DataError(line)
    for name, target in targets.items():
        rows = store.validation_rows(target.domain or name, config.proxy.context)
        if line := too_short(name, rows.size, config.proxy.context):
            raise DataError(line)
    specs = proxy_specs(config, store.vocabulary)
    drawn = {name: float(store.num_train_tokens(name)) for name in store.domains}
    facts = TrainerFacts(
        steps=specs[-1].steps,
        eval_steps=specs[-1].eval_steps(),
        sizes=tuple(float(spec.size) for spec in specs),
        domain_tokens=tokens,
        unique_tokens=unique_tokens(drawn, limits or {}, config.proxy.context),
        entropy=DomainEntropies.of(store).mixtures["CE"] if config.stated.asks_entropy else None,
        data={"store": store.digest, "vocabulary": store.vocabulary, "tokens": tokens},
    )
    for line in references_realised(config, facts):
        say(f"note: {line}")
    return BuiltinTrainer(
        store=keep_store(folder, store.path, store.digest),
        specs=specs,
        limits=limits,
        device="cuda" if config.resources.gpu else "cpu",
        sources={name: target.domain or name for name, target in targets.items()},
        bits_per_byte=frozenset(
            name for name, target in targets.items() if target.unit == "bits_per_byte"
        ),
        facts=facts,
    )
