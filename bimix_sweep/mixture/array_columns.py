"""Makes the columns of a loss table from arrays, and checks the arrays' shapes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.columns import whole_numbers
from bimix_sweep.mixture.simplex import Array


def columns_of_arrays(
    *,
    domains: Sequence[str],
    targets: Sequence[str],
    proportions: Array,
    losses: Array,
    steps: Array | None,
    trials: Sequence[str] | None,
    sizes: Array | None,
    seeds: Array | None,
    epochs: Array | None = None,
) -> dict[str, pa.Array]:
    """Returns the columns of a loss table, named as in a file.

    Args:
        domains, targets: names of the columns of `proportions` and `losses`.
        proportions: (rows, domains).
        losses: (rows, targets), NaN where not measured.
        steps, trials, sizes, seeds: (rows,); None: no such column.
        epochs: (rows, domains) passes; None: no such columns.

    Raises:
        TableError: the shapes do not fit.
    """
    rows = len(proportions)
    of_domains = (rows, len(domains))
    for what, shape, needed in (
        ("proportions", np.shape(proportions), of_domains),
        ("losses", np.shape(losses), (rows, len(targets))),
        ("epochs", of_domains if epochs is None else np.shape(epochs), of_domains),
    ):
        if shape != needed:
            raise TableError(f"{what} has shape {shape}; need {needed}, rows x names")
    given = {
        name: values
        for name, values in (("step", steps), ("size", sizes), ("seed", seeds))
        if values is not None
    }
    given |= {f"r_{name}": np.asarray(proportions)[:, i] for i, name in enumerate(domains)}
    given |= {f"loss_{name}": np.asarray(losses)[:, i] for i, name in enumerate(targets)}
    if epochs is not None:
        given |= {f"epochs_{name}": np.asarray(epochs)[:, i] for i, name in enumerate(domains)}
    if wrong := next((name for name, v in given.items() if len(v) != rows), None):
        raise TableError(f"{wrong} has {len(given[wrong])} values; need {rows}, one a row")
    if trials is not None and len(trials) != rows:
        raise TableError(f"trials has {len(trials)} names; need {rows}, one a row")
    names = {} if trials is None else {"trial": pa.array([str(t) for t in trials], pa.string())}
    return names | {
        name: whole_numbers(np.asarray(values, dtype=np.float64))
        if name == "seed"
        else pa.array(np.asarray(values, dtype=np.float64), from_pandas=True)
        for name, values in given.items()
    }
