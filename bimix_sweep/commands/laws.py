"""Commands on finished runs: fit, predict, optimum, replay, and export of recipes to trainers."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from bimix_sweep.commands.common import (
    GoalOption,
    JsonFlag,
    goals_of,
    pairs,
    print_json,
    print_notes,
    print_recipe,
    print_rows,
)
from bimix_sweep.errors import ConfigError, TableError
from bimix_sweep.parsing import parse_json

FEW = 10
"""Number of judged trials below which `replay` calls its rank correlation and regret weak."""

Source = Annotated[
    str,
    typer.Argument(metavar="LAW.json|DIR", help="A law of fit, or the folder or URI of a sweep."),
]


def fit(
    table: Annotated[
        str,
        typer.Argument(
            help="Finished runs: CSV or Parquet with trial, step, r_<domain>, loss_<target>."
        ),
    ],
    out: Annotated[str, typer.Option("-o", "--out", help="Where the law goes.")],
    law: Annotated[
        Literal["auto", "bimix", "transfer"],
        typer.Option(help="auto: cross-validation by mixture decides, target by target."),
    ] = "auto",
    own: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET=DOMAIN",
            help="The domain a target is held-out text of; default: equal names.",
        ),
    ] = None,
    goal: GoalOption = None,
    min_step: Annotated[
        float | None, typer.Option(help="Leave out points before this step (warm-up).")
    ] = None,
    tokens_per_step: Annotated[
        float | None,
        typer.Option(
            help="Tokens of one step of the table: optimum then says how far the final run lies "
            "beyond it."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit a mixing law to finished runs.

    Prints which law was chosen for each target, the reason, and the prediction error on mixtures
    left out of the fit.
    """
    from bimix_sweep.law.fitting.fit_law import fit_law
    from bimix_sweep.law.posterior.problem_statement import ProblemStatement
    from bimix_sweep.mixture.domains import DomainSet
    from bimix_sweep.mixture.goals import PLAIN, ranged
    from bimix_sweep.mixture.table import LossTable

    if min_step is not None and not min_step >= 0:
        raise ConfigError(f"--min-step is {min_step:g}; need a number >= 0")
    runs = LossTable.read(table, goals_of(goal))
    equal = {target: target for target in runs.targets if target in runs.domains}
    fitted = fit_law(runs, law=law, own=equal | pairs(own), min_step=min_step)
    if tokens_per_step is not None:
        asked = ProblemStatement(
            domains=DomainSet(names=fitted.domains), tokens_per_step=tokens_per_step
        )
        fitted = replace(fitted, problem=asked)
    fitted.save(out)
    errors, reasons = fitted.cross_validation["by_target"], fitted.cross_validation["reason"]
    rows = [
        {
            "target": target,
            "law": fitted.choice[target],
            **({"goal": fitted.goals.get(target, PLAIN).words} if ranged(fitted.goals) else {}),
            **{
                f"error {name} %": 100 * result["mean_relative_error"]
                for name, result in errors[target].items()
            },
            "rank correlation": errors[target][fitted.choice[target]]["rank_correlation"]
            if fitted.num_mixtures > 2
            else "-",
        }
        for target in fitted.targets
    ]
    if as_json:
        print_json(
            {
                "law": out,
                "choice": dict(fitted.choice),
                "cross_validation": dict(fitted.cross_validation),
                "own": dict(fitted.own),
                "goals": {target: goal.to_json() for target, goal in fitted.goals.items()},
                "num_trials": fitted.num_trials,
                "num_mixtures": fitted.num_mixtures,
                "steps": fitted.steps,
                "sizes": fitted.sizes,
                "notes": list(fitted.notes),
            }
        )
        return
    print_notes(list(fitted.notes))
    print_rows(
        f"{fitted.num_trials} trainings of {fitted.num_mixtures} mixtures; errors on mixtures left "
        "out",
        rows,
    )
    for reason in dict.fromkeys(reasons.values()):
        about = [target for target in fitted.targets if reasons[target] == reason]
        typer.echo(
            f"{reason} ({', '.join(about) if len(about) < len(fitted.targets) else 'all targets'})"
        )
    typer.echo(f"wrote {out}")


