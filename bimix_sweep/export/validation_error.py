"""Describes an error that pydantic found in a user's file."""

from pydantic import ValidationError

from bimix_sweep.text import shown


def explain(error: ValidationError) -> str:
    """Describes the first error that pydantic found, on one line: the key, what arrived, what is
    needed."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part)[:80] for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if not where:
        return message
    if first["type"] == "extra_forbidden":
        return f"{where} is not a known key"
    if first["type"] == "missing":
        return f"no {where}; need it"
    return f"{where} is {shown(first.get('input'))}; {message[0].lower()}{message[1:]}"
