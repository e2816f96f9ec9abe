"""Commands for trials that another scheduler runs: `propose` mixtures and `record` losses."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bimix_sweep.commands.common import (
    GoalOption,
    JsonFlag,
    goals_of,
    pairs,
    parse_retry_failed,
    print_json,
    print_notes,
    print_recipe,
    print_rows,
)
from bimix_sweep.errors import ConfigError

if TYPE_CHECKING:
    from bimix_sweep.sweep.offline.offline import Standing
    from bimix_sweep.sweep.offline.trial_table import TrialTable


def propose(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|DIR|TABLE",
            help="sweep.yaml begins a sweep, its folder goes on, finished runs are just asked.",
        ),
    ],
    count: Annotated[
        int, typer.Option(min=0, max=10**5, help="New trainings; 0 lists the open ones.")
    ],
    mixtures: Annotated[
        str,
        typer.Option(
            "-o",
            "--mixtures",
            help="CSV or Parquet: trial, seed, steps, r_<domain>, reason; size where there are "
            "several.",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(help="With CONFIG: folder of the sweep, instead of the file's `out`."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="With DIR: go on with this changed configuration; default: DIR/config.yaml, "
            "edited or not."
        ),
    ] = None,
    version_change: Annotated[
        Literal["keep", "drop"],
        typer.Option(
            help="With DIR: trainings on a domain's old version are kept as evidence, or dropped."
        ),
    ] = "keep",
    retry_failed: Annotated[
        Any,
        typer.Option(
            parser=parse_retry_failed,
            metavar="N|all",
            help="With DIR: list N failed trials, or all, again as open; what record then brings "
            "replaces the failure.",
        ),
    ] = None,
    maximum: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="DOMAIN=X", help="With TABLE: largest proportion."),
    ] = None,
    minimum: Annotated[
        list[str] | None,
        typer.Option("--min", metavar="DOMAIN=X", help="With TABLE: smallest proportion."),
    ] = None,
    goal: GoalOption = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**53, help="With TABLE: everything random follows from it.")
    ] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Propose the next mixtures to train, without Ray.

    Train them with any scheduler, then give their losses to `record`.
    """
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.mixture.columns import check_ending
    from bimix_sweep.mixture.table import LossTable
    from bimix_sweep.sweep.offline import offline
    from bimix_sweep.sweep.offline.from_table import propose_from_table

    check_ending(mixtures)
    kind = (
        "TABLE"
        if source.endswith((".csv", ".parquet"))
        else "CONFIG"
        if source.endswith((".yaml", ".yml"))
        else "DIR"
    )
    given = {
        "--out": out,
        "--config": config,
        "--retry-failed": retry_failed,
        "--max": maximum,
        "--min": minimum,
        "--goal": goal,
    }
    fitting = {
        "TABLE": ("--max", "--min", "--goal"),
        "CONFIG": ("--out",),
        "DIR": ("--config", "--retry-failed"),
    }[kind]
    if wrong := [flag for flag, value in given.items() if value and flag not in fitting]:
        raise ConfigError(
            f"{wrong[0]} does not go with {source}, which is taken as {kind}; see bimix-sweep "
            "propose --help"
        )
    folder = None
    if kind == "TABLE":
        bounds = (
            {name: _share(flag, name, text) for name, text in pairs(ends).items()}
            for flag, ends in (("--min", minimum), ("--max", maximum))
        )
        lower, upper = bounds
        asked = propose_from_table(
            LossTable.read(source, goals_of(goal)), count, lower=lower, upper=upper, seed=seed
        )
    else:
        folder = source
        if kind == "CONFIG":
            folder = offline.begin(SweepConfig.load(source), out, _aside)
        changed = SweepConfig.load(config) if config else None
        asked = offline.propose(
            folder,
            count,
            config=changed,
            versions=version_change,
            retry_failed=retry_failed,
            say=_aside,
        )
    asked.write(mixtures)
    if as_json:
        print_json(_asked_json(asked, folder, mixtures))
        return
    print_notes(list(asked.notes))
    rows = [_row(proposal, asked, "open") for proposal in asked.open] + [
        _row(proposal, asked, "new") for proposal in asked.new
    ]
    if rows:
        print_rows(f"{len(asked.new)} new trainings, {len(asked.open)} still open", rows)
    if asked.confirmation or len(asked.new) < count:
        typer.echo(_no_more(asked))
    typer.echo(f"wrote {mixtures}")
    if folder is not None and rows:
        typer.echo(f"when they are trained: bimix-sweep record {folder} LOSSES.csv")


