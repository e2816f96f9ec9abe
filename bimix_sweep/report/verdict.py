"""The answer in one sentence: which mixture to use, what it gains, and what it ties with."""

from bimix_sweep.design.comparison import Comparison, role_in_words
from bimix_sweep.law.optimum.gain import BASELINES, Gain
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.wording import percent
from bimix_sweep.text import listed


def verdict(data: ReportData) -> str:
    """The answer as a sentence in plain text; empty where the sweep has no optimum."""
    if data.optimum is None:
        return ""
    parts = [_gain(data.gain)] if data.gain else []
    if data.comparison is None:
        begin = "Use this only to go on with the sweep"
        parts.append("no confirmation trial has compared it with others yet")
    else:
        begin = "Use this"
        if ties := _ties(data.comparison, data.gain):
            parts.append(f"a tie with {listed(ties)}")
    if data.gain is not None and data.gain.is_baseline:
        begin = f"Stay with {BASELINES[data.gain.baseline]}"
    return f"{begin}: {'; '.join(parts)}." if parts else f"{begin}."


def _gain(gain: Gain) -> str:
    """Gain over the baseline with its interval, in words."""
    if gain.is_baseline:
        return "no mixture was better"
    over = BASELINES[gain.baseline]
    ends = f"({100 * gain.lower:.1f} to {100 * gain.upper:.1f}, 95 % interval)"
    predicted = "" if gain.measured else "predicted "
    if gain.lower > 0:
        return f"{predicted}{percent(gain.value)} lower loss than {over} {ends}"
    if gain.upper < 0:
        return f"{predicted}{percent(-gain.value)} higher loss than {over} {ends}"
    return f"no {predicted}difference from {over} beyond the noise: {percent(gain.value)} {ends}"


def _ties(comparison: Comparison, gain: Gain | None) -> list[str]:
    """Compared mixtures whose loss does not differ from the recommended one's beyond the noise.

    The baseline is left out, because the gain says it already.
    """
    chosen = comparison.recommended_mixture
    return [
        role_in_words(one.role)
        for one in comparison.mixtures
        if one is not chosen
        and not (gain is not None and gain.baseline in one.role.split(" = "))
        and abs(one.objective - chosen.objective) <= comparison.bound
    ]
