"""Makes the `SweepSpec` and the first journal event from a configuration and its trainer."""

import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Protocol

from bimix_sweep.config import SweepConfig
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.law.posterior.problem_statement import FinalRun
from bimix_sweep.sweep.history.events import SweepEvent
from bimix_sweep.sweep.history.stored_spec import StoredSpec


class Proxies(Protocol):
    """Facts about the proxy trials that are known before they run; every `Trainer` has them."""

    @property
    def steps(self) -> int:
        """Optimizer steps of a trial; the largest number if there are several."""
        ...

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """Steps at which a trial measures its losses."""
        ...

    @property
    def sizes(self) -> tuple[float, ...]:
        """Non-embedding parameters of the proxies, rising."""
        ...

    @property
    def domain_tokens(self) -> Mapping[str, float]:
        """{domain: tokens that it has}."""
        ...


def sweep_spec(config: SweepConfig, trainer: Proxies) -> SweepSpec:
    """The `SweepSpec` that a configuration asks for, with these proxies.

    Args:
        config: the user's configuration.
        trainer: steps, sizes and token counts of the proxies.
    """
    tokens = dict(trainer.domain_tokens)
    return SweepSpec(
        domains=config.domain_set(tokens),
        targets=tuple(config.resolved_targets()),
        weights=config.weights(),
        own=config.own(),
        goals=config.goals(),
        objective=config.objective,
        steps=trainer.steps,
        shorter=config.proxy.lengths[:-1],
        size=trainer.sizes[-1],
        smaller=tuple(trainer.sizes[:-1]),
        eval_steps=trainer.eval_steps,
        min_step=trainer.eval_steps[0],
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
    )


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
