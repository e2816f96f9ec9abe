"""Checks of a configuration and its text before the built-in trainer tokenises anything.

All commands use these checks. `run` and `submit` raise the first refusal; `plan` and `doctor`
report all of them, in the same words.
"""

import itertools
from collections.abc import Iterator

from bimix_sweep.config import SweepConfig
from bimix_sweep.data.blend import Blend
from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
from bimix_sweep.data.sampling.identity import identify
from bimix_sweep.data.sources import Source
from bimix_sweep.data.splits import MIN_DOCUMENTS
from bimix_sweep.errors import DataError
from bimix_sweep.proxy.spec import too_short
from bimix_sweep.sweep.text_sources import TextSources, given_tokenizer, vocabulary_of

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
    if config.proxy.context > (most := config.data.validation_tokens):
        yield (
            f"proxy.context is {config.proxy.context} and data.validation_tokens is {most}; need a "
            "context of at most as many, so that a validation set has a row"
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

    Raises:
        DataError: a text, or the tokenizer, cannot be read; or the tokens of several tokenizers are
            mixed.
    """
    if config.trainer != "builtin":
        return
    tokenizer = given_tokenizer(config)
    vocabulary_of(config, tokenizer)
    sources = TextSources.of(config, tokenizer)
    yield from _unknown_bytes(config, sources, tokenizer)
    for name, source in sources.domains.items():
        if (count := _different_documents(source, MIN_DOCUMENTS)) < MIN_DOCUMENTS:
            yield (
                f"domain {name} has {count} different documents; need at least "
                f"{MIN_DOCUMENTS} so that validation can be split off by document: give "
                "more, or cut long ones (one document a line of .jsonl, or a file each)"
            )
    if not estimates:
        return
    for name, target in sources.targets.items():
        if line := too_short(name, round(estimated_length(target)), config.proxy.context):
            yield line
    stated = config.subsample() or {}
    for name, limit in (config.subsample(_estimated(config, sources)) or {}).items():
        if name not in stated and (line := too_scarce(name, limit, config.proxy.context)):
            yield line


def estimated_tokens(config: SweepConfig) -> dict[str, float]:
    """{domain: estimated tokens of its text}, for domains without stated tokens."""
    return _estimated(config, TextSources.of(config, given_tokenizer(config)))


def _estimated(config: SweepConfig, sources: TextSources) -> dict[str, float]:
    return {
        name: estimated_length(source)
        for name, source in sources.domains.items()
        if not config.domains[name].tokens
    }


def estimated_length(source: Source | Blend) -> float:
    """Tokens of a source: counted if it holds tokens, otherwise estimated from its size."""
    if source.holds_tokens():
        return source.num_tokens()
    return source.stored_bytes() / BYTES_PER_TOKEN


def _unknown_bytes(
    config: SweepConfig, sources: TextSources, tokenizer: TextTokenizer | None
) -> Iterator[str]:
    """Yields a refusal of each target in bits per byte whose tokens stand for unknown bytes."""
    if tokenizer is not None and tokenizer.spells_text:
        return
    for name, target in config.resolved_targets().items():
        source = sources.domains.get(target.domain or "") or sources.targets.get(name)
        if target.unit == "bits_per_byte" and source is not None and source.holds_tokens():
            yield (
                f"targets.{name}.unit is bits_per_byte, and {source.place} holds tokens whose "
                "bytes are not known; state the byte-level tokenizer that made them "
                "(tokenizer: tokenizer.json), give text, or use nats_per_token"
            )


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


def _different_documents(source: Source | Blend, most: int) -> int:
    """Number of different documents of a source, as `data.prepare` distinguishes them.

    The count stops at `most`. It is taken as `most` if `MAX_LOOKED_AT` documents were read.
    """
    different: set[int] = set()
    for number, document in enumerate(documents_of(source)):
        if len(different) == most or number == MAX_LOOKED_AT:
            return most
        different.add(identify(document).key)
    return len(different)


def documents_of(source: Source | Blend) -> Iterator[str | Tokens]:
    """Documents of a source, texts or tokens."""
    yield from source.token_documents() if source.holds_tokens() else source.texts()
