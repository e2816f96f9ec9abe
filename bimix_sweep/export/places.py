"""Looks at the paths of the domains file on this machine: which exist, and how many tokens they
hold.

The number of tokens is known for Megatron's `.bin` and `.idx`. Other paths are compared by their
bytes, which suits files of one format and one compression.
"""

import glob
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from bimix_sweep import locations
from bimix_sweep.data.finding.braces import expand_braces
from bimix_sweep.errors import DataError, ExportError
from bimix_sweep.export.domains_file import DomainSource
from bimix_sweep.export.rounding import DOCUMENT_DECIMALS
from bimix_sweep.text import shown

_INDEX = struct.Struct("<9sQB")
"""Beginning of a Megatron index: magic, version, code of the tokens' number format.

Source: `_IndexReader` in megatron/core/datasets/indexed_dataset.py.
"""
_MAGIC = b"MMIDIDX\x00\x00"
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 8: 2}
"""{code of a number format: bytes of one token}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The paths of one domain, as far as this machine knows them."""

    entries: tuple[str, ...]
    """The paths as they stand in the domains file."""
    matches: tuple[tuple[str, ...], ...]
    """The paths that each entry stands for: itself, or the matches of a glob."""
    each: tuple[float, ...] | None
    """Tokens of each entry; None where the number of one of them is not known."""
    total: float | None
    """Tokens of the domain; None where they are not known."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths with each glob replaced by its matches."""
        return tuple(path for paths in self.matches for path in paths)

    @property
    def lost(self) -> tuple[str, ...]:
        """Local paths that do not exist here, and globs without a match."""
        return tuple(
            entry
            for entry, paths in zip(self.entries, self.matches, strict=True)
            if not paths or not all(map(_is_there, paths))
        )

    @property
    def remote(self) -> bool:
        """True if a path is a URI, which is not looked up."""
        return any(map(locations.is_uri, self.entries))

    @property
    def by_bytes(self) -> bool:
        """True if the weight of the domain is split over some paths by their bytes."""
        return any(len(paths) > 1 and _tokens_of(paths) is None for paths in self._groups())

    def split(self, domain: str) -> dict[str, float]:
        """{path: its proportion of the domain's tokens}.

        Raises:
            ExportError: the tokens of the paths are not known, a path holds none, or a glob has no
                match.
        """
        paths = self.paths
        if lost := next((e for e, m in zip(self.entries, self.matches, strict=True) if not m), ""):
            raise ExportError(
                f"domain {domain} has the pattern {shown(lost)}, which matches nothing here, and "
                "this trainer takes no patterns; need the paths themselves, as a list"
            )
        if len(set(paths)) < len(paths):
            twice = next(path for path in paths if paths.count(path) > 1)
            raise ExportError(f"domain {domain} has the path {shown(twice)} twice; need it once")
        if len(paths) == 1:
            return {paths[0]: 1.0}
        amounts = {
            path: tokens * amount
            for inside, tokens in zip(self._groups(), self.each or (1.0,), strict=True)
            for path, amount in _measured(domain, inside).items()
        }
        total = sum(amounts.values())
        return {path: amount / total for path, amount in amounts.items()}

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        """Paths that are compared with each other: those of one entry if the tokens of each entry
        are known, else all."""
        return (self.paths,) if self.each is None else self.matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One domain, one source of a domain that is a fixed blend, or one path of either."""

    domain: str
    """Name of the domain; the paths of domain `web` are `web-1`, `web-2`."""
    proportion: float
    """Proportion of tokens, a whole number of millionths."""
    weight: float
    """Weight by which the trainer draws the domain, in the unit of the blend; all weights sum to
    1."""
    source: DomainSource
    """The domain's entry in the domains file."""
    places: Places
    """The domain's paths, as far as this machine knows them."""
    whole: str = ""
    """Name of the domain of which the part is one path; empty for a whole domain."""

    @property
    def parent(self) -> str:
        """Name of the whole domain."""
        return self.whole or self.domain

    @property
    def tokens(self) -> float | None:
        """Tokens that the domain's paths hold; None where they are not known."""
        return self.places.total

    @property
    def decimal(self) -> str:
        """The weight as a plain decimal number, without an exponent."""
        return f"{self.weight:.{DOCUMENT_DECIMALS}f}".rstrip("0").rstrip(".") or "0"


