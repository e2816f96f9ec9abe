"""Describes a domain that is a fixed blend of several sources."""

from collections.abc import Iterator
from dataclasses import dataclass

from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.data.sources import Source
from bimix_sweep.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """Several sources that are one domain, at fixed proportions of its tokens."""

    parts: tuple[tuple[Source, float], ...]
    """(source, its proportion of the domain's tokens), at least two; the proportions sum to 1."""

    def __post_init__(self) -> None:
        proportions = [proportion for _, proportion in self.parts]
        if len(proportions) < 2 or min(proportions) <= 0 or abs(sum(proportions) - 1) > 1e-6:
            raise DataError(
                f"a blend has proportions {proportions}; need two or more above 0 that sum to 1"
            )

    @property
    def place(self) -> str:
        """The paths, for messages."""
        return " + ".join(source.place for source, _ in self.parts)

    @property
    def vocabulary(self) -> int | None:
        """Vocabulary size if the files hold tokens.

        Raises:
            DataError: the sources state different vocabularies.
        """
        stated = {source.vocabulary for source, _ in self.parts}
        if len(stated) > 1:
            raise DataError(f"{self.place} have vocabularies {sorted(map(str, stated))}; need one")
        return stated.pop()

    def fingerprint(self) -> str:
        """Fingerprints and proportions of the sources, as in `Source.fingerprint`."""
        return " ".join(f"{source.fingerprint()}*{share!r}" for source, share in self.parts)

    def stored_bytes(self) -> float:
        """Approximate bytes of text at these proportions, until the first source is used up."""
        return min(source.stored_bytes() / share for source, share in self.parts)

    def num_tokens(self) -> float:
        """Number of tokens at these proportions, until the first source is used up."""
        return min(source.num_tokens() / share for source, share in self.parts)

    def texts(self) -> Iterator[str]:
        """Texts of the sources in turn, until the first source is used up."""
        for texts in zip(*(source.texts() for source, _ in self.parts), strict=False):
            yield from texts

    def token_documents(self) -> Iterator[Tokens]:
        """Documents of tokens of the sources in turn, until the first source is used up."""
        for documents in zip(*(source.token_documents() for source, _ in self.parts), strict=False):
            yield from documents

    def holds_tokens(self) -> bool:
        """True if the files hold tokens.

        Raises:
            DataError: some files hold tokens and some hold text.
        """
        kinds = {source.holds_tokens() for source, _ in self.parts}
        if len(kinds) > 1:
            raise DataError(f"{self.place} hold both tokens and text; need one kind")
        return kinds.pop()
