"""The text or tokens of a configuration's domains and targets, ready to be read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bimix_sweep.config import SweepConfig
from bimix_sweep.data.blend import Blend
from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
from bimix_sweep.data.sources import Source
from bimix_sweep.data.tokenizing import common_vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSources:
    """The sources of one configuration; domains and targets without a path are left out."""

    domains: Mapping[str, Source | Blend]
    """{domain: its text or tokens}."""
    targets: Mapping[str, Source]
    """{target with a path of its own: its text or tokens}."""

    def all(self) -> list[Source | Blend]:
        """The sources of all domains and targets."""
        return [*self.domains.values(), *self.targets.values()]

    @classmethod
    def of(cls, config: SweepConfig, tokenizer: TextTokenizer | None) -> "TextSources":
        """Sources of a configuration whose tokenizer, where it states one, is known."""
        form = _token_form(config, tokenizer)
        return cls(
            domains={
                name: _formed(domain.as_source(), form)
                for name, domain in config.domains.items()
                if domain.has_text
            },
            targets={
                name: replace(target.as_source(), **form)
                for name, target in config.resolved_targets().items()
                if target.has_text
            },
        )


def given_tokenizer(config: SweepConfig) -> TextTokenizer | None:
    """Reads the tokenizer that a configuration states; None where it states none.

    Raises:
        DataError: the file is no tokenizer, or it has no end of text.
    """
    stated = config.tokenizer
    return None if stated is None else TextTokenizer.read(stated.path, stated.end_of_text)


def vocabulary_of(config: SweepConfig, tokenizer: TextTokenizer | None) -> int:
    """Returns the number of token ids of a sweep with the built-in trainer.

    Raises:
        DataError: the sources do not have one vocabulary, or cannot be read.
    """
    sources = TextSources.of(config, tokenizer)
    known = common_vocabulary({**sources.domains, **sources.targets}, tokenizer)
    return config.proxy.vocabulary if known is None else known


def _token_form(config: SweepConfig, tokenizer: TextTokenizer | None) -> dict[str, Any]:
    """The fields of `Source` about ready-made tokens and broken input."""
    stated = config.tokens
    return {
        "vocabulary": stated.vocabulary or (tokenizer and tokenizer.vocabulary),
        "end_of_text": (
            tokenizer.end_id
            if tokenizer is not None and stated.end_of_text is None
            else stated.end_of_text
        ),
        "dtype": stated.dtype,
        "max_bad": config.data.bad_allowed,
    }


def _formed(source: Source | Blend, form: Mapping[str, Any]) -> Source | Blend:
    """A source, or each source of a blend, with these fields."""
    if isinstance(source, Blend):
        return Blend(parts=tuple((replace(one, **form), share) for one, share in source.parts))
    return replace(source, **form)
