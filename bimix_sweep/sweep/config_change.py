"""Decides which changes of a sweep's configuration are allowed, and what they do to its trials.

Resume, extend and upgrade use the same path: the new configuration is compared, key by key, with
the one in the journal.

* A key that only asks a different problem about the same losses may change: budget, stopping,
  weights, goals, bounds, the final run.
* Domains may be added. An earlier trial counts as a trial with proportion 0 of an added domain.
* A domain's text may be replaced if its `version` changes. Trials on the old text stay evidence
  about a domain of their own, `web@OLD`, which new mixtures do not contain, or they are dropped.
* A change that would make losses incomparable is refused: another tokenizer, trainer, shape or
  seed, or other targets.
* Targets are frozen. A sweep that began with the validation split of each domain keeps exactly
  these splits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bimix_sweep.config import DomainConfig, SweepConfig, TargetConfig
from bimix_sweep.design.new_domains import NUM_ADDED
from bimix_sweep.errors import SweepError
from bimix_sweep.journal.codec import Event
from bimix_sweep.sweep.history.events import change_event
from bimix_sweep.sweep.history.history import SweepHistory

VersionChange = Literal["keep", "drop"]
"""Choice for the trials on a domain's old version.

"keep" makes the old version a domain of its own; with "drop" the trials are no evidence any more.
"""

Path = tuple[str, ...]

FREE = ("budget", "stop", "resources", "name", "out", "objective", "final")
"""Sections of the configuration that may change as a whole."""
SILENT = (("name",), ("out",), ("resources",), ("trainer", "folder"))
"""Keys that do not affect the results."""
ADVICE = {
    ("seed",): "proposals and trainings follow from it",
    ("proxy", "vocabulary"): "another tokenizer gives a loss another meaning",
    ("proxy", "sizes"): "a sweep keeps the sizes of its proxies",
    ("proxy", "steps"): "a sweep keeps the numbers of steps of its trainings",
    ("proxy",): "losses of trainings of another shape are not comparable",
    ("trainer",): "losses of another trainer are not comparable",
    (
        "targets",
    ): "a sweep keeps the targets that it measures; one that is no longer wanted gets weight: 0",
}
"""{key: why its change is refused}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An allowed change of a sweep."""

    config: SweepConfig
    """Configuration with which the sweep continues.

    It is the new configuration, completed with old versions and targets that the user need not
    name.
    """
    what: tuple[str, ...]
    """The change in words, one line each; empty if nothing changed that affects the results."""
    renamed: Mapping[str, str]
    """{domain: name of its old version}."""
    added: tuple[str, ...]
    """Domains with text that no trial has seen."""
    dropped: tuple[str, ...] = ()
    """Names of the trials that are no evidence any more."""
    ended: Mapping[str, str]
    """{running trial: why it cannot continue}."""

    def event(self, first: Event) -> Event | None:
        """The `change` event that turns the journal's sweep into that of the `sweep` event `first`.

        None if nothing changed.
        """
        if not self.what:
            return None
        return change_event(
            first, what=self.what, renamed=self.renamed, dropped=self.dropped, ended=self.ended
        )


def compare(history: SweepHistory, given: SweepConfig, versions: VersionChange = "keep") -> Change:
    """Compares the new configuration with the sweep's own.

    Args:
        history: history of the sweep.
        given: the new configuration.
        versions: what happens to trials on the old version of a domain.

    Returns:
        The change, with the configuration with which the sweep continues.

    Raises:
        SweepError: a key changed that may not; one line for each such key, with the old value, the
            new value and what to do.
    """
    if not history.first.get("config"):
        if history.first["config_digest"] != given.digest:
            raise SweepError(
                "its journal does not hold the configuration it began with, so it goes on "
                "with just that; bring it back"
            )
        return Change(config=given, what=(), renamed={}, added=(), ended={})
    old = SweepConfig.parse(history.first["config"], where="the configuration in the journal")
    renamed = {
        name: _old_name(name, domain, old)
        for name, domain in old.domains.items()
        if name in given.domains and given.domains[name].version != domain.version
    }
    gone = [
        name for name in old.domains if name not in given.domains and not _is_old_version(name, old)
    ]
    config = _completed(old, given, renamed)
    before, after = _flat(old.public()), _flat(config.public())
    differing = [
        path for path in dict.fromkeys((*before, *after)) if before.get(path) != after.get(path)
    ]
    added = tuple(
        name for name in config.domains if name not in old.domains and name not in renamed.values()
    )
    refused = [
        f"domains.{name} is gone; trainings hold it, so keep it, with max: 0 for no new "
        "mixture to do so"
        for name in gone
    ]
    refused += [
        line for path in differing if (line := _refusal(path, before, after, renamed, added))
    ]
    added = (*added, *renamed)
    dropped = tuple(
        name
        for name, record in history.state.trials.items()
        if versions == "drop"
        and record.role == "sweep"
        and any(record.mixture.as_dict().get(domain, 0) > 0 for domain in renamed)
    )
    refused += _too_few(history, config, added, dropped)
    if refused:
        raise SweepError("\n".join(dict.fromkeys(refused)))
    if all(any(path[: len(silent)] == silent for silent in SILENT) for path in differing):
        return Change(config=config, what=(), renamed={}, added=(), ended={})
    other_share = _other_share(history, old, config, renamed)
    ended = _ended(
        history,
        {
            **dict.fromkeys(other_share, "uses another part of its text"),
            **dict.fromkeys(renamed, "has a new version"),
        },
    )
    what = [
        *_words(differing, before, after, renamed),
        *_told(history, config, renamed, added, versions, dropped, other_share),
    ]
    if ended:
        what.append(f"running trainings that cannot go on with it are ended: {', '.join(ended)}")
    return Change(
        config=config,
        what=tuple(what),
        renamed=renamed,
        added=added,
        dropped=dropped,
        ended=ended,
    )


def extended(config: SweepConfig, runs: int) -> SweepConfig:
    """The configuration with a budget of `runs` more trials."""
    budget = config.budget.model_copy(update={"trials": config.budget.trials + runs})
    return SweepConfig.parse(
        config.model_copy(update={"budget": budget}).model_dump(mode="json"), where=f"--runs {runs}"
    )


def _completed(old: SweepConfig, given: SweepConfig, renamed: Mapping[str, str]) -> SweepConfig:
    """Completes the new configuration with the domains that it leaves out and the frozen targets.

    A user need not name old versions of domains. The targets are those with which the sweep began.
    """
    content = given.model_dump(mode="json")
    domains = {name: domain.model_dump(mode="json") for name, domain in old.domains.items()}
    for name in old.domains:
        if name not in content["domains"]:
            content["domains"][name] = domains[name]
    for name, other in renamed.items():
        content["domains"][other] = domains[name] | {"min": 0.0, "max": 0.0}

    def frozen(name: str, target: TargetConfig) -> dict[str, Any]:
        """A target of the old configuration, under the present name of its domain."""
        domain = target.domain and renamed.get(target.domain, target.domain)
        return target.model_copy(update={"domain": domain}).model_dump(mode="json")

    targets = {name: frozen(name, target) for name, target in old.resolved_targets().items()}
    if not given.targets:
        content["targets"] = targets
    for name, target in content["targets"].items():
        known = targets.get(name)
        if (
            known
            and known["domain"]
            and target["domain"]
            and known["domain"].startswith(f"{target['domain']}@")
        ):
            target["domain"] = known["domain"]
    return SweepConfig.parse(content, where="the changed configuration")


def _old_name(name: str, domain: DomainConfig, old: SweepConfig) -> str:
    label = (
        (domain.version or "first")
        .replace("/", "-")
        .replace("\\", "-")
        .replace(",", "-")
        .replace('"', "-")
        .strip()
    )
    names = (
        f"{name}@{label}",
        *(f"{name}@{label}-{number}" for number in range(2, len(old.domains) + 3)),
    )
    return next(candidate for candidate in names if candidate not in old.domains)


def _is_old_version(name: str, config: SweepConfig) -> bool:
    base, at, _ = name.partition("@")
    return bool(at) and base in config.domains and config.domains[name].max == 0


def _flat(content: Any, path: Path = ()) -> dict[Path, Any]:
    """Flattens nested mappings into {path of keys: value}; lists are values."""
    if isinstance(content, Mapping) and content:
        return {
            inner: value
            for key, part in content.items()
            for inner, value in _flat(part, (*path, str(key))).items()
        }
    return {path: content}


def _refusal(
    path: Path,
    before: Mapping[Path, Any],
    after: Mapping[Path, Any],
    renamed: Mapping[str, str],
    added: tuple[str, ...],
) -> str | None:
    """Why this key may not change; None if it may."""
    if path[0] in FREE or path in SILENT:
        return None
    key, change = (
        ".".join(path),
        f"was {_said(before.get(path))} and is now {_said(after.get(path))}",
    )
    if path[0] == "domains":
        _, name, field = path
        if name in (*added, *renamed, *renamed.values()) or field in ("min", "max", "tokens"):
            return None
        return (
            f"{key} {change}; text that changed is another version, so give domains.{name} a new "
            f"version too, or bring the old {field} back"
        )
    if path[0] == "targets":
        there = [(*path[:2], "unit") in content for content in (before, after)]
        if all(there) and (
            path[-1] in ("weight", "goal", "range")
            or (path[-1] == "domain" and renamed.get(before[path], "") == after[path])
        ):
            return None
        if not all(there):
            key, change = f"targets.{path[1]}", "is new" if there[1] else "is gone"
    advice = next(
        (text for known, text in ADVICE.items() if path[: len(known)] == known),
        "results of before would not fit",
    )
    return f"{key} {change}; {advice}: bring it back, or start a new sweep with run --out"


def _too_few(
    history: SweepHistory, config: SweepConfig, added: tuple[str, ...], dropped: tuple[str, ...]
) -> Iterator[str]:
    """Refuses a budget that leaves too few trials for the added domains."""
    wanted = [name for name in added if config.domains[name].max > 0]
    counted = history.state.trial_record.num_proposed - len(dropped)
    if wanted and config.budget.trials < counted + NUM_ADDED:
        yield (
            f"budget.trials is {config.budget.trials} and {counted} trainings count in it; "
            f"{', '.join(wanted)} needs {NUM_ADDED} that hold it, so raise budget.trials to "
            f"at least {counted + NUM_ADDED}"
        )


def _words(
    differing: list[Path],
    before: Mapping[Path, Any],
    after: Mapping[Path, Any],
    renamed: Mapping[str, str],
) -> Iterator[str]:
    """Lines for the keys that changed, with old and new value."""
    for path in differing:
        moved = path[0] == "targets" and path[-1] == "domain" and before.get(path) in renamed
        whole = path[0] == "domains" and (*path[:2], "min") not in before
        if not whole and not moved and not any(path[: len(silent)] == silent for silent in SILENT):
            yield f"{'.'.join(path)} {_said(before.get(path))} -> {_said(after.get(path))}"


def _told(
    history: SweepHistory,
    config: SweepConfig,
    renamed: Mapping[str, str],
    added: tuple[str, ...],
    versions: VersionChange,
    dropped: tuple[str, ...],
    other_share: tuple[str, ...],
) -> Iterator[str]:
    """Lines that say what the change means for the trials so far."""
    sweep = [record for record in history.state.trials.values() if record.role == "sweep"]
    for name in added:
        if name not in renamed:
            yield (
                f"{name} joins: the {len(sweep)} trainings so far count as ones at 0 there, the "
                f"next {NUM_ADDED} hold it"
            )
    for name, old in renamed.items():
        held = sum(record.mixture.as_dict().get(name, 0) > 0 for record in sweep)
        if versions == "drop":
            yield (
                f"{name} has a new version: the {held} trainings on the old one are dropped, "
                "from the law and from budget.trials"
            )
        else:
            yield (
                f"{name} has a new version: the {held} trainings on the old one stay evidence, "
                f"as {old}, which new mixtures do not hold"
            )
        if frozen := [
            target for target, entry in config.resolved_targets().items() if entry.domain == old
        ]:
            yield f"target {', '.join(frozen)} stays the validation text of {old}"
    if other_share:
        yield (
            f"proxies read another part of {', '.join(other_share)} from now on, to repeat "
            f"it as the changed final run would; the {len(sweep) - len(dropped)} trainings "
            "so far count as they are"
        )


def _other_share(
    history: SweepHistory, old: SweepConfig, new: SweepConfig, renamed: Mapping[str, str]
) -> tuple[str, ...]:
    """Domains of which proxies would read a different part (`final.match_epochs`)."""
    found = history.first["data"].get("tokens")
    known = {name: float(count) for name, count in found.items()} if isinstance(found, dict) else {}
    before, after = old.subsample(known) or {}, new.subsample(known) or {}
    return tuple(
        name for name in old.domains if name not in renamed and before.get(name) != after.get(name)
    )


def _ended(history: SweepHistory, domains: Mapping[str, str]) -> dict[str, str]:
    """{running trial: why it cannot continue}.

    A trial cannot continue if the text of one of its domains changes. Running confirmation trials
    cannot continue either, because the sweep is not at its end any more.
    """
    ended = {}
    for name in history.running():
        record = history.state.trials[name]
        held = [
            domain
            for domain, share in record.mixture.as_dict().items()
            if share > 0 and domain in domains
        ]
        if record.role == "confirmation":
            ended[name] = "the sweep was changed before it ended"
        elif held:
            ended[name] = f"the sweep was changed before it ended: {held[0]} {domains[held[0]]}"
    return ended


def _said(value: Any) -> str:
    return "absent" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
