"""Command that proposes mixtures for trials that another scheduler runs."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bimix_sweep.commands.options import (
    ChangedConfig,
    GoalOption,
    JsonFlag,
    MaxOption,
    MinOption,
    OutFolder,
    VersionChange,
    goals_of,
    named_numbers,
    parse_retry_failed,
)
from bimix_sweep.commands.printing import (
    check_outputs,
    print_json,
    print_notes,
    print_progress,
    print_rows,
    print_written,
)
from bimix_sweep.errors import ConfigError

if TYPE_CHECKING:
    from bimix_sweep.design.trial import Proposal
    from bimix_sweep.sweep.offline.trial_table import TrialTable

FITTING_OPTIONS = {
    "CONFIG": ("--out",),
    "DIR": ("--config", "--retry-failed"),
    "TABLE": ("--max", "--min", "--goal"),
}
"""{kind of source: options that go with it}."""

Source = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG|DIR|TABLE",
        help="sweep.yaml, which begins a sweep; the folder of a sweep, which goes on; or a table "
        "of finished runs.",
    ),
]
Count = Annotated[
    int,
    typer.Option(min=0, max=10**5, help="Number of new trials; 0 lists only the open trials."),
]
MixturesOut = Annotated[
    str,
    typer.Option(
        "-o",
        "--mixtures",
        help="CSV or Parquet: trial, seed, steps, r_<domain>, reason; size where there are "
        "several.",
    ),
]
RetryAsOpen = Annotated[
    Any,
    typer.Option(
        "--retry-failed",
        parser=parse_retry_failed,
        metavar="N|all",
        help="List N failed trials, or all, as open again; losses that are recorded for them "
        "replace the failure.",
    ),
]
TableSeed = Annotated[
    int,
    typer.Option(
        min=0,
        max=2**53,
        help="Seed of everything random; the same seed gives the same result.",
    ),
]


def propose(
    source: Source,
    count: Count,
    mixtures: MixturesOut,
    out: OutFolder = None,
    config: ChangedConfig = None,
    version_change: VersionChange = "keep",
    retry_failed: RetryAsOpen = None,
    maximum: MaxOption = None,
    minimum: MinOption = None,
    goal: GoalOption = None,
    seed: TableSeed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Propose the next mixtures to train, without Ray.

    Train them with any scheduler, then give their losses to `record`. With CONFIG the command takes
    --out; with DIR it takes --config, --version-change and --retry-failed; with TABLE it takes
    --max, --min, --goal and --seed.
    """
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.mixture.columns import check_ending
    from bimix_sweep.mixture.table import LossTable
    from bimix_sweep.sweep.offline import offline
    from bimix_sweep.sweep.offline.from_table import propose_from_table

    check_ending(mixtures)
    check_outputs(mixtures, as_json)
    kind = _kind(source)
    given = {
        "--out": out,
        "--config": config,
        "--retry-failed": retry_failed,
        "--max": maximum,
        "--min": minimum,
        "--goal": goal,
    }
    _check_options(source, kind, given)
    folder = None
    if kind == "TABLE":
        lower, upper = named_numbers("--min", minimum), named_numbers("--max", maximum)
        runs = LossTable.read(source, goals_of(goal))
        trials = propose_from_table(runs, count, lower=lower, upper=upper, seed=seed)
    else:
        folder = source
        if kind == "CONFIG":
            folder = offline.begin(SweepConfig.load(source), out, print_progress)
        trials = offline.propose(
            folder,
            count,
            config=SweepConfig.load(config) if config else None,
            versions=version_change,
            retry_failed=retry_failed,
            say=print_progress,
        )
    trials.write(mixtures)
    if as_json:
        print_json(_trials_json(trials, folder, mixtures))
        return
    _print_trials(trials, count, folder, mixtures)


def _kind(source: str) -> str:
    """Kind of the source by the ending of its name: TABLE, CONFIG or DIR; `-` is a TABLE."""
    if source == "-" or source.endswith((".csv", ".tsv", ".parquet")):
        return "TABLE"
    return "CONFIG" if source.endswith((".yaml", ".yml")) else "DIR"


def _check_options(source: str, kind: str, given: Mapping[str, Any]) -> None:
    """Refuse options that mean nothing for a kind of source.

    Args:
        source: the source, for the message.
        kind: kind of the source.
        given: {option: its value; None or empty where it is not given}.

    Raises:
        ConfigError: an option is given that does not go with the source.
    """
    if wrong := [
        flag for flag, value in given.items() if value and flag not in FITTING_OPTIONS[kind]
    ]:
        raise ConfigError(
            f"{wrong[0]} does not go with {source}, which is taken as {kind}; see bimix-sweep "
            "propose --help"
        )


def _print_trials(trials: "TrialTable", count: int, folder: str | None, mixtures: str) -> None:
    """Print the open and the new trials, and what to do next.

    Args:
        trials: the trials.
        count: number of new trials that the user asked for.
        folder: the sweep's folder; None for a table of finished runs.
        mixtures: file that the trials were written to.
    """
    print_notes(list(trials.notes), err=True)
    piped = mixtures == "-"
    rows = [_row(proposal, trials, "open") for proposal in trials.open] + [
        _row(proposal, trials, "new") for proposal in trials.new
    ]
    if rows:
        print_rows(f"{len(trials.new)} new trials, {len(trials.open)} still open", rows, err=piped)
    if trials.confirmation or len(trials.new) < count:
        typer.echo(_why_no_more(trials), err=piped)
    print_written(mixtures)
    if folder is not None and rows:
        typer.echo(f"when they are trained: bimix-sweep record {folder} LOSSES.csv", err=piped)


def _why_no_more(trials: "TrialTable") -> str:
    """Reason why `propose` gives no more trials."""
    if trials.open or trials.new:
        return (
            "these are the confirmation trials; record them to get RECIPE.json"
            if trials.confirmation
            else "there are no more trials until these are recorded"
        )
    return "the sweep is complete; its results are written"


def _row(proposal: "Proposal", trials: "TrialTable", state: str) -> dict[str, Any]:
    """One row of the printed table of proposals."""
    proportions = proposal.mixture.as_array(trials.domains)
    return {
        "trial": proposal.trial,
        "state": state,
        **({"size": f"{trials.size_of(proposal):g}"} if len(trials.sizes) > 1 else {}),
        **({"steps": trials.steps_of(proposal)} if len(trials.lengths) > 1 else {}),
        **{name: f"{x:.4f}" for name, x in zip(trials.domains, proportions, strict=True)},
        "why": proposal.reason,
    }


def _trials_json(trials: "TrialTable", folder: str | None, mixtures: str) -> dict[str, Any]:
    """JSON result of `propose`."""

    def rows(proposals: Iterable["Proposal"]) -> list[dict[str, Any]]:
        return [
            {
                "trial": proposal.trial,
                "seed": proposal.seed,
                "mixture": proposal.mixture.as_dict(),
                "reason": proposal.reason,
            }
            | ({"steps": trials.steps_of(proposal)} if trials.stated_steps else {})
            | ({"size": trials.size_of(proposal)} if len(trials.sizes) > 1 else {})
            for proposal in proposals
        ]

    return {
        "folder": folder,
        "mixtures": mixtures,
        "new": rows(trials.new),
        "open": rows(trials.open),
        "confirmation": trials.confirmation,
        "complete": trials.complete,
        "notes": list(trials.notes),
    }
