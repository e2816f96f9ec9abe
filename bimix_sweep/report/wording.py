"""Counts, percentages, quantities, durations and sentences as the page shows them."""

import math


def count(number: int, noun: str) -> str:
    """Number with its noun, which gets an s for any number but 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def sentence(reason: str) -> str:
    """Reason as a sentence: a capital letter at the start and a full stop at the end."""
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."


def quantity(value: float | None) -> str:
    """Number of tokens or parameters in a short form: 4.2T, 30B, 800; a dash for None."""
    if value is None or not math.isfinite(value):
        return "–"
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Wall time in words: seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def percent(value: float) -> str:
    """Fraction as a percentage of two significant digits: 0.00042 is 0.042 %."""
    if value == 0:
        return "0 %"
    size = 100 * abs(value)
    digits = 0 if size >= 99.5 else max(0, 1 - math.floor(math.log10(size)))
    return f"{100 * value:.{min(digits, 6)}f} %"


def proportion_text(value: float) -> str:
    """Proportion as a percentage with one decimal."""
    return f"{100 * value:.1f} %"
