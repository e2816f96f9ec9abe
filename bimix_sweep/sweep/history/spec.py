"""Makes the `SweepSpec` and the first journal event from a configuration and its trainer."""

import math
import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from bimix_sweep.config import SweepConfig
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.mixture.final_run import FinalRun
from bimix_sweep.sweep.history.events import SweepEvent
from bimix_sweep.sweep.history.stored_spec import StoredSpec
from bimix_sweep.sweep.history.trainer_facts import TrainerFacts


def sweep_spec(config: SweepConfig, facts: TrainerFacts) -> SweepSpec:
    """The `SweepSpec` that a configuration asks for, with this trainer.

    Args:
        config: the user's configuration.
        facts: steps, sizes and token counts, from the trainer.
    """
    tokens = dict(facts.domain_tokens)
    stated = config.stated_mixtures(tokens, facts.entropy)
    return SweepSpec(
        domains=config.domain_set(tokens),
        targets=tuple(config.resolved_targets()),
        weights=config.weights(),
        own=config.own(),
        goals=config.goals(),
        today=stated.today,
        prior=stated.prior,
        kl=stated.kl,
        first=stated.first,
        objective=config.objective,
        steps=facts.steps,
        shorter=config.proxy.lengths[:-1],
        size=facts.sizes[-1],
        smaller=tuple(facts.sizes[:-1]),
        eval_steps=facts.eval_steps,
        min_step=facts.eval_steps[0],
        seed=config.seed,
        max_trials=config.budget.trials,
        tolerance=config.stop.tolerance,
        patience=config.stop.patience,
        core_hours=config.budget.core_hours,
        gpu_hours=config.budget.gpu_hours,
        max_before_caps=tuple(domain.max for domain in config.domains.values()),
        final=None
        if (final := config.final) is None
        else FinalRun(tokens=final.tokens, size=final.size, max_epochs=final.max_epochs),
        tokens_per_step=config.proxy.context * config.proxy.batch,
        as_configured=config.trainer != "builtin",
        unique_tokens=facts.unique_tokens or _unique_tokens(config, tokens),
    )


def _unique_tokens(config: SweepConfig, tokens: dict[str, float]) -> dict[str, float]:
    """{domain: unique tokens that a trial draws from}, as the configuration asks a trainer to."""
    limits = config.subsample(tokens) or {}
    return {
        name: float(limits.get(name, available))
        for name, available in config.available_tokens(tokens).items()
        if math.isfinite(available)
    }


def first_event(
    config: SweepConfig, data: Mapping[str, Any], spec: SweepSpec, slots: int
) -> SweepEvent:
    """The `sweep` event of a configuration.

    Args:
        config: the user's configuration.
        data: identity of the data, from the trainer.
        spec: the sweep's spec.
        slots: number of trials that run at the same time.
    """
    versions = {"python": platform.python_version()} | {
        name: version(name) for name in ("bimix-sweep", "ray", "optuna", "torch", "numpy", "scipy")
    }
    return SweepEvent(
        name=config.name,
        config=config.public(),
        config_digest=config.digest,
        data=dict(data),
        spec=StoredSpec.of(replace(spec, slots=slots)),
        versions=versions,
    )
