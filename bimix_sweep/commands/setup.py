"""Commands before a sweep: write a configuration, check this machine, estimate the cost."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bimix_sweep.commands.common import JsonFlag, print_json, print_notes, print_rows
from bimix_sweep.errors import ConfigError

FEW = 10
"""Number of simulated sweeps below which `plan` calls their mean regret weak."""


def init(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Text of one domain each: a folder, file, glob or URI.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The file to write; it must be new.")
    ] = Path("sweep.yaml"),
    name: Annotated[str, typer.Option(help="Name of the sweep.")] = "sweep",
    as_json: JsonFlag = False,
) -> None:
    """Write a commented sweep.yaml for your own text.

    Reads some text of each path, names one domain after each path, and chooses the size of the
    proxies from the amount of text.
    """
    from bimix_sweep import files
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.preflight.init_config import find, yaml_text

    if out.exists():
        raise ConfigError(
            f"{out} is there already and will not be overwritten; give another name with -o"
        )
    found = find(paths, out)
    text = yaml_text(found, f"runs/{name}", name)
    import yaml

    SweepConfig.parse(yaml.safe_load(text), where=str(out))
    files.write_text(out, text)
    if as_json:
        print_json(
            {
                "config": str(out),
                "domains": {
                    domain.name: {"tokens": domain.tokens, "note": domain.note} for domain in found
                },
            }
        )
        return
    for domain in found:
        typer.echo(
            f"{domain.name}: about {domain.tokens:.2g} "
            f"tokens{f'; {domain.note}' if domain.note else ''}"
        )
    typer.echo(f"wrote {out}; see what it costs with: bimix-sweep plan {out}")


def doctor(
    config: Annotated[
        str | None, typer.Argument(help="sweep.yaml, to look at what it needs.", show_default=False)
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Cluster to look at: http://HEAD:8265, or host:port as for run.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check what a sweep needs here, and say how to get it.

    Checks Python and packages, cores, memory, shared memory, GPUs, the cluster's token, the folder
    of the sweep, the configuration and its text, and the cluster. The exit code is 1 where a
    problem must be fixed before a sweep can run.
    """
    from bimix_sweep.sweep.preflight.doctor import examine

    findings = examine(config, address)
    problems = sum(finding.state == "problem" for finding in findings)
    if as_json:
        print_json({"problems": problems, "findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            typer.echo(f"{finding.state:8} {finding.what:{width}}  {finding.said}")
        typer.echo(
            "nothing is in the way"
            if not problems
            else f"{problems} problem{'s' if problems > 1 else ''} to mend first"
        )
    if problems:
        raise typer.Exit(1)


def plan(
    config: Annotated[str, typer.Argument(help="sweep.yaml")],
    slots: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Trainings at a time where it will run; default: the file's, or this machine's.",
        ),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            help="Wall time of one training (of the largest size for the most steps), in hours; "
            "default: timed here for the built-in trainer."
        ),
    ] = None,
    noise: Annotated[
        float,
        typer.Option(
            min=1e-6,
            max=1.0,
            help="Relative scatter of a loss between two seeds, for the simulation.",
        ),
    ] = 0.003,
    seconds: Annotated[
        float, typer.Option(min=0.0, help="For the simulation; 0 leaves it out.")
    ] = 45.0,
    as_json: JsonFlag = False,
) -> None:
    """Estimate the cost and the regret of a sweep, before it runs.

    The cost of the built-in trainer is measured here, with some real steps of the proxy. The regret
    is simulated on laws drawn from the prior of bimix-sweep, with this file's domains, targets,
    bounds and slots.
    """
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.preflight.plan import make_plan

    if hours is not None and not 0 < hours < 1e6:
        raise ConfigError(f"--hours is {hours:g}; need the wall time of one training, above 0")
    made = make_plan(
        SweepConfig.load(config), slots=slots, hours=hours, noise=noise, seconds=seconds
    )
    if as_json:
        print_json(made.to_json())
        return
    from bimix_sweep.sweep.history.snapshot import duration

    typer.echo(
        f"{made.trials} trainings at most, and up to {made.confirmation_result} final ones; {made.slots} "
        "at a time"
    )
    steps = " or ".join(f"{number:,}" for number in (*made.shorter, made.steps))
    longest = f"{made.tokens:.3g} tokens" + (" the longest" if made.shorter else "")
    typer.echo(f"each {steps} steps, {longest}" if made.measured else f"each {steps} steps")
    if made.training_hours is None or made.wall_hours is None:
        typer.echo("how long a training takes is not known here; give --hours for the cost")
    else:
        how = "as timed here" if made.measured else "as told"
        # the cost of the trials that the law will choose is not known
        most = "at most about" if made.cost < made.trials else "at most"
        several = [
            *(["of the largest size"] if len(made.sizes) > 1 else []),
            *(["for the most steps"] if made.shorter else []),
        ]
        typer.echo(
            f"{' '.join(['one training', *several])} {duration(3600 * made.training_hours)} "
            f"({how}), all of it {most} {duration(3600 * made.wall_hours)}"
        )
        if several:
            source = (
                "as simulated sweeps choose them"
                if made.regret
                else "most of them taken to be such"
            )
            typer.echo(
                f"the {made.trials} trainings cost as much as {made.cost:.3g} {' '.join(several)}, "
                f"{source}"
            )
        typer.echo(
            f"cost: {made.core_hours:.3g} core-hours"
            + (f", {made.gpu_hours:.3g} GPU-hours" if made.gpu_hours else "")
        )
    for line in (*made.limits, *([f"warning: {made.warning}"] if made.warning else [])):
        typer.echo(line)
    print_notes(list(made.not_tested))
    print_notes(list(made.realised))
    if made.moved:
        typer.echo(made.moved)
    if seconds == 0:
        return
    if not made.regret:
        typer.echo(
            f"no simulated sweep came far enough in {seconds:g} s to say anything; give --seconds "
            "more"
        )
        return
    typer.echo("")
    count = made.regret[0].num_sweeps
    rows = [
        {
            "trainings": look.trials,
            "regret %": f"{100 * look.mean:.2g}",
            **({"worst %": f"{100 * look.worst:.2g}"} if count > 1 else {}),
            "expects of itself %": f"{100 * look.stated:.2g}",
        }
        for look in made.regret
    ]
    print_rows(
        f"regret of the predicted optimum in {count} simulated sweep{'s' if count > 1 else ''}",
        rows,
    )
    if count < FEW:
        typer.echo(
            f"the figures rest on {count} simulated sweep{'s' if count > 1 else ''}, so they say "
            "little; give --seconds more"
        )
    when = (
        f"after about {made.stops_at} trainings"
        if made.stops_at
        else "not before its budget is spent"
    )
    typer.echo(f"simulated sweeps stop by themselves (stop.tolerance {made.tolerance:.2%}) {when}")
    typer.echo("A simulation, on drawn laws: your text may be easier or harder.")
