"""Checks of a configuration and its text before the built-in trainer tokenises anything.

All commands use these checks. `run` and `submit` raise the first refusal; `plan` and `doctor`
report all of them, in the same words.
"""

import itertools
from collections.abc import Iterator

from bimix_sweep.config import SweepConfig
from bimix_sweep.data.blend import Blend
from bimix_sweep.data.sources import Source
from bimix_sweep.errors import DataError
from bimix_sweep.proxy.spec import too_short

VALIDATION_TOKENS = 8192
"""Tokens of a validation split that `data.prepare` makes."""
BYTES_PER_TOKEN = 3.5
"""Bytes per token with a vocabulary of a few thousand tokens, for domains without stated tokens."""
MAX_LOOKED_AT = 10_000
"""Largest number of documents that are read to find enough different ones.

If these are too few, `data.prepare` decides.
"""


def check_before_run(config: SweepConfig, *, texts: bool = True, estimates: bool = True) -> None:
    """Refuses what a run of the built-in trainer would refuse.

    Args:
        config: the user's configuration.
        texts: whether this machine can read the domains' text.
        estimates: whether to refuse by estimated numbers of tokens; a run counts them instead.

    Raises:
        DataError: the first refusal.
    """
    lines = itertools.chain(
        config_refusals(config), text_refusals(config, estimates) if texts else ()
    )
    if (line := next(lines, None)) is not None:
        raise DataError(line)


def config_refusals(config: SweepConfig) -> Iterator[str]:
    """Yields the refusals that follow from the configuration alone."""
    if config.trainer != "builtin":
        return
    if config.proxy.context >= VALIDATION_TOKENS:
        yield (
            f"proxy.context is {config.proxy.context} and a validation split has "
            f"{VALIDATION_TOKENS} tokens; need at most {VALIDATION_TOKENS - 1}, so that a "
            "sequence of the context fits into it"
        )
    for name, limit in (config.subsample() or {}).items():
        if line := too_scarce(name, limit, config.proxy.context):
            yield line


def text_refusals(config: SweepConfig, estimates: bool = True) -> Iterator[str]:
    """Yields the refusals that follow from the text of the domains and targets.

    At most a few documents of each are read.

    Args:
        config: the user's configuration.
        estimates: whether to refuse by lengths of texts that are estimated from their size.
    """
    from bimix_sweep.data.splits import MIN_DOCUMENTS  # imports the tokenizer's library

    if config.trainer != "builtin":
        return
    for name, domain in config.domains.items():
        if not domain.has_text:
            continue
        source = domain.as_source()
        if line := _holds_tokens(f"domain {name}", source):
            yield line
            continue
        if (count := _different_documents(source, MIN_DOCUMENTS)) < MIN_DOCUMENTS:
            yield (
                f"domain {name} has {count} different documents; need at least "
                f"{MIN_DOCUMENTS} so that validation can be split off by document: give "
                "more, or cut long ones (one document a line of .jsonl, or a file each)"
            )
    for name, target in config.targets.items():
        if target.path is None:
            continue
        source = target.as_source()
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
    """{domain: estimated tokens of its text}, for domains without stated tokens."""
    return {
        name: _estimated(source)
        for name, domain in config.domains.items()
        if domain.has_text
        and not domain.tokens
        and not (source := domain.as_source()).holds_tokens()
    }


def _estimated(source: Source | Blend) -> float:
    return source.stored_bytes() / BYTES_PER_TOKEN


def too_scarce(name: str, tokens: float, context: int) -> str | None:
    """Message that the part of a domain that a proxy may read is not longer than one sequence.

    None if the part is longer.
    """
    if tokens > context:
        return None
    return (
        f"domain {name} keeps {tokens:g} tokens for a proxy to repeat as often as the final "
        f"run would; need more than the context {context}, so lengthen the proxy (steps, "
        "batch) or set final.match_epochs: false"
    )


def _holds_tokens(what: str, source: Source | Blend) -> str | None:
    if not source.holds_tokens():
        return None
    return (
        f"{what} at {source.place} holds ready-made tokens, and the builtin trainer cannot "
        "tell their vocabulary; give their text, or name a trainer of yours"
    )


def _different_documents(source: Source | Blend, most: int) -> int:
    """Number of different documents of a source, as `data.prepare` distinguishes them.

    The count stops at `most`. It is taken as `most` if `MAX_LOOKED_AT` documents were read.
    """
    from bimix_sweep.data.sample import identify  # imports the tokenizer's library

    different: set[bytes] = set()
    for number, text in enumerate(source.texts()):
        if len(different) == most or number == MAX_LOOKED_AT:
            return most
        different.add(identify(text)[0])
    return len(different)
