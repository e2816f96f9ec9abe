"""Makes the events of a sweep as the journal stores them.

The kinds of events:

* `sweep`: the first event, with name, config and its digest, identity of the data, and the spec.
* `change`: the sweep continues with another config; the event holds what changed in words, the
  fields of `sweep`, and what happens to the trials so far.
* `precision`: the number format of all trials.
* `proposal`: a trial was decided, with mixture, reason, seed, role, and the points and the law that
  the decision used.
* `start`: an attempt at a trial began, with its place and its number of CPU cores and GPUs.
* `point`: losses of a trial at a step.
* `end`: a trial finished or failed, with the kind of failure.
* `retry`: a failed trial runs again from its beginning; the event says whether later decisions are
  open again.
* `refit`: the result of a refit, with predicted optimum, region, regret and decision.
* `decision`: the sweep stopped proposing, with the reason.
* `confirmation`: the law and the optimum that the confirmation trials test.
* `complete`: the comparison was made and the results were written.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.refit import Refit
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import SweepError
from bimix_sweep.journal.codec import Event
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.problem_statement import FinalRun
from bimix_sweep.mixture.domains import MAX_DOMAINS, DomainSet
from bimix_sweep.mixture.goals import Goal

CHANGED = ("name", "config", "config_digest", "data", "spec")
"""Fields of the `sweep` event that a `change` event replaces."""
ELSEWHERE = {"trainings": "elsewhere"}
"""Identity of the data of a sweep whose trials another program runs.

Such trials do not mix with trials of this program in one sweep.
"""


def sweep_event(
    *,
    name: str,
    config_digest: str,
    data: Mapping[str, Any],
    spec: SweepSpec,
    versions: Mapping[str, str],
    config: Mapping[str, Any] | None = None,
) -> Event:
    """The first event of a sweep.

    Args:
        name: name of the sweep.
        config_digest: digest of the configuration.
        data: identity of the data.
        spec: what the sweep optimises.
        versions: {library: version}.
        config: `SweepConfig.public`, with which a later change is compared.
    """
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
    """The event that makes a sweep continue as `first`, a `sweep` event, says.

    Args:
        first: the `sweep` event of the new configuration.
        what: the change in words, one line each.
        renamed, dropped, ended: the arguments of `SweepState.change`.
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
    """The event that a trial was decided.

    The event holds the trial's size if the sweep has several sizes, and its steps if the sweep has
    several numbers of steps.
    """
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
    """The event that holds the result of a refit.

    Args:
        refit: the result.
        num_over: number of trials that had ended.
        by: what the refit was for: "proposal", "watch" (a background refit) or "end".
    """
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
    """{target: mean relative error of the chosen law on held-out mixtures}.

    Only targets that were cross-validated are included.
    """
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
    """Reads a `SweepSpec` from the `spec` field of an event.

    Raises:
        BimixSweepError: the fields do not fit together.
    """
    fields = dict(content)
    entries = fields["domains"]
    if not 1 <= len(entries) <= MAX_DOMAINS:
        raise SweepError(f"domains has {len(entries)} entries; need 1 to {MAX_DOMAINS}")
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
