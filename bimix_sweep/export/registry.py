"""Lists all trainers that a recipe can be written for, by id, with the forms of each."""

import contextlib
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from bimix_sweep import files, locations
from bimix_sweep.errors import ExportError
from bimix_sweep.export.blend import Blend, read_blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.formats import (
    axolotl,
    energon,
    gpt_neox,
    hf_datasets,
    levanter,
    lingua,
    litgpt,
    maxtext,
    megatron_lm,
    mosaic,
    nanotron,
    olmo_core,
    plain_json,
    torchtitan,
    veomni,
)
from bimix_sweep.export.recipe import Recipe

FORMS: tuple[Form, ...] = (
    *megatron_lm.FORMS,
    *gpt_neox.FORMS,
    *energon.FORMS,
    *olmo_core.FORMS,
    *torchtitan.FORMS,
    *hf_datasets.FORMS,
    *mosaic.FORMS,
    *litgpt.FORMS,
    *nanotron.FORMS,
    *levanter.FORMS,
    *lingua.FORMS,
    *maxtext.FORMS,
    *veomni.FORMS,
    *axolotl.FORMS,
    *plain_json.FORMS,
)
"""All forms; of the forms of one trainer without a variant, the first is the default."""

TRAINERS: Mapping[str, tuple[Form, ...]] = MappingProxyType(
    {
        trainer: tuple(form for form in FORMS if form.trainer == trainer)
        for trainer in dict.fromkeys(form.trainer for form in FORMS)
    }
)
"""{id of a trainer: its forms}."""

VARIANTS: tuple[str, ...] = tuple(form.name for form in FORMS if form.variant)
"""Names of the further forms that a recipe can be written in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One file that was written."""

    path: str
    """Path of the file."""
    form: Form
    """Form of the file."""
    notes: tuple[str, ...]
    """Notes on the unit, on usage and on what was not checked; also in the file if its format
    has room."""
    warnings: tuple[str, ...]
    """What the trainer will not do as the recipe says, and what the user must still provide."""


def export_recipe(
    recipe: Recipe,
    to: str,
    out: str | Path,
    domains_file: str | Path | None = None,
    *,
    names: bool = False,
    min_proportion: float | None = None,
    floor: bool = False,
) -> Exported:
    """Write a recipe in a trainer's form, either completely or not at all.

    Args:
        recipe: the recipe.
        to: one of `TRAINERS` or `VARIANTS`.
        out: path of the file, or `-` for standard output; its ending chooses among the trainer's
            forms; without an ending, the first form is used.
        domains_file: YAML {domain: {path, tokens, tokens_per_document, valid}}.
        names: True if a domain's name replaces its path where the domains file gives no path.
        min_proportion: smallest proportion of a domain; None: any.
        floor: True if smaller domains are raised to `min_proportion`; False if they are left out.

    Raises:
        ExportError: the trainer is unknown, the ending is wrong, or the recipe and the domains file
            lack what the form needs.
    """
    form = _form(to, out)
    blend = read_blend(
        recipe, domains_file, names=names, min_proportion=min_proportion, floor=floor
    )
    text, exported = _written(form, blend, str(out))
    files.write_text(out, text)
    return exported


def export_all(
    recipe: Recipe,
    out_dir: str | Path,
    domains_file: str | Path | None = None,
    *,
    names: bool = False,
    min_proportion: float | None = None,
    floor: bool = False,
) -> tuple[list[Exported], dict[str, str]]:
    """Write every possible form into a folder, each under its `file_name`.

    Args:
        recipe: the recipe.
        out_dir: the folder.
        domains_file: YAML {domain: {path, tokens, tokens_per_document, valid}}.
        names: True if a domain's name replaces its path where the domains file gives no path.
        min_proportion: smallest proportion of a domain; None: any.
        floor: True if smaller domains are raised to `min_proportion`; False if they are left out.

    Returns:
        The files that were written, and {file name: reason} for the forms that could not be
        written.

    Raises:
        ExportError: the domains file cannot be used for any form.
    """
    blend = read_blend(
        recipe, domains_file, names=names, min_proportion=min_proportion, floor=floor
    )
    written: list[Exported] = []
    skipped: dict[str, str] = {}
    for form in FORMS:
        name = form.file_name
        try:
            text, exported = _written(form, blend, locations.join(out_dir, name))
        except ExportError as error:
            skipped[name] = str(error)
            continue
        files.write_text(exported.path, text)
        written.append(exported)
    return written, skipped


def texts(recipe: Recipe) -> dict[str, str]:
    """Write a recipe in every possible form as text, with names of domains in place of paths.

    Returns:
        {name of a form: text}, without the forms that need more than names.
    """
    blend = read_blend(recipe, names=True)
    found: dict[str, str] = {}
    for form in FORMS:
        with contextlib.suppress(ExportError):
            found.setdefault(form.name, _written(form, blend, form.file_name)[0])
    return found


def _written(form: Form, blend: Blend, path: str) -> tuple[str, Exported]:
    """Text of the file in a form, and the description of the file; writes nothing."""
    weighted = blend.weighted(form.unit)
    notes = form.all_notes(weighted)
    warnings = form.all_warnings(weighted, path)
    text = form.render(weighted, [*notes, *warnings])
    return text, Exported(path=path, form=form, notes=tuple(notes), warnings=tuple(warnings))


def _form(to: str, out: str | Path) -> Form:
    """The form for a trainer's name and the ending of a file.

    Raises:
        ExportError: the trainer is unknown or has no form with this ending.
    """
    forms = [form for form in FORMS if form.name == to]
    if not forms:
        close = difflib.get_close_matches(to, [*TRAINERS, *VARIANTS], n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ExportError(
            f"no trainer {to!r}; need one of {', '.join(TRAINERS)}{hint} (other forms: "
            f"{', '.join(VARIANTS)})"
        )
    ending = PurePosixPath(str(out).partition("?")[0]).suffix.lower()
    if not ending:
        return forms[0]
    for form in forms:
        if form.ending == ending:
            return form
    possible = " or ".join(form.ending for form in forms)
    raise ExportError(f"{out} ends in {ending}; {to} is written as {possible}")
