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

Mixtures = Annotated[
    str, typer.Argument(help="CSV or Parquet with r_<domain> columns, optional step and size.")
]
PredictionsOut = Annotated[
    str,
    typer.Option(
        "-o", "--out", help="File for the same rows with loss_<target> and sd_<target> added."
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
    """Predict the losses of mixtures: one output row for each input row, in the same order."""
    import numpy as np
    import pyarrow as pa

    from bimix_sweep.mixture.columns import write_columns
    from bimix_sweep.mixture.goals import ranged
    from bimix_sweep.mixture.mixture_file import MixtureFile
    from bimix_sweep.sweep.stored_law import stored_law

    check_outputs(out, as_json)
    stored, rows = stored_law(law), MixtureFile.read(mixtures)
    fitted = stored.law
    proportions = _proportions(fitted, rows, mixtures)
    steps = np.where(np.isnan(rows.steps), fitted.steps[1], rows.steps)
    sizes = (
        None
        if fitted.sizes is None
        else np.where(np.isnan(rows.sizes), fitted.sizes[1], rows.sizes)
    )
    mean, sd = fitted.predict_with_sd(proportions, steps, sizes, noise=noise)
    columns = dict(rows.columns)
    added = {
        f"{kind}_{target}": pa.array(values[:, i])
        for i, target in enumerate(fitted.targets)
        for kind, values in (("loss", mean), ("sd", sd))
    }
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
    notes += _extrapolated(steps, fitted.steps, "steps")
    if sizes is not None and fitted.sizes is not None:
        notes += _extrapolated(sizes, fitted.sizes, "sizes")
    if fitted.sizes is None and not np.isnan(rows.sizes).all():
        notes.append("this law was fitted without sizes; the size column changes nothing")
    if as_json:
        print_json({"out": out, "rows": len(steps), "notes": notes})
        return
    print_notes(notes, err=True)
    print_written(out, f"{len(steps)} rows")


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
