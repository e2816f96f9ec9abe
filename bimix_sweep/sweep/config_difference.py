"""The keys in which two configurations of a sweep differ, and which of them may change.

A key that only asks a different problem about the same losses may change: budget, stopping, weights,
goals, bounds, today's mixture, the prior, first mixtures, the final run. A change that would make losses
incomparable is refused: another tokenizer, trainer, shape or seed, or other targets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bimix_sweep.config import SweepConfig

Path = tuple[str, ...]
"""The keys that lead to a value of the configuration."""

FREE = (
    *("budget", "stop", "resources", "tracking", "name", "out"),
    *("objective", "today", "prior", "first", "final"),
)
"""Sections of the configuration that may change as a whole."""
WHOLE = (("today",), ("first",), ("prior", "mixture"))
"""Keys whose mapping is one value."""
SILENT = (
    *(("name",), ("out",), ("resources",), ("tracking",), ("trainer", "folder")),
    *(("data", "on_error"), ("data", "max_bad"), ("data", "store")),
)
"""Keys that do not affect the results."""
ADVICE = {
    ("seed",): "proposals and trials follow from it",
    ("tokenizer",): "another tokenizer gives a loss another meaning",
    ("tokens",): "the tokens would be read in another way",
    ("proxy", "vocabulary"): "another tokenizer gives a loss another meaning",
    ("proxy", "sizes"): "a sweep keeps the sizes of its proxies",
    ("proxy", "steps"): "a sweep keeps the numbers of steps of its trials",
    ("proxy",): "losses of trials of another shape are not comparable",
    ("data",): "a sweep keeps its validation sets",
    ("trainer",): "losses of another trainer are not comparable",
    (
        "targets",
    ): "a sweep keeps the targets that it measures; one that is no longer wanted gets weight: 0",
}
"""{key: why its change is refused}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDifference:
    """The difference between the sweep's configuration and the completed new one."""

    before: Mapping[Path, Any]
    """{key: value} of the sweep's configuration."""
    after: Mapping[Path, Any]
    """{key: value} of the new configuration."""
    renamed: Mapping[str, str]
    """{domain whose version changed: name of its old version}."""
    added: Sequence[str]
    """Domains that the sweep did not have, in any version."""

    @classmethod
    def between(
        cls, old: SweepConfig, new: SweepConfig, renamed: Mapping[str, str]
    ) -> "ConfigDifference":
        """Compares two configurations, key by key."""
        return cls(
            before=_flat(old.public()),
            after=_flat(new.public()),
            renamed=renamed,
            added=tuple(
                name
                for name in new.domains
                if name not in old.domains and name not in renamed.values()
            ),
        )

    @property
    def paths(self) -> list[Path]:
        """The keys that differ."""
        return [
            path
            for path in dict.fromkeys((*self.before, *self.after))
            if self.before.get(path) != self.after.get(path)
        ]

    @property
    def silent(self) -> bool:
        """Whether nothing differs that affects the results."""
        return all(map(_is_silent, self.paths))

    def refusals(self) -> Iterator[str]:
        """Yields a line for each key that may not change: old value, new value, what to do."""
        for path in self.paths:
            if line := self._refusal(path):
                yield line

    def lines(self) -> Iterator[str]:
        """Yields a line for each key that changed, with old and new value."""
        for path in self.paths:
            moved = (
                path[0] == "targets"
                and path[-1] == "domain"
                and self.before.get(path) in self.renamed
            )
            whole = path[0] == "domains" and (*path[:2], "min") not in self.before
            if not whole and not moved and not _is_silent(path):
                old, new = self._values(path)
                yield f"{'.'.join(path)} {old} -> {new}"

    def _values(self, path: Path) -> tuple[str, str]:
        return _shown(self.before.get(path)), _shown(self.after.get(path))

    def _refusal(self, path: Path) -> str | None:
        """Why this key may not change; None if it may."""
        if path[0] in FREE or path in SILENT:
            return None
        old, new = self._values(path)
        key, change = ".".join(path), f"was {old} and is now {new}"
        if path[0] == "domains":
            _, name, field = path
            versions = (*self.added, *self.renamed, *self.renamed.values())
            if name in versions or field in ("min", "max", "tokens"):
                return None
            return (
                f"{key} {change}; text that changed is another version, so give domains.{name} a "
                f"new version too, or bring the old {field} back"
            )
        if path[0] == "targets":
            known = [(*path[:2], "unit") in content for content in (self.before, self.after)]
            if all(known) and (
                path[-1] in ("weight", "group", "reference", "goal", "range")
                or (
                    path[-1] == "domain"
                    and self.renamed.get(self.before[path], "") == self.after[path]
                )
            ):
                return None
            if not all(known):
                key, change = f"targets.{path[1]}", "is new" if known[1] else "is gone"
        advice = next(
            (text for start, text in ADVICE.items() if path[: len(start)] == start),
            "results of before would not fit",
        )
        return f"{key} {change}; {advice}: bring it back, or start a new sweep with run --out"


def _is_silent(path: Path) -> bool:
    return any(path[: len(silent)] == silent for silent in SILENT)


def _flat(content: Any, path: Path = ()) -> dict[Path, Any]:
    """Flattens nested mappings into {path of keys: value}; lists and mixtures are values."""
    if isinstance(content, Mapping) and content and path not in WHOLE:
        return {
            inner: value
            for key, part in content.items()
            for inner, value in _flat(part, (*path, str(key))).items()
        }
    return {path: content}


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    return "absent" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
