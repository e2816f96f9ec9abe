"""Joins a recipe with the places of its domains' tokens, as input for the trainers' forms."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bimix_sweep.errors import ExportError
from bimix_sweep.export.domains_file import DomainSource, read_sources
from bimix_sweep.export.min_proportion import with_minimum
from bimix_sweep.export.places import Part, look_up
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.rounding import DOCUMENT_DECIMALS, rounded
from bimix_sweep.export.unit import Unit
from bimix_sweep.text import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """A recipe with the places of its tokens, ready to be written for a trainer."""

    parts: tuple[Part, ...]
    """All domains of the recipe, including domains with proportion 0."""
    recipe: Recipe
    """The recipe that the blend was made from."""
    given: bool
    """True if there was a domains file."""
    names: bool = False
    """True if a domain's name replaces its path where no path is given."""
    unit: Unit = Unit.TOKENS
    """Unit of the weights of the parts."""
    warnings: tuple[str, ...] = ()
    """What the user must know of the blend in every form."""

    def positive(self) -> tuple[Part, ...]:
        """The domains with a proportion above 0.

        Most trainers refuse a weight of 0.
        """
        return tuple(part for part in self.parts if part.proportion > 0)

    def weighted(self, unit: Unit) -> "Blend":
        """A copy of the blend with weights in a trainer's unit.

        A trainer that draws documents draws domain i with probability d[i]. So it reads a number of
        tokens of domain i that is proportional to d[i] * t[i], where t[i] is the mean number of
        tokens per document of domain i. For the proportions r[i] of tokens, d[i] is therefore
        proportional to r[i] / t[i].

        Raises:
            ExportError: the unit is documents and a domain's mean number of tokens per document is
                not known, or a weight is rounded to 0.
        """
        weights = {part.domain: part.proportion for part in self.parts}
        if unit is Unit.DOCUMENTS:
            per_token = {
                part.domain: part.proportion / self.tokens_per_document(part)
                for part in self.positive()
            }
            weights = dict.fromkeys(weights, 0.0) | rounded(per_token, DOCUMENT_DECIMALS)
            if lost := next((p.domain for p in self.positive() if not weights[p.domain]), None):
                raise ExportError(
                    f"domain {lost} would be drawn for less than one document in 10^12; its "
                    "tokens_per_document and its proportion do not fit together"
                )
        parts = tuple(replace(part, weight=weights[part.domain]) for part in self.parts)
        return replace(self, parts=parts, unit=unit)

    def listed(self) -> list[tuple[Part, list[str]]]:
        """Each domain with a proportion above 0, with all its paths as they stand in the domains
        file; all paths differ.

        This is for trainers that take several paths, and patterns, for a domain.

        Raises:
            ExportError: two domains have the same path, or a domain has no path.
        """
        found = [(part, self._paths(part)) for part in self.positive()]
        _check_different([(part, path) for part, paths in found for path in paths])
        return found

    def located(
        self, clean: Callable[[str], str] = str, *, patterns: bool = False
    ) -> list[tuple[Part, str]]:
        """Each domain with a proportion above 0, with its path; all paths differ.

        A domain with several paths stands there once for each path. The domain's weight is split by
        the tokens of the paths.

        Args:
            clean: function that changes a path as the trainer does.
            patterns: True if the trainer takes a pattern as the path of a domain.

        Raises:
            ExportError: two domains have the same path, a domain has no path, or the tokens of its
                paths are not known.
        """
        found: list[tuple[Part, str]] = []
        for part in self.positive():
            paths = self._paths(part)
            if not part.source.paths or (patterns and len(paths) == 1):
                found.append((part, clean(paths[0])))
            else:
                found += self._split(part, clean)
        _check_different(found)
        if len(found) == len(self.positive()):
            return found
        weights = rounded({part.domain: part.weight for part, _ in found}, DOCUMENT_DECIMALS)
        if lost := next((path for part, path in found if not weights[part.domain]), None):
            raise ExportError(f"the path {shown(lost)} would get less than 1e-12 of all tokens")
        return [(replace(part, weight=weights[part.domain]), path) for part, path in found]

    def _split(self, part: Part, clean: Callable[[str], str]) -> list[tuple[Part, str]]:
        """One part for each path of a domain, with its part of the domain's weight."""
        shares = part.places.split(part.domain)
        if len(shares) == 1:
            return [(part, clean(path)) for path in shares]
        names = {other.domain for other in self.parts}
        found = []
        for number, (path, share) in enumerate(shares.items(), start=1):
            name = f"{part.domain}-{number}"
            if name in names:
                raise ExportError(
                    f"domain {part.domain} has several paths, which are written as {name} and so "
                    f"on, but there is a domain {name}; rename one of the two in the recipe"
                )
            one = replace(
                part,
                domain=name,
                whole=part.domain,
                proportion=part.proportion * share,
                weight=part.weight * share,
            )
            found.append((one, clean(path)))
        return found

    def _paths(self, part: Part) -> list[str]:
        """Paths of a domain's training tokens, as they stand in the domains file.

        Raises:
            ExportError: there is no path, and names do not replace paths, or this name may not.
        """
        if part.source.paths:
            return list(part.source.paths)
        if self.names:
            if part.domain.startswith("/") or ".." in part.domain.split("/"):
                raise ExportError(
                    f"domain {part.domain} would be a path outside the trainer's folder; give "
                    "--domains FILE.yaml with its path"
                )
            return [part.domain]
        need = (
            f"need {part.domain}: {{path: ...}}, where your trainer's tokens of it lie, or --names "
            "for the domain's name in its place"
        )
        if self.given:
            raise ExportError(f"the domains file gives domain {part.domain} no path; {need}")
        raise ExportError(
            f"no domains file, and this form holds paths: give --domains FILE.yaml; {need}"
        )

    def held_out(
        self, split: Literal["valid", "test"], clean: Callable[[str], str] = str
    ) -> list[tuple[Part, str]]:
        """Each domain with a proportion above 0 that has held-out data, with the path of that data.

        Args:
            split: which held-out data.
            clean: function that changes a path as the trainer does.

        Raises:
            ExportError: the path of held-out data is also the path of training data.
        """
        trained = {
            clean(path): part.domain
            for part in self.positive()
            for path in (*part.places.paths, *self._paths(part))
        }
        found = [
            (part, clean(path))
            for part in self.positive()
            if (path := getattr(part.source, split)) is not None
        ]
        for part, path in found:
            if path in trained:
                raise ExportError(
                    f"domain {part.domain} has {split}: {shown(path)}, which is the path of domain "
                    f"{trained[path]} and would be trained on; need data of its own"
                )
        return found

    def tokens_per_document(self, part: Part) -> float:
        """Mean number of tokens per document of a domain.

        Raises:
            ExportError: the number is not known.
        """
        if part.source.tokens_per_document is None:
            raise ExportError(
                f"domain {part.domain} has no tokens_per_document; this trainer draws documents, "
                "so proportions of tokens must be divided by the mean length of a document: give "
                f"a domains file with {part.domain}: {{tokens_per_document: ...}}"
            )
        return part.source.tokens_per_document

    @property
    def seed(self) -> int:
        """The sweep's seed; 0 if the recipe names no seed."""
        seed = self.recipe.provenance.get("seed")
        return seed if isinstance(seed, int) and 0 <= seed < 2**32 else 0