def record(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="The sweep's folder, as propose made it.")
    ],
    table: Annotated[
        str,
        typer.Argument(
            help="CSV or Parquet: trial, step, r_<domain>, loss_<target>; nan for a training that "
            "failed; losses that come later replace that."
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Record the losses of trials from propose.

    Prints the progress of the sweep; after the last trial the command writes the results.
    """
    from bimix_sweep.sweep.offline import offline

    standing = offline.record(folder, table, say=_aside)
    if as_json:
        print_json(_standing_json(standing))
        return
    print_notes(standing.notes)
    typer.echo(
        f"{standing.points} new points; {len(standing.finished)} trainings are finished by them"
    )
    for trial in standing.failed:
        typer.echo(f"{trial} is recorded as failed: its loss is nan")
    if standing.replaced:
        typer.echo(
            f"recorded as failed before, replaced by these losses: {', '.join(standing.replaced)}"
        )
    if standing.recipe is not None:
        print_recipe(standing.recipe, folder, as_json=False)
        return
    snapshot = standing.snapshot
    if snapshot.optimum:
        rows = [
            {
                "domain": n,
                "proportion": f"{x:.4f}",
                "near-optimal": "{:.3f}-{:.3f}".format(*snapshot.region[n]),
            }
            for n, x in snapshot.optimum.items()
        ]
        print_rows("the predicted optimum so far", rows)
    if snapshot.decision:
        typer.echo(snapshot.decision)
        print_notes(list(snapshot.not_tested))
    waiting = sum(row.state == "running" for row in snapshot.trials)
    typer.echo(
        f"{waiting} trainings are open; next: bimix-sweep propose {folder} --count K -o "
        "MIXTURES.csv"
    )


def _aside(line: str) -> None:
    """Print a line to standard error."""
    typer.echo(line, err=True)


def _no_more(asked: "TrialTable") -> str:
    """Reason why `propose` gives no more trials."""
    if asked.open or asked.new:
        return (
            "these are the final trainings; record them to get RECIPE.json"
            if asked.confirmation
            else "nothing more until these are recorded"
        )
    return "the sweep is over; its results are written"


def _share(flag: str, name: str, text: str) -> float:
    """Proportion given to `flag` for domain `name`; a text that is no number is a ConfigError."""
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{flag} {name}={text} is not a number") from None


def _row(proposal: Any, asked: "TrialTable", state: str) -> dict[str, Any]:
    """One row of the printed table of proposals."""
    shares = proposal.mixture.as_array(asked.domains)
    return {
        "trial": proposal.trial,
        "state": state,
        **({"size": f"{asked.size_of(proposal):g}"} if len(asked.sizes) > 1 else {}),
        **({"steps": asked.steps_of(proposal)} if len(asked.lengths) > 1 else {}),
        **{n: f"{x:.4f}" for n, x in zip(asked.domains, shares, strict=True)},
        "why": proposal.reason,
    }


def _asked_json(asked: "TrialTable", folder: str | None, mixtures: str) -> dict[str, Any]:
    """JSON result of `propose`."""

    def plain(proposals: Any) -> list[dict[str, Any]]:
        return [
            {
                "trial": p.trial,
                "seed": p.seed,
                "steps": asked.steps_of(p),
                "mixture": p.mixture.as_dict(),
                "reason": p.reason,
            }
            | ({"size": asked.size_of(p)} if len(asked.sizes) > 1 else {})
            for p in proposals
        ]

    return {
        "folder": folder,
        "mixtures": mixtures,
        "new": plain(asked.new),
        "open": plain(asked.open),
        "confirmation": asked.confirmation,
        "complete": asked.complete,
        "notes": list(asked.notes),
    }


def _standing_json(standing: "Standing") -> dict[str, Any]:
    """JSON result of `record`."""
    snapshot = standing.snapshot
    return {
        "points": standing.points,
        "finished": list(standing.finished),
        "failed": list(standing.failed),
        "replaced": list(standing.replaced),
        "phase": snapshot.phase,
        "decision": snapshot.decision,
        "extrapolation": dict(snapshot.extrapolation),
        "not_tested": list(snapshot.not_tested),
        "optimum": dict(snapshot.optimum) if snapshot.optimum else None,
        "regret": {"expected": snapshot.regret_expected, "upper95": snapshot.regret_upper95},
        "open": [row.trial for row in snapshot.trials if row.state == "running"],
        "notes": list(standing.notes),
        "recipe": standing.recipe.to_json() if standing.recipe else None,
    }