def look_up(source: DomainSource) -> Places:
    """Look up the paths of one domain.

    Raises:
        ExportError: a path has braces that do not close, or that stand for too many paths.
    """
    matches = tuple(map(_matches, source.paths))
    if isinstance(source.tokens, list):
        each: list[float | None] = list(source.tokens)
    else:
        each = [_tokens_of(paths) for paths in matches]
    known = tuple(count for count in each if count is not None)
    whole = known if known and len(known) == len(each) else None
    stated = source.tokens if isinstance(source.tokens, float | int) else None
    return Places(
        entries=source.paths,
        matches=matches,
        each=whole,
        total=stated if stated is not None or whole is None else sum(whole),
    )


def is_pattern(path: str) -> bool:
    """True if a path has wildcards and is not itself the name of a file here."""
    return any(sign in path for sign in "*?[{") and not locations.is_uri(path) and not _exists(path)


def _matches(entry: str) -> tuple[str, ...]:
    """The paths that an entry stands for, in the order of their names: itself if it is no glob.

    The prefixes of Megatron's data sets match without their endings.
    """
    if not is_pattern(entry):
        return (entry,)
    try:
        plain = expand_braces(entry)
    except DataError as error:
        raise ExportError(str(error)) from None
    found: list[str] = []
    for one in plain:
        if is_pattern(one):
            matched = _globbed(one) or [path[:-4] for path in _globbed(f"{one}.bin")]
            found += [p for p in matched if not (p.endswith(".idx") and f"{p[:-4]}.bin" in matched)]
        else:
            found.append(one)
    return tuple(found)


def _globbed(pattern: str) -> list[str]:
    """Matches of a pattern, absolute or relative as the pattern is."""
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  Path.glob has no such form


def _measured(domain: str, paths: tuple[str, ...]) -> dict[str, float]:
    """{path: its proportion of all their tokens, or of their bytes if the tokens are not known}.

    Raises:
        ExportError: a path is not here or holds nothing.
    """
    if len(paths) == 1:
        return {paths[0]: 1.0}
    known = _tokens_of(paths) is not None
    sizes = {path: (known and _megatron_tokens(path)) or _bytes(path) for path in paths}
    if empty := next((path for path, size in sizes.items() if not size), None):
        raise ExportError(
            f"domain {domain} has {len(paths)} paths, whose weights are split by their tokens, but "
            f"{shown(empty)} is not here or is empty; need tokens: [...] in the domains file, one "
            "number for each path"
        )
    return {path: size / sum(sizes.values()) for path, size in sizes.items()}


def _tokens_of(paths: tuple[str, ...]) -> float | None:
    """Tokens of Megatron data sets; None where one of the paths is no such data set here."""
    counts = [_megatron_tokens(path) for path in paths]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, or not a name of a file
        return False


def _is_there(path: str) -> bool:
    """True if a path, or the Megatron data set with this prefix, exists here, or is a URI."""
    return locations.is_uri(path) or _exists(path) or _exists(f"{path}.bin")


def _bytes(path: str) -> float:
    """Bytes of a file, of all files in a folder, or of the `.bin` of a prefix; 0 where there are
    none here."""
    place = Path(path)
    if locations.is_uri(path) or not _is_there(path):
        return 0
    if not place.is_dir():
        return (place if place.exists() else Path(f"{path}.bin")).stat().st_size
    return sum(
        (Path(folder) / name).stat().st_size
        for folder, _, names in os.walk(place)
        for name in names
    )


def _megatron_tokens(path: str) -> float | None:
    """Tokens of a Megatron data set, by its index; None if there is no such data set here."""
    if locations.is_uri(path):
        return None
    prefix = path.removesuffix(".bin").removesuffix(".idx")
    try:
        with Path(f"{prefix}.idx").open("rb") as index:
            magic, _, code = _INDEX.unpack(index.read(_INDEX.size))
        if magic != _MAGIC or code not in _BYTES:
            return None
        return Path(f"{prefix}.bin").stat().st_size / _BYTES[code]
    except (OSError, ValueError, struct.error):
        return None