def read_blend(
    recipe: Recipe,
    domains_file: str | Path | None = None,
    *,
    names: bool = False,
    min_proportion: float | None = None,
    floor: bool = False,
) -> Blend:
    """Join a recipe with its domains file.

    Args:
        recipe: the recipe.
        domains_file: path of the domains file; None: no file.
        names: True if a domain's name replaces its path where the domains file gives no path.
        min_proportion: smallest proportion of a domain; None: any.
        floor: True if smaller domains are raised to `min_proportion`; False if they are left out.

    Raises:
        ExportError: the file cannot be read, names a domain that the recipe lacks, or lacks a
            domain with a proportion above 0; or no mixture has this smallest proportion.
    """
    sources = {} if domains_file is None else read_sources(domains_file)
    proportions = recipe.by_source()
    if unknown := next((name for name in sources if name not in proportions), None):
        known = ", ".join(list(proportions)[:20])
        blend = f" (domain {unknown} is a fixed blend)" if unknown in recipe.blends else ""
        raise ExportError(
            f"{domains_file}: domain {unknown} is not in the recipe{blend}; need domains of {known}"
        )
    if floor and min_proportion is None:
        raise ExportError("--floor says what --min-proportion does; need --min-proportion too")
    warnings: list[str] = []
    if min_proportion is not None:
        proportions, warnings = with_minimum(proportions, min_proportion, floor=floor)
    if domains_file is not None and (
        lacking := next((n for n, x in proportions.items() if x > 0 and n not in sources), None)
    ):
        raise ExportError(
            f"{domains_file}: no domain {lacking}; need an entry for every domain with a "
            "proportion above 0"
        )
    parts = tuple(_part(name, x, sources.get(name)) for name, x in proportions.items())
    return Blend(
        parts=parts,
        recipe=recipe,
        given=domains_file is not None,
        names=names,
        warnings=tuple(warnings),
    )


def _part(name: str, proportion: float, source: DomainSource | None) -> Part:
    """The part of one domain, whose paths are looked up."""
    source = source or DomainSource()
    return Part(
        domain=name,
        proportion=proportion,
        weight=proportion,
        source=source,
        places=look_up(source),
    )


def _check_different(found: list[tuple[Part, str]]) -> None:
    """Raises an ExportError if two entries have the same path."""
    owner: dict[str, str] = {}
    for part, path in found:
        if other := owner.get(path):
            raise ExportError(
                f"domains {other} and {part.domain} have the same path {shown(path)}; need one "
                "of its own for each"
            )
        owner[path] = part.domain
