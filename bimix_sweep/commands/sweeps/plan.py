"""Command that estimates the cost and the regret of a sweep before it runs."""

from typing import TYPE_CHECKING, Annotated

import typer

from bimix_sweep.commands.options import ConfigFile, JsonFlag, Slots
from bimix_sweep.commands.printing import print_json, print_notes, print_rows
from bimix_sweep.errors import ConfigError

if TYPE_CHECKING:
    from bimix_sweep.sweep.preflight.plan import Plan

FEW = 10
"""Number of simulated sweeps below which `plan` calls their mean regret weak."""

Hours = Annotated[
    float | None,
    typer.Option(
        help="Wall time of one trial (of the largest size for the most steps), in hours; default: "
        "measured here for the built-in trainer."
    ),
]
Noise = Annotated[
    float,
    typer.Option(
        min=1e-6,
        max=1.0,
        help="Relative scatter of a loss between two seeds, for the simulation.",
    ),
]
Seconds = Annotated[
    float,
    typer.Option(min=0.0, help="Seconds for the simulation; 0 leaves the simulation out."),
]


def plan(
    config: ConfigFile,
    slots: Slots = None,
    hours: Hours = None,
    noise: Noise = 0.003,
    seconds: Seconds = 45.0,
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
        raise ConfigError(f"--hours is {hours:g}; need the wall time of one trial, above 0")
    made = make_plan(
        SweepConfig.load(config), slots=slots, hours=hours, noise=noise, seconds=seconds
    )
    if as_json:
        print_json(made.to_json())
        return
    for line in _cost_lines(made):
        typer.echo(line)
    if made.vocabulary is not None:
        typer.echo(f"vocabulary: {made.vocabulary}")
    for line in (*made.limits, *([f"warning: {made.warning}"] if made.warning else [])):
        typer.echo(line)
    print_notes([*made.stated, *made.not_tested, *made.realised], err=True)
    if made.moved:
        typer.echo(made.moved)
    if seconds > 0:
        _print_simulation(made, seconds)


def _cost_lines(plan: "Plan") -> list[str]:
    """Sentences on the weights, and on the number of trials, their length and their cost."""
    from bimix_sweep.mixture.objective import weights_in_words
    from bimix_sweep.sweep.history.snapshot import duration

    lines = [
        weights_in_words(plan.weights),
        f"at most {plan.trials} trials and {plan.confirmation_trials} confirmation trials; "
        f"{plan.slots} at a time",
    ]
    steps = " or ".join(f"{number:,}" for number in (*plan.shorter, plan.steps))
    tokens = f"{plan.tokens:.3g} tokens" + (" for the most steps" if plan.shorter else "")
    lines.append(
        f"each trial: {steps} steps, {tokens}" if plan.measured else f"each trial: {steps} steps"
    )
    if plan.trial_hours is None or plan.wall_hours is None:
        return [*lines, "the time of a trial is not known here; give --hours for the cost"]
    # the cost of the trials that the law will choose is not known
    most = "at most about" if plan.cost < plan.trials else "at most"
    fidelity = " ".join(
        [
            *(["of the largest size"] if len(plan.sizes) > 1 else []),
            *(["for the most steps"] if plan.shorter else []),
        ]
    )
    lines.append(
        f"{' '.join(filter(None, ['one trial', fidelity]))} takes "
        f"{duration(3600 * plan.trial_hours)} "
        f"({'measured here' if plan.measured else 'as --hours says'}), the sweep {most} "
        f"{duration(3600 * plan.wall_hours)}"
    )
    if fidelity:
        source = (
            "if trials are chosen as in the simulated sweeps"
            if plan.regret
            else "if all trials after the first mixtures are of that kind"
        )
        lines.append(
            f"the {plan.trials} trials cost as much as {plan.cost:.3g} {fidelity}, {source}"
        )
    gpu = f", {plan.gpu_hours:.3g} GPU-hours" if plan.gpu_hours else ""
    return [*lines, f"cost: {plan.core_hours:.3g} core-hours{gpu}"]


def _print_simulation(plan: "Plan", seconds: float) -> None:
    """Print the regret of the simulated sweeps by number of trials.

    Args:
        plan: the plan.
        seconds: time that the simulation was given.
    """
    if not plan.regret:
        typer.echo(f"no simulated sweep reached a result in {seconds:g} s; give more --seconds")
        return
    typer.echo("")
    count = plan.regret[0].num_sweeps
    sweeps = f"{count} simulated sweep{'s' if count > 1 else ''}"
    rows = [
        {
            "trials": row.trials,
            "regret %": f"{100 * row.mean:.2g}",
            **({"worst %": f"{100 * row.worst:.2g}"} if count > 1 else {}),
            "expected by the sweep %": f"{100 * row.stated:.2g}",
        }
        for row in plan.regret
    ]
    print_rows(f"regret of the predicted optimum in {sweeps}", rows)
    if count < FEW:
        typer.echo(
            f"these numbers come from {sweeps} only, so they say little; give more --seconds"
        )
    when = (
        f"after about {plan.stops_at} trials" if plan.stops_at else "not before the budget is spent"
    )
    typer.echo(f"simulated sweeps stop by themselves (stop.tolerance {plan.tolerance:.2%}) {when}")
    typer.echo("The simulation uses drawn laws: your text may be easier or harder.")
