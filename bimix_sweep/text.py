"""Shortens the values and text of users for our messages, and removes characters that control a
terminal."""

import reprlib
from collections.abc import Iterable

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 2, 80, 80, 80


def shown(value: object) -> str:
    """Returns the `repr` of a value in at most 100 characters; only the beginning of a long `repr`
    is built."""
    try:
        text = _SHORT.repr(value)
    except ValueError:  # Python refuses to write out very long integers
        return (
            f"a number of {value.bit_length()} bits"
            if isinstance(value, int)
            else f"a {type(value).__name__}"
        )
    return text if len(text) <= 100 else f"{text[:97]}..."


def printable(text: str) -> str:
    """Returns the text in one line. Spaces replace line breaks and tabs; a replacement character
    stands for other characters that cannot be printed (escape sequences, text direction)."""
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def listed(names: Iterable[str], most: int = 12) -> str:
    """Returns the first names as a list for a message, and how many more there are."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def magnitude(value: float) -> str:
    """Formats a count of tokens or parameters in a short form: `800`, `2e5`, `8.19e5`."""
    return f"{value:.4g}" if value < 1e4 else _power(value)


def _power(value: float) -> str:
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def factor(value: float) -> str:
    """Formats a ratio ("how many times"): `1.5`, `35,000`, `1.22e7`."""
    if value < 10:
        return f"{value:.2g}"
    return f"{float(f'{value:.3g}'):,.0f}" if value < 1e6 else _power(value)
