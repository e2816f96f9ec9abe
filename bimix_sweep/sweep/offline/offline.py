"""Sweep whose trials run elsewhere: mixtures leave as a table, and losses return as a table.

Neither Ray nor torch is used. The LawActor works in this process, on the same journal as on a
cluster. `propose` returns mixtures to train; `record` takes in losses and returns the state of the
sweep. When the sweep is decided, the confirmation trials are proposed in the same way, and the
results are written after the last of them. No text is tokenised: only names, bounds, targets and
the steps of the proxies are read from the configuration.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.design.initial_design import moved_references, too_few
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.sweep.config_change import VersionChange
from bimix_sweep.sweep.coordinator.actor import LawActor
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.retries import RetryFailed
from bimix_sweep.sweep.history.snapshot import Snapshot
from bimix_sweep.sweep.offline.loss_table import check_returned, read_returned, replacing
from bimix_sweep.sweep.offline.opening import WAIT_SECONDS, actor_of, opened
from bimix_sweep.sweep.offline.trial_table import TrialTable
from bimix_sweep.sweep.results import write_results
from bimix_sweep.sweep.workspace.paths import CONFIG, begun, held, sweep_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """State of a sweep after losses were recorded."""

    points: int
    """Number of new points."""
    finished: Sequence[str]
    """Trials that ended with this table."""
    failed: Sequence[str]
    """Trials that this table marks as failed."""
    replaced: Sequence[str]
    """Trials that were recorded as failed and have losses now."""
    snapshot: Snapshot
    recipe: Recipe | None
    """Recipe of the sweep where the last confirmation trial is recorded, else None."""
    notes: Sequence[str] = ()
    """Messages about unused columns of the table, and about targets whose direction should be
    stated.
    """


def begin(
    config: SweepConfig, out: str | None = None, say: Callable[[str], None] = lambda line: None
) -> str:
    """Begins a sweep whose trials run elsewhere, and returns its folder.

    Raises:
        DataError: the built-in trainer would refuse the configuration (`checks`).
        SweepError: the folder holds a sweep already, or other files.
    """
    from bimix_sweep.sweep.run_checks import check_before_run
    from bimix_sweep.sweep.workspace.paths import check_foreign

    check_before_run(config, texts=False)
    config.stated_mixtures()  # refuses what the first event would refuse, before anything is written
    folder = sweep_folder(out or config.out)
    config = config.anchored(Path.cwd()).model_copy(update={"out": folder})
    with held(folder, say, wait_seconds=WAIT_SECONDS):
        if begun(folder):
            raise SweepError(
                f"{folder} holds a sweep already; go on with: bimix-sweep propose {folder}"
            )
        check_foreign(folder)
        files.write_text(locations.join(folder, CONFIG), config.to_yaml())
        with actor_of(folder, config):
            pass
    return folder


def propose(
    folder: str,
    count: int,
    *,
    config: SweepConfig | None = None,
    versions: VersionChange = "keep",
    retry_failed: RetryFailed = None,
    say: Callable[[str], None] = lambda line: None,
) -> TrialTable:
    """Proposes the next trials of a sweep; proposes confirmation trials when the sweep is decided.

    The result holds fewer than `count` new trials when the sweep needs no more.

    Args:
        folder: folder of a sweep that has begun.
        count: number of new trials, >= 0. Trials that were proposed before and are not recorded to
            their end are returned beside them.
        config: a changed configuration to go on with, as in `resume_sweep`.
        versions: how new versions of domains are handled, as in `resume_sweep`.
        retry_failed: maximum number of failed trials to open again, or "all"; default: none. A
            result that arrives replaces a failure in any case.
        say: told when another process that uses the sweep is waited for.

    Raises:
        SweepError: no sweep has begun there, the sweep runs on Ray, another process uses it for too
            long, or the configuration has a change that is not allowed.
    """
    with opened(folder, config, versions, say) as (actor, current):
        if retry_failed is not None:
            actor.retry(actor.retriable(retry_failed))
        pending = [past.proposal for past in actor.past() if past.state == "running"]
        new: list[Proposal] = []
        while len(new) < count:
            started = [past.proposal.trial for past in actor.past()]
            proposal = actor.propose(f"t{len(started):04d}") or actor.final(started)
            if proposal is None:
                break
            new.append(proposal)
        if actor.snapshot().phase != "done":
            _conclude(actor, current, sweep_folder(folder))
        return TrialTable(
            open=pending,
            new=new,
            domains=tuple(current.domains),
            lengths=current.proxy.lengths,
            sizes=current.proxy.sizes,
            notes=[*_notes(current), *actor.snapshot().lines],
            confirmation=actor.over(),
            complete=actor.snapshot().phase == "done",
        )


def record(
    folder: str, table: str | Path, *, say: Callable[[str], None] = lambda line: None
) -> Standing:
    """Records losses of trials that `propose` returned; records the whole table or nothing.

    A row with the last step of its trial ends the trial; a trial with a loss of `nan` has failed.
    Points that are recorded already change nothing. New losses of a trial that was recorded as
    failed replace the failure.

    Args:
        folder: folder of a sweep that has begun.
        table: file with the losses.
        say: told when another process that uses the sweep is waited for.

    Raises:
        TableError: the table cannot be read, or a row does not agree with what was proposed or
            recorded; the message gives its number.
        SweepError: same conditions as for `propose`.
    """
    path = sweep_folder(folder)
    with opened(folder, None, "keep", say) as (actor, config):
        history = replay(path)
        rows, failed = read_returned(table, history.spec.targets, history.spec.goals)
        check_returned(table, rows, failed, history)
        states = {name: record.state for name, record in history.state.trials.items()}
        replaced = [name for name in replacing(rows, history) if name not in failed]
        actor.retry(replaced, reopens=False)
        states |= dict.fromkeys(replaced, "running")
        points, finished = 0, []
        for index in np.lexsort((rows.steps, rows.run_ids())):
            trial, step = rows.trials[index], int(rows.steps[index])
            if trial in failed:
                continue
            losses = dict(zip(rows.targets, rows.losses[index].tolist(), strict=True))
            points += actor.record(
                trial, step, {target: losses[target] for target in history.spec.targets}
            )
            if step == history.state.trials[trial].steps and states[trial] == "running":
                actor.finish(trial)
                finished.append(trial)
        newly = [trial for trial in failed if states[trial] == "running"]
        for trial in newly:
            actor.abandon(trial, f"{Path(str(table)).name} gives its loss as nan")
        recipe = _conclude(actor, config, path)
        if recipe is None:
            actor.decide()
        directions = replay(path).state.trial_record.open_directions()
        return Standing(
            points=points,
            finished=finished,
            failed=newly,
            replaced=replaced,
            snapshot=actor.snapshot(),
            recipe=recipe,
            notes=(*rows.notes, *directions),
        )


def _conclude(actor: LawActor, config: SweepConfig, folder: str) -> Recipe | None:
    """Writes the results where all trials have ended, confirmation trials included.

    Returns the recipe, or None while a trial is missing. The last trial may have ended before the
    end of the sweep was decided.
    """
    if not actor.over() or any(entry.state == "running" for entry in actor.past()):
        return None
    recipe = write_results(folder, config)
    actor.complete()
    return recipe


def _notes(config: SweepConfig) -> Iterator[str]:
    if note := too_few(
        len(config.domains),
        len(config.proxy.sizes) * len(config.proxy.lengths),
        config.budget.trials,
    ):
        yield note
    if note := moved_references(config.domain_set()):
        yield note
    yield from config.stated_mixtures().notes
    for name, tokens in (config.subsample() or {}).items():
        yield (
            f"final.match_epochs: let every trial read the same {tokens} tokens of {name}, so "
            "that it repeats them as the final run would"
        )
    if config.budget.core_hours is not None or config.budget.gpu_hours is not None:
        yield (
            "budget.core_hours and budget.gpu_hours are not watched: this program does not see how "
            "long trials take elsewhere"
        )
