"""Makes the columns of a loss table from one or two of a user's files."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypedDict

import pyarrow as pa

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.column_parsing import MISSING
from bimix_sweep.mixture.joining.keys import (
    check_agreement,
    key_of,
    match_rows,
    names_of_rows,
    texts,
)
from bimix_sweep.mixture.joining.long_form import spread
from bimix_sweep.mixture.joining.patterns import (
    chosen,
    like_losses,
    matching,
    named,
    numeric,
)
from bimix_sweep.mixture.joining.sources import Source, UserFile, read_source
from bimix_sweep.text import listed

SPECIAL = {
    "trial": ("trial",),
    "step": ("step", "_step"),
    "size": ("size",),
    "seed": ("seed",),
}
"""{column of a loss table: names that it has by default in a user's file}. W&B writes `_step`."""
EPOCHS = "epochs_"
"""Beginning of the columns with passes, which keep their names."""


class ColumnOptions(TypedDict, total=False):
    """Which columns of a user's files a loss table is made of."""

    on: str
    """Column of both files that says which rows belong together, or `A=B` where its names differ;
    default: the first column in common that has a different value in each row of mixtures."""
    mixture: str | Sequence[str]
    """Patterns of the columns with proportions; default: `r_*`, else the numbers of the first of
    two files."""
    loss: str | Sequence[str]
    """Patterns of the columns with losses; default: `loss_*`, else the fractional numbers of the
    second of two files. With `target`, the column with the values; default: `loss`."""
    strip: str | Sequence[str]
    """Beginnings to remove from the names of domains and targets."""
    target: str
    """Long form: the column that names the target of a row."""
    trial: str
    """Column with the trial's name; default: `trial`, else the key, else the row's number."""
    step: str
    """Column with the optimizer step; default: `step` or `_step`, else none."""
    size: str
    """Column with the non-embedding parameters; default: `size`, else none."""
    seed: str
    """Column with the seed; default: `seed`, else none."""


def joined(
    mixtures: Source, losses: Source | None, options: ColumnOptions
) -> tuple[str, dict[str, pa.Array], tuple[str, ...]]:
    """Returns a name for messages, the columns of a loss table, and notes.

    Args:
        mixtures: the file with proportions.
        losses: the file with losses; None: `mixtures` holds them too.
        options: which columns are used.

    Raises:
        TableError: a file cannot be read, an option names no column, or no rows belong together.
    """
    options = _checked(options)
    first = read_source(mixtures)
    if losses is None:
        if "on" in options:
            raise TableError(f"--on {options['on']} joins two files; only {first.name} is given")
        return _table(first, _domains(first, options, None), None, options, None)
    second = read_source(losses)
    key = key_of(first, second, options.get("on"))
    shared = {*key, *(name for name in first.columns if name in second.columns)}
    domains = _domains(first, options, shared)
    left, right, notes = match_rows(first, second, key)
    rows = first.take(left), second.take(right)
    mixed, measured = rows[0].columns, rows[1].columns
    if "on" not in options:
        check_agreement(*rows, key[0], names_of_rows(first, second))
        notes = (*notes, f"{first.name} and {second.name} are joined on {key[0]}")
    both = UserFile(
        name=f"{first.name} with {second.name}",
        # A column of proportions is kept where the file of losses has one of the same name.
        columns={**mixed, **measured, **{name: mixed[name] for name in domains}},
        notes=(*first.notes, *second.notes, *notes),
    )
    return _table(both, domains, [n for n in measured if n not in shared], options, key[1])


def _checked(options: ColumnOptions) -> ColumnOptions:
    """Returns the options with a list of one text where a text stands for several.

    Raises:
        TableError: there is no such option.
    """
    known = [*ColumnOptions.__annotations__]
    if unknown := next((name for name in options if name not in known), None):
        raise TableError(f"no option {unknown}; need {', '.join(known)}")
    lists = {
        name: _several(options.get(name))  # type: ignore[arg-type]
        for name in ("mixture", "loss", "strip")
    }
    return ColumnOptions(**{**options, **lists})  # type: ignore[typeddict-item]


def _several(given: str | Sequence[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else [*(given or ())]


def _domains(
    file: UserFile, options: ColumnOptions, shared: Collection[str] | None
) -> dict[str, str]:
    """Returns {column: domain} of the columns with proportions.

    Args:
        file: the file with proportions.
        options: which columns are used.
        shared: columns that the file of losses has too; None where there is one file.

    Raises:
        TableError: no column is chosen, or two columns give one domain.
    """
    numbers = numeric(file.columns)
    patterns = options.get("mixture") or (
        ["r_*"] if any(name.startswith("r_") for name in file.columns) else []
    )
    if patterns:
        names = chosen(file.name, file.columns, patterns, "mixture", numbers)
    elif shared is None:
        raise TableError(
            f"{file.name}: no column r_<domain>; name the columns with proportions with --mixture "
            f"PATTERN, such as --mixture 'train_*'; its columns of numbers are "
            f"{listed(numbers) or 'none'}"
        )
    else:
        special = {*shared, *(name for names in SPECIAL.values() for name in names)}
        special |= {str(options.get(name)) for name in SPECIAL}
        special |= {name for name in numbers if name.startswith(EPOCHS)}
        names = {name: name for name in numbers if name not in special and name[:1] not in "_"}
        if losses := like_losses(names):
            raise TableError(
                f"{file.name}: {listed(losses)} may be losses; give the file with proportions "
                "first, or name its columns with proportions with --mixture PATTERN"
            )
    return named(file.name, names, options.get("strip", ()), "domain")


def _targets(
    file: UserFile, measured: Collection[str] | None, options: ColumnOptions, used: Collection[str]
) -> dict[str, str]:
    """Returns {column: target} of the columns with losses.

    Args:
        file: the joined file.
        measured: columns of the file of losses; None where there is one file.
        options: which columns are used.
        used: columns with another meaning.

    Raises:
        TableError: no column is chosen, or two columns give one target.
    """
    candidates = {n: c for n, c in file.columns.items() if n not in used}
    if measured is not None:
        candidates = {n: c for n, c in candidates.items() if n in measured}
    patterns = options.get("loss") or (
        ["loss_*"] if any(name.startswith("loss_") for name in candidates) else []
    )
    for pattern in patterns:
        if (both := matching(used, pattern)) and not matching(candidates, pattern):
            raise TableError(
                f"{file.name}: --loss {pattern} chooses {listed(both)}, which has another meaning "
                "already; need another pattern for --loss or --mixture"
            )
    if patterns:
        names = chosen(file.name, candidates, patterns, "loss", numeric(candidates))
    elif measured is None:
        likely = like_losses(numeric(candidates)) or numeric(candidates)
        raise TableError(
            f"{file.name}: no column loss_<target>; name the columns with losses with --loss "
            f"PATTERN, such as --loss 'eval/*/loss'; columns that may be losses are "
            f"{listed(likely) or 'none'}"
        )
    else:
        found = numeric(candidates, fractions=True)
        names = {name: name for name in found if name[:1] not in "_"}
        if not names:
            raise TableError(
                f"{file.name}: no column of losses; name them with --loss PATTERN; the columns are "
                f"{listed(measured)}"
            )
    return named(file.name, names, options.get("strip", ()), "target")


def _table(
    file: UserFile,
    domains: Mapping[str, str],
    measured: Collection[str] | None,
    options: ColumnOptions,
    key: str | None,
) -> tuple[str, dict[str, pa.Array], tuple[str, ...]]:
    """Returns the name of a joined file, the columns of its loss table, and notes.

    Args:
        file: the joined file, or the only one.
        domains: {column: domain}.
        measured: columns of the file of losses; None where there is one file.
        options: which columns are used.
        key: column that the files were joined on; None for one file.
    """
    special = _special(file.columns, options)
    if key is not None:
        special.setdefault("trial", key)
    passes = [name for name in file.columns if name.startswith(EPOCHS)]
    used = {*special.values(), *domains, *passes}
    losses: dict[str, pa.Array]
    if (target := options.get("target")) is not None:
        value = (*options.get("loss", ()), "loss")[0]
        identity = [*dict.fromkeys([*special.values(), *domains, *passes])] if special else []
        file, wide = spread(file, target, value, identity)
        names = named(file.name, {name: name for name in wide}, options.get("strip", ()), "target")
        losses = {names[name]: column for name, column in wide.items()}
        used |= {target, value}
    else:
        targets = _targets(file, measured, options, used)
        losses = {name: file.columns[column] for column, name in targets.items()}
        used |= {*targets}
    columns = {
        name: pa.array(texts(file, column)) if name == "trial" else file.columns[column]
        for name, column in special.items()
    }
    empty = 0
    for column, name in domains.items():
        columns[f"r_{name}"], more = _zeros(file.columns[column])
        empty += more
    columns |= {f"loss_{name}": column for name, column in losses.items()}
    columns |= {name: file.columns[name] for name in passes}
    notes = [*file.notes]
    if empty:
        notes.append(f"{file.name}: {empty} empty proportions count as 0")
    if special.get("step") == "_step":
        notes.append(f"{file.name}: the steps are those of W&B's column _step")
    if unused := _unused([name for name in numeric(file.columns) if name not in used]):
        notes.append(f"{file.name}: {unused}")
    return file.name, columns, tuple(notes)


def _special(columns: Mapping[str, pa.Array], options: ColumnOptions) -> dict[str, str]:
    """Returns {`trial`, `step`, `size` or `seed`: column} of those that the file has.

    Raises:
        TableError: an option names a column that the file lacks.
    """
    found = {}
    for name, defaults in SPECIAL.items():
        given = options.get(name)
        if given is not None and given not in columns:
            raise TableError(
                f"no column {given}, which --{name} names; the columns are {listed(columns)}"
            )
        column = given or next((default for default in defaults if default in columns), None)
        if column is not None:
            found[name] = str(column)
    return found


def _zeros(column: pa.Array) -> tuple[pa.Array, int]:
    """Returns a column with 0 in its empty fields, and their number; a run's export has no value
    for a domain that the run did not use."""
    given = column.to_pylist()
    empty = [value is None or str(value).strip().lower() in MISSING for value in given]
    filled = ["0" if none else str(v) for v, none in zip(given, empty, strict=True)]
    return pa.array(filled), sum(empty)


def _unused(names: Sequence[str]) -> str:
    """Returns a note that names the columns of numbers that are not used, likely losses first; ""
    where there are none."""
    if not names:
        return ""
    likely = like_losses(names)
    note = f"not used: {listed([*likely, *(name for name in names if name not in likely)], 20)}"
    return note + (
        f"; if {listed(likely, 8)} {'is a target' if len(likely) == 1 else 'are targets'}, choose "
        "with --loss PATTERN"
        if likely
        else ""
    )
