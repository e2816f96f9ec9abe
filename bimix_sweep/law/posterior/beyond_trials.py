"""States how far the final run lies beyond the trials, in numbers and in sentences.

The order of mixtures can change with size and with the number of tokens. Trials are small. Where
the final run lies outside the range of the trials, it is an assumption that the order of mixtures
holds there, and the sentences say so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bimix_sweep.mixture.final_run import FinalRun
from bimix_sweep.mixture.table_checks import NO_STEP
from bimix_sweep.text import factor, magnitude

Range = tuple[float, float]
"""Smallest and largest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeyondTrials:
    """Distance of a choice, and of the run that the choice is for, beyond the trials."""

    extrapolation: Mapping[str, float]
    """{"step", "size", "tokens"}: factor beyond the range of the trials, 1 inside; only known axes.

    `size` and `tokens` hold the final run where it is stated.
    """
    sentences: tuple[str, ...]
    """One sentence for each thing that no trial tested or that is not known."""


def beyond_trials(
    *,
    steps: Range,
    sizes: Range | None,
    tokens_per_step: float | None,
    final: FinalRun | None,
    step: float | None = None,
    size: float | None = None,
    as_configured: bool = False,
) -> BeyondTrials:
    """Compares the fidelity at which a choice is made, and the final run, with the trials.

    Args:
        steps: smallest and largest optimizer step of the trials.
        sizes: smallest and largest size of the trials, non-embedding parameters; None where not
            known.
        tokens_per_step: tokens of one of these steps; None where not known.
        final: the run that the mixture is for; None where not stated.
        step, size: the fidelity at which losses are compared; None: the largest of the trials.
        as_configured: sizes and tokens are those of the configuration's `proxy`, which a trainer
            other than the built-in one need not follow; the sentences say so.
    """
    by_sizes, by_steps, by_proxy = (
        (" (as proxy.sizes says)", ", as proxy.steps, context and batch say", ", as proxy says")
        if as_configured
        else ("", "", "")
    )
    tokens = None if tokens_per_step is None else _scaled(steps, tokens_per_step)
    final = final or FinalRun()
    at_step = beyond(steps[1] if step is None else step, steps)
    at_size = beyond(sizes[1] if sizes and size is None else size, sizes)
    final_size, final_tokens = beyond(final.size, sizes), beyond(final.tokens, tokens)
    factors = {"step": at_step, "size": _most(at_size, final_size), "tokens": final_tokens}
    sentences = [
        f"The losses are compared at {name} {magnitude(value)}, {factor(times)} times beyond the "
        f"trials: that the law holds there is assumed."
        for name, value, times in (("step", step, at_step), ("size", size, at_size))
        if value is not None and times is not None and times > 1
    ]
    if final.tokens is None and final.size is None:
        sentences.append(
            "The final run is not stated: how far it lies beyond the trials "
            f"({_trials(steps, sizes, tokens)}{by_proxy}) is not known."
        )
    else:
        sentences += [_on_size(final.size, sizes, final_size, by_sizes)]
        sentences += [_on_tokens(final.tokens, steps, tokens, final_tokens, by_steps)]
    return BeyondTrials(
        extrapolation={name: value for name, value in factors.items() if value is not None},
        sentences=tuple(filter(None, sentences)),
    )


def beyond(value: float | None, trained: Range | None) -> float | None:
    """Returns the factor by which a value lies beyond a range, 1 inside; None where either is not
    known."""
    if value is None or trained is None:
        return None
    return max(1.0, value / trained[1], trained[0] / value)


def _on_size(size: float | None, sizes: Range | None, times: float | None, source: str) -> str:
    if size is None:
        known = "" if sizes is None else f" of {magnitude(sizes[1])} parameters{source}"
        return (
            f"The size of the final run is not stated: how far it lies beyond the trials{known} "
            "is not known."
        )
    if sizes is None or times is None:
        return (
            f"The sizes of the trials are not known: how far a final run of {magnitude(size)} "
            "parameters lies beyond them is not known."
        )
    if times == 1:
        return ""
    had = (
        f"All trials had one size, {magnitude(sizes[0])} parameters"
        if sizes[0] == sizes[1]
        else f"The trials had {magnitude(sizes[0])} to {magnitude(sizes[1])} parameters"
    )
    return f"{had}{source}: {_assumed(f'{magnitude(size)} parameters', times, size > sizes[1])}"


def _on_tokens(
    tokens: float | None, steps: Range, trained: Range | None, times: float | None, source: str
) -> str:
    if tokens is None:
        return (
            "The tokens of the final run are not stated: how far it lies beyond the trials "
            f"({_trials(steps, None, trained)}{source}) is not known."
        )
    if trained is None or times is None:
        return (
            "The tokens of a step of the trials are not known: how far a final run of "
            f"{magnitude(tokens)} tokens lies beyond them ({_steps(steps)}) is not known."
        )
    if times == 1:
        return ""
    of_steps = f"{_steps(steps)} of {magnitude(trained[1] / steps[1])}{source}"
    had = f"The longest trial had {magnitude(trained[1])} tokens" + (
        "" if steps[1] == NO_STEP else f" ({of_steps})"
    )
    return f"{had}: {_assumed(f'{magnitude(tokens)} tokens', times, tokens > trained[1])}"


def _assumed(what: str, times: float, more: bool) -> str:
    return (
        f"that the order of mixtures holds at {what} ({factor(times)} times "
        f"{'as many' if more else 'less'}) is assumed."
    )


def _trials(steps: Range, sizes: Range | None, tokens: Range | None) -> str:
    parts = [] if sizes is None else [f"{magnitude(sizes[1])} parameters"]
    parts.append(_steps(steps) if tokens is None else f"{magnitude(tokens[1])} tokens")
    return ", ".join(parts)


def _steps(steps: Range) -> str:
    """Words for the steps of the longest trial."""
    return "steps not stated" if steps[1] == NO_STEP else f"{magnitude(steps[1])} steps"


def _scaled(steps: Range, tokens_per_step: float) -> Range:
    return steps[0] * tokens_per_step, steps[1] * tokens_per_step


def _most(*values: float | None) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return max(known) if known else None
