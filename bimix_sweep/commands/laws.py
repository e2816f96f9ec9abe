"""Commands on finished runs: laws, predictions, optima, replays, and recipes for trainers."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bimix_sweep.commands.common import (
    JsonFlag,
    pairs,
    print_json,
    print_notes,
    print_recipe,
    print_rows,
)
from bimix_sweep.errors import ConfigError, LawError, TableError
from bimix_sweep.parsing import parse_json

FEW = 10
"""Trainings below which a judgement is called weak."""

if TYPE_CHECKING:
    from bimix_sweep.law.selection import FittedLaw
    from bimix_sweep.mixture.domains import DomainSet


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
    min_step: Annotated[
        float | None, typer.Option(help="Leave out points before this step (warm-up).")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit a mixing law to finished runs.

    Says which law, how well it predicts mixtures it has not seen, and why.
    """
    from bimix_sweep import files
    from bimix_sweep.law.selection import fit_law
    from bimix_sweep.mixture.table import LossTable

    if min_step is not None and not min_step >= 0:
        raise ConfigError(f"--min-step is {min_step:g}; need a number >= 0")
    runs = LossTable.read(table)
    equal = {target: target for target in runs.targets if target in runs.domains}
    fitted = fit_law(runs, law=law, own=equal | pairs(own), min_step=min_step)
    files.write_text(out, json.dumps(fitted.to_json()) + "\n")
    errors, reasons = fitted.cross_validation["by_target"], fitted.cross_validation["reason"]
    rows = [
        {
            "target": target,
            "law": fitted.choice[target],
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
        f"{fitted.num_trials} trainings of {fitted.num_mixtures} mixtures; errors on mixtures left out",
        rows,
    )
    for reason in dict.fromkeys(reasons.values()):
        about = [target for target in fitted.targets if reasons[target] == reason]
        typer.echo(
            f"{reason} ({', '.join(about) if len(about) < len(fitted.targets) else 'all targets'})"
        )
    typer.echo(f"wrote {out}")


def predict(
    law: Annotated[str, typer.Argument(metavar="LAW.json")],
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
    """Predict the losses of mixtures, one row for each row, in order."""
    import numpy as np
    import pyarrow as pa

    from bimix_sweep.mixture.table import MixtureFile, write_columns

    fitted, asked = _read_law(law), MixtureFile.read(mixtures)
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
    for i, target in enumerate(fitted.targets):
        columns[f"loss_{target}"], columns[f"sd_{target}"] = (
            pa.array(mean[:, i]),
            pa.array(sd[:, i]),
        )
    write_columns(out, columns)
    notes = list(asked.notes)
    beyond = (steps > fitted.steps[1]) | (steps < fitted.steps[0])
    if beyond.any():
        notes.append(
            f"{beyond.sum()} of {len(steps)} rows lie outside the fitted steps {fitted.steps[0]:g}-{fitted.steps[1]:g}: extrapolated"
        )
    if (
        sizes is not None
        and fitted.sizes is not None
        and (outside := (sizes > fitted.sizes[1]) | (sizes < fitted.sizes[0])).any()
    ):
        notes.append(
            f"{outside.sum()} of {len(sizes)} rows lie outside the fitted sizes {fitted.sizes[0]:g}-{fitted.sizes[1]:g}: extrapolated"
        )
    if fitted.sizes is None and not np.isnan(asked.sizes).all():
        notes.append("this law was fitted without sizes; the size column changes nothing")
    if as_json:
        print_json({"out": out, "rows": len(steps), "notes": notes})
        return
    print_notes(notes)
    typer.echo(f"wrote {len(steps)} rows to {out}")


def optimum(
    law: Annotated[str, typer.Argument(metavar="LAW.json")],
    out: Annotated[str, typer.Option("-o", "--out", help="Where the recipe goes.")],
    step: Annotated[
        float | None,
        typer.Option(help="Optimizer step to minimise at; default: the largest fitted."),
    ] = None,
    size: Annotated[
        float | None, typer.Option(help="Non-embedding parameters; default: the largest fitted.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="JSON {target: weight}, a target it does not name counts 0; default: 1 each."
        ),
    ] = None,
    objective: Annotated[
        Literal["mean", "worst"],
        typer.Option(help="Weighted mean of the targets' losses, or the worst."),
    ] = "mean",
    maximum: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="DOMAIN=X", help="Largest proportion of a domain."),
    ] = None,
    minimum: Annotated[
        list[str] | None,
        typer.Option("--min", metavar="DOMAIN=X", help="Smallest proportion of a domain."),
    ] = None,
    available: Annotated[
        Path | None, typer.Option(help="JSON {domain: tokens available}; needs --tokens.")
    ] = None,
    tokens: Annotated[float | None, typer.Option(help="Tokens of the final run.")] = None,
    repeat: Annotated[float, typer.Option(help="How often a domain may be repeated in it.")] = 4.0,
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

    Gives its near-optimal region, expected regret and certificate too.
    """
    from bimix_sweep.export.provenance import commit, versions
    from bimix_sweep.export.recipe import build_recipe
    from bimix_sweep.law.optimum import optimal_mixture
    from bimix_sweep.mixture.domains import Mixture

    if not 0 < within < 1:
        raise ConfigError(f"--within is {within:g}; need a fraction above 0 and below 1")
    fitted = _read_law(law)
    at_least, at_most = _ends("--min", pairs(minimum)), _ends("--max", pairs(maximum))
    counts = _numbers(available) if available else None
    domains = _bounded(fitted, at_least, at_most, counts, tokens, repeat)
    if (prior is None) != (kl is None):
        raise ConfigError("--prior and --kl go together; give both or neither")
    importance, near = _numbers(weights) if weights else None, _numbers(prior) if prior else None
    best = optimal_mixture(
        fitted,
        domains,
        weights=importance,
        objective=objective,
        step=step,
        size=size,
        prior=Mixture.from_mapping(near) if near else None,
        kl=kl or 0.0,
        within=within,
    )
    question = {
        "weights": importance,
        "objective": objective,
        "min": at_least,
        "max": at_most,
        "available": counts,
        "tokens": tokens,
        "repeat": None if tokens is None else repeat,
        "prior": near,
        "kl": kl,
    }
    provenance = {
        "law_file": law,
        "law_digest": fitted.digest,
        "targets": list(fitted.targets),
        "question": question,
        "versions": versions("bimix-sweep", "numpy", "scipy"),
        **commit(),
    }
    recipe = build_recipe(best, fitted, domains, token_budget=tokens, provenance=provenance)
    recipe.write(out)
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
            help="CSV: policy, seed, runs, spearman, mre (%), regret; cost where runs have several sizes or last steps.",
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
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Everything random follows from it.")
    ] = 0,
    as_json: JsonFlag = False,
) -> None:
    """What a sweep would have done on finished runs.

    It chooses among their mixtures; the result tells how soon it would have known as much. Where runs have several sizes or last steps it
    chooses among all of them per cost (size x steps, in units of a largest and longest one) and is judged on the largest and longest.
    """
    import pyarrow as pa

    from bimix_sweep.design.replay import replay as replay_policy
    from bimix_sweep.mixture.table import LossTable, write_columns

    finished = LossTable.read(table)
    judged = None if heldout is None else LossTable.read(heldout)
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
    if as_json:
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
    print_notes(list(finished.notes))
    if (judged_on := looks[-1].num_judged) < FEW:
        print_notes(
            [
                f"the last row is judged on {judged_on} trainings: rank correlation and regret say little"
            ]
        )
    print_rows(f"judged on {'the trainings not looked at' if heldout is None else heldout}", rows)
    typer.echo(f"wrote {out}")


def export(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE.json")],
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
    """Write the mixture as a large-scale trainer takes it.

    Says the unit of the weights and what was not checked, in the file where its format has room.
    """
    from bimix_sweep.export.recipe import Recipe
    from bimix_sweep.export.registry import export_all, export_recipe

    read = Recipe.read(recipe)
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


def _read_law(path: str) -> "FittedLaw":
    from bimix_sweep import files
    from bimix_sweep.law.selection import FittedLaw

    try:
        return FittedLaw.from_json(parse_json(files.read_text(path)))
    except OSError as error:
        raise LawError(
            f"{path} cannot be read ({error.strerror or error}); need a law written by bimix-sweep fit"
        ) from error
    except ValueError as error:
        raise LawError(f"{path} is {error}; need a law written by bimix-sweep fit") from error
    except LawError as error:
        raise LawError(f"{path}: {error}") from error


def _numbers(path: Path) -> dict[str, float]:
    """A JSON file {name: number}."""
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
    ends = {}
    for name, value in given.items():
        try:
            ends[name] = float(value)
        except ValueError:
            raise ConfigError(f"{flag} {name}={value} is not a number") from None
    return ends


def _bounded(
    law: "FittedLaw",
    minimum: dict[str, float],
    maximum: dict[str, float],
    available: dict[str, float] | None,
    tokens: float | None,
    repeat: float,
) -> "DomainSet":
    from bimix_sweep.mixture.domains import DomainSet

    if (available is None) != (tokens is None):
        raise ConfigError("--available and --tokens go together; give both or neither")
    counts = available or {}
    lower, upper = (
        dict.fromkeys(law.domains, 0.0) | minimum,
        dict.fromkeys(law.domains, 1.0) | maximum,
    )
    if unknown := [name for name in (*minimum, *maximum, *counts) if name not in law.domains]:
        raise ConfigError(
            f"{unknown[0]} is not a domain of the law; it knows {', '.join(law.domains)}"
        )
    domains = DomainSet(
        names=law.domains,
        tokens=tuple(counts.get(name, float("inf")) for name in law.domains),
        lower=tuple(lower.values()),
        upper=tuple(upper.values()),
    )
    return domains if tokens is None else domains.capped(tokens, repeat)
