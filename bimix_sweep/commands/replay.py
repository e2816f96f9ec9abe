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
"""Number of judged trials below which `replay` calls its rank correlation and regret weak."""

Trials = Annotated[
    int, typer.Option(help="Number of trials of the simulated sweep, chosen among the runs.")
]
HistoryOut = Annotated[
    str,
    typer.Option(
        "-o",
        "--out",
        help="CSV: policy, seed, trials, spearman, mre (%), regret; cost where runs have several "
        "sizes or last steps.",
    ),
]
Start = Annotated[
    int | None,
    typer.Option(
        help="Number of trials before the first fit; default: domains + 3, at most half of "
        "--trials."
    ),
]
Policies = Annotated[
    str, typer.Option(help="Comma-separated: informative (as a sweep chooses), random.")
]
TrialsAtOnce = Annotated[int, typer.Option(help="Number of trials that are chosen at a time.")]
HeldOut = Annotated[
    str | None,
    typer.Option(help="Finished runs to judge the law on; default: the runs not chosen."),
]


def replay(
    table: RunsTable,
    trials: Trials,
    out: HistoryOut,
    start: Start = None,
    policy: Policies = "informative",
    slots: TrialsAtOnce = 1,
    heldout: HeldOut = None,
    goal: GoalOption = None,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Simulate a sweep on finished runs.

    The simulated sweep chooses its trials among the finished runs; the result shows how well its
    law predicts after each number of trials. Where the runs have several sizes or last steps, the
    sweep chooses among all of them per cost (size x steps, in units of a run of the largest size
    for the most steps), and is judged on the runs of the largest size for the most steps.
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
            start=start,
            policy=name,
            slots=slots,
            heldout=judged,
            seed=seed,
        )
    ]
    rows = _rows(results)
    write_columns(
        out, {name: pa.array([row[name] for row in rows], from_pandas=True) for name in rows[0]}
    )
    notes = _notes(finished, judged, table, heldout)
    if as_json:
        print_notes(notes, err=True)
        print_json([_json_row(row) for row in rows])
        return
    if (num_judged := results[-1].num_judged) < FEW:
        notes.append(f"only {num_judged} runs judge the last row: its rank and regret say little")
    print_notes(notes, err=True)
    print_rows(
        f"judged on {'the runs not chosen' if heldout is None else heldout}", rows, err=out == "-"
    )
    print_written(out)


def _rows(results: "list[ReplayRow]") -> list[dict[str, Any]]:
    """Rows of the CSV; runs of one size and length have no column for the cost."""
    left_out = {"num_judged", *(["cost"] if results[0].cost is None else [])}
    return [
        {name: value for name, value in asdict(row).items() if name not in left_out}
        for row in results
    ]


def _notes(
    finished: "LossTable", judged: "LossTable | None", table: str, heldout: str | None
) -> list[str]:
    """Notes on the tables, on goals that are not stated and on runs that are in both tables."""
    from bimix_sweep.design.replay.replay import seen_before
    from bimix_sweep.mixture.goals import unstated

    notes = [*finished.notes, *(judged.notes if judged is not None else ())]
    own = {name: name for name in finished.targets if name in finished.domains}
    notes += unstated(finished.goals, finished.targets, finished.losses, own)[1]
    if judged is not None and (known := seen_before(finished, judged)):
        notes.append(
            f"{known} of {judged.run_ids().max() + 1} runs of {heldout} are in {table} too: "
            "judged on them, the law looks better than it is"
        )
    return notes


def _json_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row with null for every number that is not defined."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in row.items()
    }
