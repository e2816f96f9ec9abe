"""Decides which changes of a sweep's configuration are allowed, and what they do to its trials.

Resume, extend and upgrade use the same path: the new configuration is compared, key by key, with
the one in the journal.

* A key that only asks a different problem about the same losses may change: budget, stopping,
  weights, goals, bounds, today's mixture, the prior, the final run.
* Domains may be added. An earlier trial counts as a trial with proportion 0 of an added domain.
* A domain's text may be replaced if its `version` changes. Trials on the old text stay evidence
  about a domain of their own, `web@OLD`, which new mixtures do not contain, or they are dropped.
* A change that would make losses incomparable is refused: another tokenizer, trainer, shape or
  seed, or other targets.
* Targets are frozen. A sweep that began with the validation split of each domain keeps exactly
  these splits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from bimix_sweep.config import SweepConfig
from bimix_sweep.design.new_domains import NUM_ADDED
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.config_difference import ConfigDifference
from bimix_sweep.sweep.domain_versions import completed, is_old_version, renamed_domains
from bimix_sweep.sweep.history.events import CHANGED, ChangeEvent, SweepEvent
from bimix_sweep.sweep.history.history import SweepHistory

VersionChange = Literal["keep", "drop"]
"""Choice for the trials on a domain's old version.

"keep" makes the old version a domain of its own; with "drop" the trials are no evidence any more.
"""


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

    def event(self, first: SweepEvent) -> ChangeEvent | None:
        """The event that turns the journal's sweep into that of the `sweep` event `first`.

        None if nothing changed.
        """
        if not self.what:
            return None
        return ChangeEvent(
            what=[*self.what],
            **{key: getattr(first, key) for key in CHANGED},
            renamed=dict(self.renamed),
            dropped=[*self.dropped],
            ended=dict(self.ended),
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
    if not history.first.config:
        if history.first.config_digest != given.digest:
            raise SweepError(
                "its journal does not hold the configuration it began with, so it goes on "
                "with just that; bring it back"
            )
        return Change(config=given, what=(), renamed={}, added=(), ended={})
    old = SweepConfig.parse(history.first.config, where="the configuration in the journal")
    renamed = renamed_domains(old, given)
    config = completed(old, given, renamed)
    difference = ConfigDifference.between(old, config, renamed)
    added = (*difference.added, *renamed)
    dropped = _dropped(history, renamed) if versions == "drop" else ()
    refused = [
        *_gone(old, given),
        *difference.refusals(),
        *_too_few(history, config, added, dropped),
    ]
    if refused:
        raise SweepError("\n".join(dict.fromkeys(refused)))
    if difference.silent:
        return Change(config=config, what=(), renamed={}, added=(), ended={})
    reread = _other_part(history, old, config, renamed)
    ended = _ended(
        history,
        {
            **dict.fromkeys(reread, "uses another part of its text"),
            **dict.fromkeys(renamed, "has a new version"),
        },
    )
    change = Change(
        config=config, what=(), renamed=renamed, added=added, dropped=dropped, ended=ended
    )
    what = (*difference.lines(), *_effects(history, change, versions, reread))
    return replace(change, what=what)


def extended(config: SweepConfig, trials: int) -> SweepConfig:
    """The configuration with a budget of `trials` more trials."""
    budget = config.budget.model_copy(update={"trials": config.budget.trials + trials})
    return SweepConfig.parse(
        config.model_copy(update={"budget": budget}).model_dump(mode="json"),
        where=f"--trials {trials}",
    )


def _gone(old: SweepConfig, given: SweepConfig) -> Iterator[str]:
    """Refuses the removal of a domain."""
    for name in old.domains:
        if name not in given.domains and not is_old_version(name, old):
            yield (
                f"domains.{name} is gone; trials hold it, so keep it, with max: 0 for no new "
                "mixture to do so"
            )


def _dropped(history: SweepHistory, renamed: Mapping[str, str]) -> tuple[str, ...]:
    """Trials of the search that hold a domain whose version changed."""
    return tuple(
        name
        for name, record in history.state.trials.items()
        if record.role == "sweep"
        and any(record.mixture.as_dict().get(domain, 0) > 0 for domain in renamed)
    )


def _too_few(
    history: SweepHistory, config: SweepConfig, added: tuple[str, ...], dropped: tuple[str, ...]
) -> Iterator[str]:
    """Refuses a budget that leaves too few trials for the added domains."""
    wanted = [name for name in added if config.domains[name].max > 0]
    counted = history.state.trial_record.num_proposed - len(dropped)
    if wanted and config.budget.trials < counted + NUM_ADDED:
        yield (
            f"budget.trials is {config.budget.trials} and {counted} trials count in it; "
            f"{', '.join(wanted)} needs {NUM_ADDED} that hold it, so raise budget.trials to "
            f"at least {counted + NUM_ADDED}"
        )


def _effects(
    history: SweepHistory, change: Change, versions: VersionChange, reread: tuple[str, ...]
) -> Iterator[str]:
    """Lines that say what the change means for the trials so far.

    Args:
        history: history of the sweep.
        change: the change, without its lines.
        versions: what happens to trials on the old version of a domain.
        reread: domains of which proxies read another part from now on.
    """
    sweep = [record for record in history.state.trials.values() if record.role == "sweep"]
    for name in change.added:
        if name not in change.renamed:
            yield (
                f"{name} joins: the {len(sweep)} trials so far count as ones at 0 there, the "
                f"next {NUM_ADDED} hold it"
            )
    for name, old in change.renamed.items():
        held = sum(record.mixture.as_dict().get(name, 0) > 0 for record in sweep)
        if versions == "drop":
            yield (
                f"{name} has a new version: the {held} trials on the old one are dropped, "
                "from the law and from budget.trials"
            )
        else:
            yield (
                f"{name} has a new version: the {held} trials on the old one stay evidence, "
                f"as {old}, which new mixtures do not hold"
            )
        targets = change.config.resolved_targets().items()
        if frozen := [target for target, entry in targets if entry.domain == old]:
            yield f"target {', '.join(frozen)} stays the validation text of {old}"
    if reread:
        yield (
            f"proxies read another part of {', '.join(reread)} from now on, to repeat "
            f"it as the changed final run would; the {len(sweep) - len(change.dropped)} trials "
            "so far count as they are"
        )
    if change.ended:
        yield f"running trials that cannot go on with it are ended: {', '.join(change.ended)}"


def _other_part(
    history: SweepHistory, old: SweepConfig, new: SweepConfig, renamed: Mapping[str, str]
) -> tuple[str, ...]:
    """Domains of which proxies would read a different part (`final.match_epochs`)."""
    counts = history.first.data.get("tokens")
    known = (
        {name: float(count) for name, count in counts.items()} if isinstance(counts, dict) else {}
    )
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
            for domain, proportion in record.mixture.as_dict().items()
            if proportion > 0 and domain in domains
        ]
        if record.role == "confirmation":
            ended[name] = "the sweep was changed before it ended"
        elif held:
            ended[name] = f"the sweep was changed before it ended: {held[0]} {domains[held[0]]}"
    return ended
