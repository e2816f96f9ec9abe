"""The events of a sweep as the journal keeps them.

| kind | what it says |
| --- | --- |
| `sweep` | the first event: name, config and its digest, identity of the data, the spec |
| `change` | the sweep goes on with another config: what changed in words, the same as of `sweep`, and what becomes of trainings so far |
| `precision` | the number format of all trainings |
| `proposal` | a training was decided: mixture, reason, seed, role, the points and the law it was decided from |
| `start` | an attempt at it began: where, and how many CPU cores and GPUs it holds |
| `point` | losses of a training at a step |
| `end` | a training finished or failed, and what kind of failure it is |
| `retry` | a failed training runs again from its beginning; whether what was decided since is open again |
| `refit` | what the points said at some moment: predicted optimum, region, regret, decision |
| `decision` | the sweep stopped proposing, and why |
| `finals` | the law and optimum that the final trainings test |
| `complete` | the comparison was made and the results written |
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bimix_sweep.design.planner import Refit
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import SweepError
from bimix_sweep.journal.codec import Event
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.question import FinalRun
from bimix_sweep.mixture.domains import MOST_DOMAINS, DomainSet
from bimix_sweep.mixture.goals import Goal

CHANGED = ("name", "config", "config_digest", "data", "spec")
"""Of the `sweep` event, what a `change` replaces."""
ELSEWHERE = {"trainings": "elsewhere"}
"""Identity of the data of a sweep whose trainings are not run by this program; trainings run by both do not mix in a sweep."""


def sweep_event(
    *,
    name: str,
    config_digest: str,
    data: Mapping[str, Any],
    spec: SweepSpec,
    versions: Mapping[str, str],
    config: Mapping[str, Any] | None = None,
) -> Event:
    """The first event; `config` is `SweepConfig.public`, what a change is compared with."""
    return {
        "kind": "sweep",
        "name": name,
        "config": dict(config or {}),
        "config_digest": config_digest,
        "data": dict(data),
        "spec": _spec_to_json(spec),
        "versions": dict(versions),
    }


def change_event(
    first: Event,
    *,
    what: Sequence[str],
    renamed: Mapping[str, str],
    dropped: Sequence[str],
    ended: Mapping[str, str],
) -> Event:
    """The sweep goes on as `first`, a `sweep` event, says.

    Args:
        what: the change in words, a line each.
        renamed, dropped, ended: as `SweepState.change` takes them.
    """
    return {
        "kind": "change",
        "what": list(what),
        **{key: first[key] for key in CHANGED},
        "renamed": dict(renamed),
        "dropped": list(dropped),
        "ended": dict(ended),
    }


def proposal_event(proposal: Proposal, role: str) -> Event:
    """A training was decided; its size is there where the sweep has several, and so are its steps."""
    return {
        "kind": "proposal",
        "trial": proposal.trial,
        "role": role,
        "mixture": proposal.mixture.as_dict(),
        "reason": proposal.reason,
        "seed": proposal.seed,
        "num_points": proposal.num_points,
        "fit": dict(proposal.fit),
        **proposal.at,
    }


def refit_event(refit: Refit, num_over: int, by: str) -> Event:
    """What the points said; `by` tells a decision before a proposal from a look in between."""
    event: Event = {
        "kind": "refit",
        "by": by,
        "num_points": refit.num_points,
        "num_trials": refit.num_trials,
        "num_over": num_over,
        "seconds": round(refit.seconds, 4),
        "decision": asdict(refit.decision),
        "optimum": None,
    }
    if refit.optimum is not None and refit.law is not None:
        event["law"] = {
            "choice": dict(refit.law.choice),
            "digest": refit.law.digest,
            "error": _held_out_errors(refit.law),
        }
        event["optimum"] = {
            "mixture": refit.optimum.mixture.as_dict(),
            "objective": refit.optimum.objective,
            "region": {name: list(ends) for name, ends in refit.optimum.region.items()},
            "interval": {name: list(ends) for name, ends in refit.optimum.interval.items()},
        }
    return event


def _held_out_errors(law: FittedLaw) -> dict[str, float]:
    """{target: mean relative error of the chosen law on mixtures left out}, of targets that were cross-validated."""
    errors = law.cross_validation.get("by_target", {})
    found = {
        target: errors[target][name]["mean_relative_error"]
        for target, name in law.choice.items()
        if name in errors.get(target, {})
    }
    return {target: error for target, error in found.items() if math.isfinite(error)}


def _spec_to_json(spec: SweepSpec) -> dict[str, Any]:
    content: dict[str, Any] = {
        "targets": list(spec.targets),
        "weights": dict(spec.weights),
        "own": dict(spec.own),
        "goals": {target: goal.to_json() for target, goal in spec.goals.items()},
        "objective": spec.objective,
        "steps": spec.steps,
        "size": spec.size,
        "eval_steps": list(spec.eval_steps),
        "min_step": spec.min_step,
        "seed": spec.seed,
        "max_trials": spec.max_trials,
        "slots": spec.slots,
        "tolerance": spec.tolerance,
        "patience": spec.patience,
        "core_hours": spec.core_hours,
        "gpu_hours": spec.gpu_hours,
        "max_before_caps": list(spec.max_before_caps),
        "final": None if spec.final is None else asdict(spec.final),
        "tokens_per_step": spec.tokens_per_step,
        "as_configured": spec.as_configured,
        **({"smaller": list(spec.smaller)} if spec.smaller else {}),
        **({"shorter": list(spec.shorter)} if spec.shorter else {}),
    }
    domains = spec.domains
    content["domains"] = {
        name: {"tokens": tokens if math.isfinite(tokens) else None, "min": low, "max": high}
        for name, tokens, low, high in zip(
            domains.names, domains.tokens, domains.lower, domains.upper, strict=True
        )
    }
    return content


def spec_from_json(content: Mapping[str, Any]) -> SweepSpec:
    """What `sweep_event` made of a spec.

    Raises:
        BimixSweepError: it does not fit together.
    """
    fields = dict(content)
    entries = fields["domains"]
    if not 1 <= len(entries) <= MOST_DOMAINS:
        raise SweepError(f"domains has {len(entries)} entries; need 1 to {MOST_DOMAINS}")
    fields["domains"] = DomainSet(
        names=tuple(entries),
        tokens=tuple(
            math.inf if e["tokens"] is None else float(e["tokens"]) for e in entries.values()
        ),
        lower=tuple(float(e["min"]) for e in entries.values()),
        upper=tuple(float(e["max"]) for e in entries.values()),
    )
    fields["goals"] = {target: Goal.from_json(goal) for target, goal in fields["goals"].items()}
    fields |= {
        key: tuple(fields[key])
        for key in ("targets", "eval_steps", "smaller", "shorter", "max_before_caps")
        if key in fields
    }
    final = fields["final"]
    return SweepSpec(**fields | {"final": final and FinalRun(**final)})
