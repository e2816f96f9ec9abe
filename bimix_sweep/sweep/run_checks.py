"""What the built-in trainer refuses, found before anything is tokenised: one set of checks for every command.

`run` and `submit` raise the first refusal, `plan` and `doctor` tell them; each gives the same sentence.
"""

import itertools
from collections.abc import Iterator

from bimix_sweep.config import SweepConfig
from bimix_sweep.data.sources import Source
from bimix_sweep.errors import DataError
from bimix_sweep.proxy.spec import too_short

VALIDATION_TOKENS = 8192
"""Of a validation split, as `prepare` makes them."""
BYTES_PER_TOKEN = 3.5
"""Of text in a tokenizer of a few thousand tokens, for domains whose tokens nobody stated."""
MAX_LOOKED_AT = 10_000
"""Documents that are read to find a few different ones; where even these are too few, `prepare`
decides."""


def check_before_run(config: SweepConfig, *, texts: bool = True, estimates: bool = True) -> None:
    """Refuse what a run of the built-in trainer would refuse.

    Args:
        texts: this machine sees the domains' text.
        estimates: refuse by estimated numbers of tokens, too; a run counts them instead.

    Raises:
        DataError: the first refusal.
    """
    lines = itertools.chain(
        config_refusals(config), text_refusals(config, estimates) if texts else ()
    )
    if (line := next(lines, None)) is not None:
        raise DataError(line)


def config_refusals(config: SweepConfig) -> Iterator[str]:
    """Refusals that follow from the configuration alone."""
    if config.trainer != "builtin":
        return
    if config.proxy.context >= VALIDATION_TOKENS:
        yield (
            f"proxy.context is {config.proxy.context} and a validation split has {VALIDATION_TOKENS} tokens; need at most "
            f"{VALIDATION_TOKENS - 1}, so that a sequence of the context fits into it"
        )
    for name, limit in (config.subsample() or {}).items():
        if line := too_scarce(name, limit, config.proxy.context):
            yield line


def text_refusals(config: SweepConfig, estimates: bool = True) -> Iterator[str]:
    """Refusals that follow from the text of the domains and targets; at most a few documents of each are read.

    Args:
        estimates: of the lengths of texts, too, as estimated by their size.
    """
    from bimix_sweep.data.splits import MIN_DOCUMENTS  # loads the tokenizer's library

    if config.trainer != "builtin":
        return
    for name, domain in config.domains.items():
        if domain.path is None:
            continue
        source = Source(path=domain.path)
        if line := _holds_tokens(f"domain {name}", source):
            yield line
            continue
        if (count := _different_documents(source, MIN_DOCUMENTS)) < MIN_DOCUMENTS:
            yield (
                f"domain {name} has {count} different documents; need at least {MIN_DOCUMENTS} so that validation can be split off "
                "by document: give more, or cut long ones (one document a line of .jsonl, or a file each)"
            )
    for name, target in config.targets.items():
        if target.path is None:
            continue
        source = Source(path=target.path)
        line = _holds_tokens(f"target {name}", source)
        if line is None and estimates:
            line = too_short(name, round(_estimated(source)), config.proxy.context)
        if line is not None:
            yield line
    if not estimates:
        return
    stated = config.subsample() or {}
    for name, limit in (config.subsample(estimated_tokens(config)) or {}).items():
        if name not in stated and (line := too_scarce(name, limit, config.proxy.context)):
            yield line


def estimated_tokens(config: SweepConfig) -> dict[str, float]:
    """{domain: about how many tokens its text has}, of domains whose tokens nobody stated."""
    return {
        name: _estimated(source)
        for name, domain in config.domains.items()
        if domain.path is not None
        and not domain.tokens
        and not (source := Source(path=domain.path)).holds_tokens()
    }


def _estimated(source: Source) -> float:
    return source.stored_bytes() / BYTES_PER_TOKEN


def too_scarce(name: str, tokens: float, context: int) -> str | None:
    """What to say where the part of a domain that a proxy may read is not longer than one sequence; None where it is."""
    if tokens > context:
        return None
    return (
        f"domain {name} keeps {tokens:g} tokens for a proxy to repeat as often as the final run would; need more than the context "
        f"{context}, so lengthen the proxy (steps, batch) or set final.match_epochs: false"
    )


def _holds_tokens(what: str, source: Source) -> str | None:
    if not source.holds_tokens():
        return None
    return (
        f"{what} at {source.path} holds ready-made tokens, and the builtin trainer cannot tell their vocabulary; "
        "give their text, or name a trainer of yours"
    )


def _different_documents(source: Source, most: int) -> int:
    """How many there are as `prepare` tells them apart, counted up to `most`."""
    from bimix_sweep.data.sample import identify  # loads the tokenizer's library

    found: set[bytes] = set()
    for number, text in enumerate(source.texts()):
        if len(found) == most or number == MAX_LOOKED_AT:
            return most
        found.add(identify(text)[0])
    return len(found)
