"""A sweep whose trainings run elsewhere: mixtures go out as a table, losses come in as one. No Ray, no torch.

The LawActor works in this process, on the same journal as on a cluster: `propose` begins a sweep or goes on with one and hands out
mixtures, `record` takes losses in and says where the sweep stands. When it is decided, the final trainings are handed
out likewise; after the last of them the results are written. Nothing is tokenised: only names, bounds, targets and the
proxies' steps are read from the configuration.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bimix_sweep import files
from bimix_sweep.config import SweepConfig
from bimix_sweep.design.acquisition import Scales, dearest_due, next_mixture
from bimix_sweep.design.initial import too_few
from bimix_sweep.design.scale import Scale, kinds_of, scales_of
from bimix_sweep.design.trial import Proposal, TrialRecord
from bimix_sweep.errors import SweepError, TableError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.law.optimum import ask
from bimix_sweep.law.selection import fit_law
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable, read_columns, write_columns
from bimix_sweep.seeding import rng, seed_for
from bimix_sweep.sweep.actor import LawActor
from bimix_sweep.sweep.changes import VersionChange
from bimix_sweep.sweep.driver import first_event, sweep_spec
from bimix_sweep.sweep.events import ELSEWHERE
from bimix_sweep.sweep.folder import CONFIG, begun, held, sweep_folder
from bimix_sweep.sweep.history import SweepHistory, replay
from bimix_sweep.sweep.results import write_results
from bimix_sweep.sweep.snapshot import Snapshot
from bimix_sweep.sweep.staging import check_change, settle, stage, take_up

SAME_SHARES = 1e-3
"""Recorded proportions may differ from the proposed ones by rounding to three decimals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What `sweep_spec` asks of a trainer."""

    steps: int
    sizes: tuple[float, ...]
    data: Mapping[str, Any] = field(default_factory=lambda: dict(ELSEWHERE))
    domain_tokens: Mapping[str, float] = field(default_factory=dict)

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """Those of the tables that are recorded; the last is asked about."""
        return (self.steps,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Trainings that somebody must run."""

    open: Sequence[Proposal]
    """Proposed before and not recorded to their end."""
    new: Sequence[Proposal]
    domains: tuple[str, ...]
    notes: Sequence[str]
    finals: bool = False
    """The last final training was handed out: when all are recorded the sweep has its results."""
    complete: bool = False
    """The results are written."""
    lengths: tuple[int, ...]
    """Numbers of steps of trainings, rising."""
    sizes: tuple[float, ...] = ()
    """Of the proxies, rising; none or one where all have one."""

    def size_of(self, proposal: Proposal) -> float:
        """Non-embedding parameters to train; of a sweep with several sizes."""
        return self.sizes[-1] if proposal.size is None else proposal.size

    def steps_of(self, proposal: Proposal) -> int:
        """Optimizer steps to train for."""
        return self.lengths[-1] if proposal.steps is None else proposal.steps

    def write(self, path: str | Path) -> None:
        """As CSV or Parquet: trial, seed, steps, where the sweep has several size, r_<domain>, reason; the open ones first."""
        proposals = [*self.open, *self.new]
        shares = np.reshape([proposal.mixture.as_array(self.domains) for proposal in proposals], (-1, len(self.domains)))
        columns = {
            "trial": pa.array([proposal.trial for proposal in proposals], pa.string()),
            "seed": pa.array([proposal.seed for proposal in proposals], pa.int64()),
            "steps": pa.array([self.steps_of(proposal) for proposal in proposals], pa.int64()),
            **({"size": pa.array([self.size_of(proposal) for proposal in proposals], pa.float64())} if len(self.sizes) > 1 else {}),
            **{f"r_{name}": pa.array(shares[:, index]) for index, name in enumerate(self.domains)},
            "reason": pa.array([proposal.reason for proposal in proposals], pa.string()),
        }
        write_columns(path, columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a sweep stands after losses were recorded."""

    points: int
    """New ones."""
    finished: Sequence[str]
    """Trainings that ended with this table."""
    failed: Sequence[str]
    """Those it calls failed."""
    snapshot: Snapshot
    recipe: Recipe | None
    """When the last final training was recorded."""


def begin(config: SweepConfig, out: str | None = None) -> str:
    """Begin a sweep whose trainings run elsewhere; returns its folder.

    Raises:
        SweepError: the folder holds a sweep already, or something else.
    """
    from bimix_sweep.sweep.launch import check_foreign

    folder = sweep_folder(out or config.out)
    config = config.anchored(Path.cwd()).model_copy(update={"out": folder})
    with held(folder):
        if begun(folder):
            raise SweepError(f"{folder} holds a sweep already; go on with: bimix-sweep propose {folder}")
        check_foreign(folder)
        files.write_text(files.join(folder, CONFIG), config.to_yaml())
        with _acting(folder, config):
            pass
    return folder


def propose(folder: str, count: int, *, config: SweepConfig | None = None, versions: VersionChange = "keep") -> Asked:
    """So many more trainings, or fewer when the sweep needs no more; the final ones when it is decided.

    Args:
        folder: of a sweep that was begun.
        count: new trainings, >= 0; trainings proposed before and not recorded to their end are told beside them.
        config: a changed configuration to go on with, as `resume_sweep` takes it.
        versions: as there.

    Raises:
        SweepError: no sweep has begun there, it runs on Ray, another process uses it, or the configuration changed where it may not.
    """
    with _taken_up(folder, config, versions) as (actor, current):
        pending = [past.proposal for past in actor.past() if past.state == "running"]
        new: list[Proposal] = []
        while len(new) < count:
            started = [past.proposal.trial for past in actor.past()]
            proposal = actor.propose(f"t{len(started):04d}") or actor.final(started)
            if proposal is None:
                break
            new.append(proposal)
        if actor.snapshot().phase != "done":
            _conclude(actor, current, _path(folder))
        return Asked(
            open=pending,
            new=new,
            domains=tuple(current.domains),
            lengths=current.proxy.lengths,
            sizes=current.proxy.sizes,
            notes=[*_notes(current), *actor.snapshot().lines],
            finals=actor.over(),
            complete=actor.snapshot().phase == "done",
        )


def record(folder: str, table: str | Path) -> Standing:
    """Take in losses of trainings that `propose` handed out; all of the table or nothing.

    A row with the last step of its training ends it; a training with `nan` as a loss has failed. Points that are recorded already
    change nothing.

    Raises:
        TableError: the table cannot be read, or a row does not fit what was proposed or recorded; it is named by its number.
        SweepError: as for `propose`.
    """
    rows, failed = _read(table)
    with _taken_up(folder, None, "keep") as (actor, config):
        history = replay(_path(folder))
        _check(table, rows, failed, history)
        points, finished = 0, []
        for index in np.lexsort((rows.steps, rows.run_ids())):
            trial, step = rows.trials[index], int(rows.steps[index])
            if trial in failed:
                continue
            losses = dict(zip(rows.targets, rows.losses[index].tolist(), strict=True))
            points += actor.record(trial, step, {target: losses[target] for target in history.spec.targets})
            if step == history.state.trials[trial].steps and history.state.trials[trial].state == "running":
                actor.finish(trial)
                finished.append(trial)
        newly = [trial for trial in failed if history.state.trials[trial].state == "running"]
        for trial in newly:
            actor.abandon(trial, f"{Path(str(table)).name} gives its loss as nan")
        recipe = _conclude(actor, config, _path(folder))
        if recipe is None:
            actor.decide()
        return Standing(points=points, finished=finished, failed=newly, snapshot=actor.snapshot(), recipe=recipe)


def _conclude(actor: LawActor, config: SweepConfig, folder: str) -> Recipe | None:
    """Write the results where every training, the final ones included, is over; they may have been so before the end was decided."""
    if not actor.over() or any(entry.state == "running" for entry in actor.past()):
        return None
    recipe = write_results(folder, config)
    actor.complete()
    return recipe


def propose_from_table(
    table: str | Path, count: int, *, lower: Mapping[str, float] | None = None, upper: Mapping[str, float] | None = None, seed: int = 0
) -> Asked:  # fmt: skip
    """The next mixtures for finished runs that belong to no sweep; nothing is kept.

    Where the runs have several sizes or last steps, each mixture is for one of these pairs, chosen per cost as in a sweep.

    Args:
        table: finished runs, as `fit` reads them; every target counts alike.
        count: mixtures, chosen one after another as if they ran at the same time.
        lower, upper: bounds of domains; default: 0 and 1.
        seed: everything random follows from it.

    Raises:
        TableError, LawError: the table cannot be read, or determines no law. MixtureError: the bounds leave no mixture.
    """
    runs = LossTable.read(table)
    for name in (*(lower or {}), *(upper or {})):
        if name not in runs.domains:
            raise TableError(f"{table} has no domain {name}; it has {', '.join(runs.domains)}")
    own = {target: target for target in runs.targets if target in runs.domains}
    law = fit_law(runs, own=own, generator=rng(seed, "proposal fit", 0))
    domains = DomainSet(
        names=runs.domains, lower=tuple((lower or {}).get(name, 0.0) for name in runs.domains),
        upper=tuple((upper or {}).get(name, 1.0) for name in runs.domains),
    )  # fmt: skip
    measured, finished = runs.proportions[runs.last_rows()], scales_of(runs)
    *others, asked = kinds_of(finished)
    sizes, lengths = ({*found} for found in zip(*((scale.size, round(scale.steps)) for scale in (*others, asked)), strict=True))
    question = ask(law, domains, step=asked.steps, size=None if law.sizes is None else asked.size)
    new: list[Proposal] = []
    running: list[Scale] = []
    names = (name for number in range(10**9) if (name := f"p{number:04d}") not in runs.trials)
    while len(new) < count:
        chosen = np.reshape([proposal.mixture.as_array(runs.domains) for proposal in new], (-1, len(runs.domains)))
        choices = (asked,) if dearest_due([*finished, *running], asked) else (asked, *others[::-1])
        mixture, reason, scale = next_mixture(
            question, domains, generator=rng(seed, "proposal", len(new)), finished=measured, running=chosen,
            failed=np.zeros((0, len(runs.domains))), scales=Scales(choices=choices, finished=finished, running=running),
        )  # fmt: skip
        same = np.abs(np.concatenate([measured, chosen]) - mixture.as_array(runs.domains)).max(axis=1) < 1e-9
        earlier = sum(bool(is_same) and other == scale for is_same, other in zip(same, [*finished, *running], strict=True))
        new.append(
            Proposal(
                trial=next(names), mixture=mixture, reason=reason, seed=seed_for(seed, "training", earlier),
                size=scale.size if len(sizes) > 1 else None, steps=round(scale.steps) if len(lengths) > 1 else None,
            )
        )  # fmt: skip
        running.append(scale)
    return Asked(
        open=[], new=new, domains=runs.domains, lengths=tuple(sorted(lengths)), sizes=tuple(sorted(sizes)), notes=[*runs.notes, *law.notes]
    )


@contextlib.contextmanager
def _taken_up(folder: str, given: SweepConfig | None, versions: VersionChange) -> Iterator[tuple[LawActor, SweepConfig]]:
    """The actor and the configuration of a sweep that was begun, over a change where there is one."""
    path = _path(folder)
    if not begun(path):
        raise SweepError(f"{folder} holds no sweep that has begun; begin one with: bimix-sweep propose CONFIG --count K -o MIXTURES.csv")
    with held(path):
        history = replay(path)
        if not history.elsewhere:
            raise SweepError(f"{folder}: this sweep's trainings run on Ray; go on with: bimix-sweep resume {folder}")
        change = take_up(str(path), history, given, versions)
        trainer = _elsewhere(change.config)
        spec = replace(sweep_spec(change.config, trainer), min_step=0, slots=history.spec.slots)
        event = change.event(first_event(change.config, trainer.data, spec, spec.slots))
        if event is not None:
            check_change(history, change, spec, trainer.data)
            stage(str(path), history, change)
        with _acting(path, change.config, event) as actor:
            if event is not None:
                settle(str(path), event)
            yield actor, change.config


@contextlib.contextmanager
def _acting(folder: str, config: SweepConfig, change: dict[str, Any] | None = None) -> Iterator[LawActor]:
    trainer = _elsewhere(config)
    spec = replace(sweep_spec(config, trainer), min_step=0)
    actor = LawActor(folder, first_event(config, trainer.data, spec, spec.slots), lock_seconds=0, change=change)
    actor.ready()
    try:
        yield actor
    finally:
        actor.close()


def _elsewhere(config: SweepConfig) -> Elsewhere:
    return Elsewhere(steps=config.proxy.lengths[-1], sizes=config.proxy.sizes)


def _path(folder: str) -> str:
    return sweep_folder(folder)


def _notes(config: SweepConfig) -> Iterator[str]:
    if said := too_few(len(config.domains), len(config.proxy.sizes) * len(config.proxy.lengths), config.budget.trials):
        yield said
    for name, tokens in (config.subsample() or {}).items():
        yield f"final.match_epochs: let every training read the same {tokens} tokens of {name}, so that it repeats them as the final run would"
    if config.budget.core_hours is not None or config.budget.gpu_hours is not None:
        yield "budget.core_hours and budget.gpu_hours are not watched: this program does not see how long trainings take elsewhere"


def _read(path: str | Path) -> tuple[LossTable, dict[str, int]]:
    """The table, its failed trainings with the row that says so; fields with nan are empty in it."""
    columns = read_columns(path)
    failed: dict[str, int] = {}
    trials = columns["trial"].to_pylist() if "trial" in columns else []
    for name in [name for name in columns if name.startswith("loss_")]:
        values = columns[name].to_pylist()
        for row, value in enumerate(values):
            if value is not None and str(value).strip().lower() in ("nan", "inf", "+inf", "infinity"):
                values[row] = None
                if row < len(trials) and trials[row] is not None:
                    failed.setdefault(str(trials[row]), row)
        columns[name] = pa.array(values, columns[name].type)
    return LossTable.from_columns(path, columns), failed


def _check(path: str | Path, table: LossTable, failed: Mapping[str, int], history: SweepHistory) -> None:
    """Refuse rows that do not fit what was proposed and recorded.

    Raises:
        TableError: the first of them, by number.
    """
    targets, records = history.spec.targets, history.state.trials
    if missing := [target for target in targets if target not in table.targets]:
        raise TableError(f"{path}: no column loss_{missing[0]}; the sweep's targets are {', '.join(targets)}")
    rows: dict[tuple[str, float], int] = {}
    for row, trial in enumerate(table.trials):
        where = f"{path}: row {row + 1}"
        if (first := rows.setdefault((trial, float(table.steps[row])), row)) != row:
            raise TableError(f"{where} is trial {trial} at step {table.steps[row]:g}, as row {first + 1} is; need one of them")
        if trial not in records:
            raise TableError(
                f"{where} is trial {trial}, which this sweep has not proposed; open are {', '.join(history.running()[:8]) or 'none'}"
            )
        record, step = records[trial], table.steps[row]
        _check_mixture(where, record, table.domains, table.proportions[row])
        if not np.isnan(table.seeds[row]) and int(table.seeds[row]) != record.seed:
            raise TableError(f"{where} has seed {table.seeds[row]:.0f}, trial {trial} was proposed with {record.seed}")
        size = table.sizes[row]
        if history.spec.smaller and not np.isnan(size) and not math.isclose(size, record.size, rel_tol=SAME_SHARES):
            raise TableError(
                f"{where} has size {size:g}, trial {trial} was proposed with {record.size:g}; record what was trained as proposed"
            )
        if step != int(step) or step > record.steps:
            raise TableError(f"{where} has step {step:g}; need a whole number up to {record.steps}, the steps of trial {trial}")
        if record.state != "running" and (trial in failed) != (record.state == "failed"):
            says = f"{path}: row {failed[trial] + 1} has nan" if trial in failed else f"{where} has losses"
            raise TableError(f"{says} for trial {trial}, which is recorded as {record.state}; leave it out")
        if trial not in failed:
            _check_losses(where, record, int(step), dict(zip(table.targets, table.losses[row].tolist(), strict=True)), targets)


def _check_losses(where: str, record: TrialRecord, step: int, losses: Mapping[str, float], targets: Sequence[str]) -> None:
    if empty := [target for target in targets if math.isnan(losses[target])]:
        raise TableError(f"{where} has no loss_{empty[0]}; need all of {', '.join(targets)}, or nan for a training that failed")
    known = record.points.get(step, {})
    if other := [target for target, loss in known.items() if not math.isclose(loss, losses[target], rel_tol=1e-9)]:
        raise TableError(
            f"{where} has loss_{other[0]} = {losses[other[0]]:g} of trial {record.trial} at step {step}, recorded is {known[other[0]]:g}; "
            "a recorded point stays as it is"
        )


def _check_mixture(where: str, record: TrialRecord, domains: Sequence[str], shares: Array) -> None:
    wanted = record.mixture.as_dict()
    found = dict(zip(domains, shares.tolist(), strict=True))
    for name in dict.fromkeys((*wanted, *found)):
        if abs(wanted.get(name, 0.0) - found.get(name, 0.0)) > SAME_SHARES:
            raise TableError(
                f"{where} has r_{name} = {found.get(name, 0.0):g}, trial {record.trial} was proposed with {wanted.get(name, 0.0):.6g}; "
                "record what was trained as proposed"
            )
