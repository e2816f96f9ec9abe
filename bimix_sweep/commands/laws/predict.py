"""Command that predicts the losses of mixtures by a law."""

from typing import TYPE_CHECKING, Annotated

import typer

from bimix_sweep.commands.options import JsonFlag, LawSource
from bimix_sweep.commands.printing import check_outputs, print_json, print_notes, print_written
from bimix_sweep.errors import TableError

if TYPE_CHECKING:
    from bimix_sweep.law.posterior.fitted_law import FittedLaw
    from bimix_sweep.mixture.mixture_file import MixtureFile
    from bimix_sweep.mixture.simplex import Array
    from bimix_sweep.sweep.stored_law import StoredLaw

Mixtures = Annotated[
    str, typer.Argument(help="CSV or Parquet with r_<domain> columns, optional step and size.")
]
PredictionsOut = Annotated[
    str,
    typer.Option(
        "-o",
        "--out",
        help="File for the same rows with the predicted losses and the objective added.",
    ),
]
NoiseFlag = Annotated[
    bool,
    typer.Option(
        help="Give the standard deviation of one measured run, not of the noise-free mean."
    ),
]


def predict(
    law: LawSource,
    mixtures: Mixtures,
    out: PredictionsOut,
    noise: NoiseFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Predict the losses of mixtures: one output row for each input row, in the same order.

    Each row also gets the objective of the law's own decision problem, and its difference to that
    of the recommended mixture at the same step and size, as a fraction, with a 95 % interval.
    """
    import numpy as np
    import pyarrow as pa

    from bimix_sweep.law.optimum.answer import for_final_run
    from bimix_sweep.mixture.columns import write_columns
    from bimix_sweep.mixture.goals import ranged
    from bimix_sweep.mixture.mixture_file import MixtureFile
    from bimix_sweep.sweep.stored_law import stored_law

    check_outputs(out, as_json)
    stored, rows = stored_law(law), MixtureFile.read(mixtures)
    proportions = _proportions(stored.law, rows, mixtures)
    fitted = for_final_run(stored.law, stored.problem)
    steps = np.where(np.isnan(rows.steps), fitted.steps[1], rows.steps)
    largest = np.nan if fitted.sizes is None else fitted.sizes[1]
    sizes = np.where(np.isnan(rows.sizes), largest, rows.sizes)
    mean, sd = fitted.predict_with_sd(proportions, steps, sizes, noise=noise)
    predicted = {
        f"{kind}_{target}": values[:, i]
        for i, target in enumerate(fitted.targets)
        for kind, values in (("loss", mean), ("sd", sd))
    }
    compared, comparison_notes = _comparison(stored, proportions, steps, sizes)
    comparison_notes += _on_repetition(fitted, proportions)
    added = {name: pa.array(values) for name, values in (predicted | compared).items()}
    columns = dict(rows.columns)
    replaced = [name for name in added if name in columns]
    write_columns(out, columns | added)
    notes = [*stored.notes, *rows.notes]
    if replaced:
        notes.append(
            f"the output holds predictions in {', '.join(replaced)}, not what {mixtures} has there"
        )
    notes += [
        f"loss_{target} and sd_{target} are in the unit of {target}, which is {goal.words}"
        for target, goal in ranged(fitted.goals).items()
    ]
    notes += comparison_notes
    notes += _extrapolated(steps, fitted.steps, "steps")
    if fitted.sizes is not None:
        notes += _extrapolated(sizes, fitted.sizes, "sizes")
    elif not np.isnan(rows.sizes).all():
        notes.append("this law was fitted without sizes; the size column changes nothing")
    if as_json:
        print_json({"out": out, "rows": len(steps), "notes": notes})
        return
    print_notes(notes, err=True)
    print_written(out, f"{len(steps)} rows")


def _comparison(
    stored: "StoredLaw", proportions: "Array", steps: "Array", sizes: "Array"
) -> tuple[dict[str, "Array"], list[str]]:
    """Columns of the objective and of its difference to the recommended mixture, and notes that say
    what they mean.

    Args:
        stored: the law with its decision problem.
        proportions: (rows, domains of the law).
        steps, sizes: (rows,) each; a law without sizes ignores them.
    """
    from bimix_sweep.law.optimum.answer import for_final_run
    from bimix_sweep.law.optimum.objective_difference import objective_difference
    from bimix_sweep.mixture.goals import ranged
    from bimix_sweep.mixture.objective import weights_in_words

    law, problem, recommended = stored.law, stored.problem, stored.recommended
    beside = objective_difference(
        for_final_run(law, problem),
        proportions,
        recommended,
        steps=steps,
        sizes=sizes,
        weights=problem.weights,
        objective=problem.objective,
        generator=problem.generator(),
    )
    columns = {
        "objective": beside.objective,
        "difference": beside.difference,
        "difference_low": beside.low,
        "difference_high": beside.high,
    }
    kind = "weighted mean" if problem.objective == "mean" else "largest weighted one"
    weights = (
        weights_in_words(problem.weights)
        if problem.weights
        else "the law states no weights, so each target has the same weight"
    )
    distances = "".join(
        f"; the loss of {target} is its distance from the best end of its range"
        for target in ranged(law.goals)
    )
    mixture = ", ".join(f"{name} {value:.4f}" for name, value in recommended.as_dict().items())
    return columns, [
        f"objective is the {kind} of the losses; {weights}{distances}",
        f"difference is that of the objective to the recommended mixture ({mixture}) at the step "
        "and size of the row, as a fraction, without the noise of a run; difference_low and "
        "difference_high hold it with 95 % probability",
    ]


def _on_repetition(law: "FittedLaw", proportions: "Array") -> list[str]:
    """Note on how repetition counts; empty where neither a row nor a trial repeats a domain."""
    if law.unique is None and law.repetition.repeated:
        return ["each row is a run that repeats no domain, unlike some of the law's trials"]
    if law.unique is None or not (proportions / law.unique > 1).any():
        return []
    return [
        "each row is a run that passes over its domains as the final run would; repeated text "
        f"counts as effective unique tokens with {law.repetition.words}"
    ]


def _proportions(law: "FittedLaw", rows: "MixtureFile", path: str) -> "Array":
    """(rows, domains of the law) proportions; a domain without a column is 0.

    Raises:
        TableError: the file gives a proportion to a domain that the law does not know.
    """
    import numpy as np

    if unknown := [
        name
        for i, name in enumerate(rows.domains)
        if name not in law.domains and rows.proportions[:, i].any()
    ]:
        raise TableError(
            f"{path} holds {', '.join(unknown)}; the law knows {', '.join(law.domains)}"
        )
    column = {name: i for i, name in enumerate(rows.domains)}
    absent = np.zeros(len(rows.proportions))
    return np.stack(
        [rows.proportions[:, column[name]] if name in column else absent for name in law.domains],
        axis=1,
    )


def _extrapolated(values: "Array", fitted: tuple[float, float], what: str) -> list[str]:
    """Note on rows outside the fitted range; empty where all rows lie inside.

    Args:
        values: (rows,) steps or sizes.
        fitted: smallest and largest fitted value.
        what: `steps` or `sizes`.
    """
    outside = int(((values > fitted[1]) | (values < fitted[0])).sum())
    if not outside:
        return []
    return [
        f"{outside} of {len(values)} rows lie outside the fitted {what} "
        f"{fitted[0]:g}-{fitted[1]:g}: extrapolated"
    ]
