"""Command that simulates a sweep on finished runs."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bimix_sweep.commands.options import GoalOption, JsonFlag, RunsTable, Seed, goals_of
from bimix_sweep.commands.printing import (
    check_outputs,
    print_json,
    print_notes,
    print_rows,
    print_written,
)

if TYPE_CHECKING:
    from bimix_sweep.design.replay.judging import ReplayRow
    from bimix_sweep.mixture.table import LossTable

FEW = 10
"""Number of judged trials below which `replay` calls its errors of predictions weak."""

Trials = Annotated[
    int, typer.Option(help="Number of trials of the simulated sweep, chosen among the runs.")
]
HistoryOut = Annotated[
    str,
    typer.Option(
        "-o",
        "--out",
        help="CSV: policy, seed, trials, spearman and mre (%) of predictions, regret of the run "
        "predicted best (a fraction); cost where runs have several sizes or last steps.",
    ),
]
Policies = Annotated[
    str,
    typer.Option(
        help="Comma-separated: informative (as a sweep chooses), predictions (the same, for a law "
        "that predicts all mixtures: no sweep does so), random."
    ),
]
TrialsAtOnce = Annotated[int, typer.Option(help="Number of trials that are chosen at a time.")]
HeldOut = Annotated[
    str | None,
    typer.Option(help="Finished runs to judge predictions on; default: the runs not chosen."),
]


def replay(
    table: RunsTable,
    trials: Trials,
    out: HistoryOut,
    policy: Policies = "informative",
    slots: TrialsAtOnce = 1,
    heldout: HeldOut = None,
    goal: GoalOption = None,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Simulate a sweep on finished runs.

    The simulated sweep chooses its trials among the finished runs, by the rules of a sweep: the
    same first trials, score and refits. After each batch from the last of the first trials on, the
    result shows the regret of the run that its law predicts best (among all finished runs, those
    chosen included, with every target of equal weight), and how well the law predicts runs that it
    has not seen. Where the runs have several sizes or last steps, the sweep chooses among all of
    them per cost (size x steps, in units of a run of the largest size for the most steps), and is
    judged on the runs of the largest size for the most steps.
    """
    import pyarrow as pa

    from bimix_sweep.design.replay.replay import replay as replay_policy
    from bimix_sweep.mixture.columns import write_columns
    from bimix_sweep.mixture.table import LossTable

    check_outputs(out, as_json)
    goals = goals_of(goal)
    finished = LossTable.read(table, goals)
    judged = None if heldout is None else LossTable.read(heldout, goals)
    results = [
        row
        for name in policy.split(",")
        for row in replay_policy(
            finished,
            trials=trials,
            policy=name,
            slots=slots,
            heldout=judged,
            seed=seed,
        )
    ]
    rows = [_row(result) for result in results]
    write_columns(
        out, {name: pa.array([row[name] for row in rows], from_pandas=True) for name in rows[0]}
    )
    notes = _notes(finished, judged, table, heldout)
    if as_json:
        print_notes(notes, err=True)
        print_json([_json_row(result) for result in results])
        return
    if (num_judged := results[-1].num_judged) < FEW:
        notes.append(f"only {num_judged} runs judge the last row: its spearman and mre say little")
    print_notes(notes, err=True)
    judge = "the runs not chosen" if heldout is None else heldout
    print_rows(
        f"predictions judged on {judge}, regret on all runs of {table}", rows, err=out == "-"
    )
    print_written(out)


def _notes(
    finished: "LossTable", judged: "LossTable | None", table: str, heldout: str | None
) -> list[str]:
    """Notes on the tables, on goals that are not stated and on runs that are in both tables."""
    from bimix_sweep.design.replay.replay import seen_before
    from bimix_sweep.design.replay.run_pool import RunPool
    from bimix_sweep.mixture.goals import unstated

    notes = [*finished.notes, *(judged.notes if judged is not None else ())]
    own = {name: name for name in finished.targets if name in finished.domains}
    notes += unstated(finished.goals, finished.targets, finished.losses, own)[1]
    if cut_short := RunPool(finished).num_cut_short:
        notes.append(
            f"{cut_short} runs were cut short; a sweep has no such trials, so none is chosen"
        )
    if judged is not None and (known := seen_before(finished, judged)):
        notes.append(
            f"{known} of {judged.run_ids().max() + 1} runs of {heldout} are in {table} too: "
            "judged on them, the law looks better than it is"
        )
    return notes


def _row(result: "ReplayRow") -> dict[str, Any]:
    """Returns the columns of a row of the CSV."""
    left_out = {"num_judged", "runs", *(["cost"] if result.cost is None else [])}
    return {name: value for name, value in asdict(result).items() if name not in left_out}


def _json_row(result: "ReplayRow") -> dict[str, Any]:
    """Returns a row as JSON, with null for every number that is not defined."""
    defined = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in _row(result).items()
    }
    return {**defined, "runs": list(result.runs)}
