"""Values and text of others in our messages: short, and without characters that a terminal obeys."""

import reprlib

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 2, 80, 80, 80


def shown(value: object) -> str:
    """`repr`, of which only the beginning is ever made."""
    try:
        text = _SHORT.repr(value)
    except ValueError:  # an int that Python will not write out
        return (
            f"a number of {value.bit_length()} bits"
            if isinstance(value, int)
            else f"a {type(value).__name__}"
        )
    return text if len(text) <= 100 else f"{text[:97]}..."


def printable(text: str) -> str:
    """The text in one line; characters that are no letters, signs or spaces (escape sequences, line breaks, text direction) are replaced."""
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def magnitude(value: float) -> str:
    """A count of tokens or parameters in a short form: `800`, `2e5`, `8.19e5`."""
    return f"{value:.4g}" if value < 1e4 else _power(value)


def _power(value: float) -> str:
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def factor(value: float) -> str:
    """How many times: `1.5`, `35,000`, `1.22e7`."""
    if value < 10:
        return f"{value:.2g}"
    return f"{float(f'{value:.3g}'):,.0f}" if value < 1e6 else _power(value)