def predict(
    law: Source,
    mixtures: Annotated[
        str, typer.Argument(help="CSV or Parquet with r_<domain> columns, optional step and size.")
    ],
    out: Annotated[
        str, typer.Option("-o", "--out", help="The same rows with loss_<target> and sd_<target>.")
    ],
    noise: Annotated[
        bool, typer.Option(help="sd of one measured run, not of the noise-free mean.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Predict the losses of mixtures: one output row for each input row, in the same order."""
    import numpy as np
    import pyarrow as pa

    from bimix_sweep.mixture.columns import write_columns
    from bimix_sweep.mixture.goals import ranged
    from bimix_sweep.mixture.mixture_file import MixtureFile
    from bimix_sweep.sweep.stored_law import stored_law

    stored, asked = stored_law(law), MixtureFile.read(mixtures)
    fitted = stored.law
    if unknown := [
        name
        for i, name in enumerate(asked.domains)
        if name not in fitted.domains and asked.proportions[:, i].any()
    ]:
        raise TableError(
            f"{mixtures} holds {', '.join(unknown)}; the law knows {', '.join(fitted.domains)}"
        )
    where = {name: i for i, name in enumerate(asked.domains)}
    shares = np.stack(
        [
            asked.proportions[:, where[d]] if d in where else np.zeros(len(asked.proportions))
            for d in fitted.domains
        ],
        axis=1,
    )
    steps = np.where(np.isnan(asked.steps), fitted.steps[1], asked.steps)
    sizes = (
        None
        if fitted.sizes is None
        else np.where(np.isnan(asked.sizes), fitted.sizes[1], asked.sizes)
    )
    mean, sd = fitted.predict_with_sd(shares, steps, sizes, noise=noise)
    columns = dict(asked.columns)
    replaced = [
        name
        for target in fitted.targets
        for name in (f"loss_{target}", f"sd_{target}")
        if name in columns
    ]
    for i, target in enumerate(fitted.targets):
        columns[f"loss_{target}"], columns[f"sd_{target}"] = (
            pa.array(mean[:, i]),
            pa.array(sd[:, i]),
        )
    write_columns(out, columns)
    notes = [*stored.notes, *asked.notes]
    if replaced:
        notes.append(
            f"{out} holds predictions in {', '.join(replaced)}, not what {mixtures} has there"
        )
    notes += [
        f"loss_{target} and sd_{target} are in the unit of {target}, which is {goal.words}"
        for target, goal in ranged(fitted.goals).items()
    ]
    beyond = (steps > fitted.steps[1]) | (steps < fitted.steps[0])
    if beyond.any():
        notes.append(
            f"{beyond.sum()} of {len(steps)} rows lie outside the fitted steps "
            f"{fitted.steps[0]:g}-{fitted.steps[1]:g}: extrapolated"
        )
    if (
        sizes is not None
        and fitted.sizes is not None
        and (outside := (sizes > fitted.sizes[1]) | (sizes < fitted.sizes[0])).any()
    ):
        notes.append(
            f"{outside.sum()} of {len(sizes)} rows lie outside the fitted sizes "
            f"{fitted.sizes[0]:g}-{fitted.sizes[1]:g}: extrapolated"
        )
    if fitted.sizes is None and not np.isnan(asked.sizes).all():
        notes.append("this law was fitted without sizes; the size column changes nothing")
    if as_json:
        print_json({"out": out, "rows": len(steps), "notes": notes})
        return
    print_notes(notes)
    typer.echo(f"wrote {len(steps)} rows to {out}")


def optimum(
    law: Source,
    out: Annotated[str, typer.Option("-o", "--out", help="Where the recipe goes.")],
    step: Annotated[
        float | None, typer.Option(help="Optimizer step at which losses are compared.")
    ] = None,
    size: Annotated[
        float | None, typer.Option(help="Non-embedding parameters at which losses are compared.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="JSON {target: weight}; a target it does not name counts 0."),
    ] = None,
    objective: Annotated[
        Literal["mean", "worst"] | None,
        typer.Option(help="Weighted mean of the targets' losses, or the worst."),
    ] = None,
    maximum: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="DOMAIN=X", help="Largest proportion of a domain."),
    ] = None,
    minimum: Annotated[
        list[str] | None,
        typer.Option("--min", metavar="DOMAIN=X", help="Smallest proportion of a domain."),
    ] = None,
    available: Annotated[
        Path | None,
        typer.Option(help="JSON {domain: tokens available}; needs the tokens of the final run."),
    ] = None,
    final_tokens: Annotated[float | None, typer.Option(help="Tokens of the final run.")] = None,
    final_size: Annotated[
        float | None, typer.Option(help="Non-embedding parameters of the final run.")
    ] = None,
    max_epochs: Annotated[
        float | None,
        typer.Option(help="How often the final run may repeat a domain's tokens; default 4."),
    ] = None,
    prior: Annotated[
        Path | None, typer.Option(help="JSON {domain: proportion} to stay near; needs --kl.")
    ] = None,
    kl: Annotated[
        float | None,
        typer.Option(help="Strength of the pull: loss per nat of divergence from the prior."),
    ] = None,
    within: Annotated[
        float, typer.Option(help="The region holds every mixture within this fraction of the best.")
    ] = 0.005,
    as_json: JsonFlag = False,
) -> None:
    """Find the mixture with the lowest predicted loss.

    The recipe also holds the near-optimal region, the expected regret and the certificate. For the
    law of a sweep the defaults are the sweep's own: weights, objective, bounds and final run. Each
    option replaces one of these defaults, and the recipe records the change.
    """
    from bimix_sweep.export.provenance import commit, versions
    from bimix_sweep.law.posterior.problem_statement import changed
    from bimix_sweep.sweep.stored_law import stored_law

    if not 0 < within < 1:
        raise ConfigError(f"--within is {within:g}; need a fraction above 0 and below 1")
    stored = stored_law(law)
    problem = changed(
        stored.problem,
        step=step,
        size=size,
        weights=_numbers(weights) if weights else None,
        objective=objective,
        lower=_ends("--min", pairs(minimum)),
        upper=_ends("--max", pairs(maximum)),
        available=_numbers(available) if available else {},
        final={"tokens": final_tokens, "size": final_size, "max_epochs": max_epochs},
        prior=_numbers(prior) if prior else None,
        kl=kl,
    )
    provenance = {
        "law_file": law,
        "law_digest": stored.law.digest,
        "targets": list(stored.law.targets),
        "versions": versions("bimix-sweep", "numpy", "scipy"),
        **commit(),
    }
    recipe = stored.recipe(problem, within, provenance)
    recipe.write(out)
    if not as_json:
        print_notes(list(stored.notes))
    print_recipe(recipe, None, as_json)
    if not as_json:
        typer.echo(f"wrote {out}")


def replay(
    table: Annotated[str, typer.Argument(help="Finished runs, as for fit.")],
    runs: Annotated[int, typer.Option(help="How many of its trainings to look at in all.")],
    out: Annotated[
        str,
        typer.Option(
            "-o",
            "--out",
            help="CSV: policy, seed, runs, spearman, mre (%), regret; cost where runs have several "
            "sizes or last steps.",
        ),
    ],
    start: Annotated[
        int | None,
        typer.Option(
            help="How many before the law is asked; default: domains + 3, at most half of --runs."
        ),
    ] = None,
    policy: Annotated[
        str, typer.Option(help="Comma-separated: informative (as a sweep chooses), random.")
    ] = "informative",
    slots: Annotated[int, typer.Option(help="Trainings chosen at once.")] = 1,
    heldout: Annotated[
        str | None, typer.Option(help="Finished runs to judge on; default: those not looked at.")
    ] = None,
    goal: GoalOption = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Everything random follows from it.")
    ] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Simulate a sweep on finished runs.

    The simulated sweep chooses among the mixtures of the finished runs; the result shows how well
    its law predicts after each number of runs. Where the runs have several sizes or last steps, the
    sweep chooses among all of them per cost (size x steps, in units of a run of the largest size
    for the most steps), and is judged on the runs of the largest size for the most steps.
    """
    import pyarrow as pa

    from bimix_sweep.design.replay.replay import replay as replay_policy
    from bimix_sweep.design.replay.replay import seen_before
    from bimix_sweep.mixture.columns import write_columns
    from bimix_sweep.mixture.goals import unstated
    from bimix_sweep.mixture.table import LossTable

    goals = goals_of(goal)
    finished = LossTable.read(table, goals)
    judged = None if heldout is None else LossTable.read(heldout, goals)
    looks = [
        row
        for name in policy.split(",")
        for row in replay_policy(
            finished, runs=runs, start=start, policy=name, slots=slots, heldout=judged, seed=seed
        )
    ]
    left_out = {"num_judged", *(["cost"] if looks[0].cost is None else [])}
    rows = [
        {name: value for name, value in asdict(row).items() if name not in left_out}
        for row in looks
    ]
    write_columns(
        out, {name: pa.array([row[name] for row in rows], from_pandas=True) for name in rows[0]}
    )
    notes = [*finished.notes, *(judged.notes if judged is not None else ())]
    own = {name: name for name in finished.targets if name in finished.domains}
    notes += unstated(finished.goals, finished.targets, finished.losses, own)[1]
    if judged is not None and (known := seen_before(finished, judged)):
        notes.append(
            f"{known} of {judged.run_ids().max() + 1} trainings of {heldout} are in {table} too: "
            "judged on them, the law looks better than it is"
        )
    if as_json:
        print_notes(notes, err=True)
        print_json(
            [
                {
                    name: None if isinstance(value, float) and math.isnan(value) else value
                    for name, value in row.items()
                }
                for row in rows
            ]
        )
        return
    print_notes(notes)
    if (judged_on := looks[-1].num_judged) < FEW:
        print_notes(
            [
                f"the last row is judged on {judged_on} trainings: rank correlation and regret say "
                "little"
            ]
        )
    print_rows(f"judged on {'the trainings not looked at' if heldout is None else heldout}", rows)
    typer.echo(f"wrote {out}")


def export(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE.json|DIR", help="A recipe, or the folder or URI of a finished sweep."
        ),
    ],
    to: Annotated[str, typer.Option(help="A trainer's id (they are listed below), or all.")],
    out: Annotated[
        str,
        typer.Option(
            "-o",
            "--out",
            help="The file, whose ending chooses among a trainer's forms; with --to all a folder.",
        ),
    ],
    domains: Annotated[
        str | None,
        typer.Option(
            help="YAML {domain: {path:, tokens_per_document:, valid:}} as the trainer sees them."
        ),
    ] = None,
    names: Annotated[
        bool,
        typer.Option(
            "--names", help="Write a domain's name where the domains file gives it no path."
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the mixture in the format of a large-scale trainer.

    Also gives the unit of the weights and what was not checked: in the file where its format has
    room for notes, else on the screen.
    """
    from bimix_sweep.export.recipe import Recipe
    from bimix_sweep.export.registry import export_all, export_recipe
    from bimix_sweep.sweep.stored_law import finished_recipe, is_sweep

    read = Recipe.read(finished_recipe(recipe) if is_sweep(recipe) else recipe)
    written, skipped = (
        export_all(read, out, domains, names=names)
        if to == "all"
        else ([export_recipe(read, to, out, domains, names=names)], {})
    )
    if as_json:
        print_json(
            {
                "written": [one.path for one in written],
                "skipped": skipped,
                "notes": {one.path: [*one.notes, *one.warnings] for one in written},
            }
        )
        return
    for one in written:
        typer.echo(f"wrote {one.path} ({one.form.name}; unit: {one.form.unit.value})")
        print_notes([*(() if one.form.has_room else one.notes[1:]), *one.warnings])
    for name, reason in skipped.items():
        typer.echo(f"skipped {name}: {reason}")


def _numbers(path: Path) -> dict[str, float]:
    """Read a JSON file {name: number}.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    from bimix_sweep import files

    try:
        content = parse_json(files.read_text(path))
    except OSError as error:
        raise ConfigError(
            f'{path} cannot be read ({error.strerror}); need JSON like {{"web": 1.5}}'
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path} is {error}") from error
    if not isinstance(content, dict) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e300
        for v in content.values()
    ):
        raise ConfigError(
            f'{path} needs to hold JSON like {{"web": 1.5, "code": 2}}: names and numbers'
        )
    return {name: float(value) for name, value in content.items()}


def _ends(flag: str, given: dict[str, str]) -> dict[str, float]:
    """{domain: bound} of the texts given to `flag`; a text that is no number is a ConfigError."""
    ends = {}
    for name, value in given.items():
        try:
            ends[name] = float(value)
        except ValueError:
            raise ConfigError(f"{flag} {name}={value} is not a number") from None
    return ends
