"""Writes a recipe for MaxText with Grain.

The forms are the value of `grain_train_files` and the JSON of `grain_train_mixture_config_path`.
With ArrayRecord files, Grain draws records, each one document. MaxText cuts each record to
`max_target_length` and packs the records only after Grain has drawn them, so weights count
documents.
"""

import json
from collections.abc import Sequence

from bimix_sweep.errors import ExportError
from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.unit import Unit
from bimix_sweep.text import shown

DECIMALS = 4
"""Number of decimals to which MaxText rounds the weights of `grain_train_files`."""
VISIBLE = 0.01
"""Maximum relative change of a weight by rounding that is not reported."""
VERSION = "maxtext 0.2.5"
"""Release that the forms were checked with."""
NOTES = (
    "This is for grain_file_type=arrayrecord.",
    "With use_truncation, MaxText's default, a record counts at most max_target_length tokens: "
    "tokens_per_document must be the mean of what is left of each.",
)
"""Notes for both forms."""


def train_files(blend: Blend, _notes: Sequence[str]) -> str:
    """The value of `grain_train_files`: `pattern,weight` joined by `;`, or a single pattern.

    Raises:
        ExportError: MaxText would split a path, or round a weight to 0.
    """
    located = blend.located(patterns=True)
    for _, path in located:
        if any(sign in path for sign in ",;\n"):
            raise ExportError(
                f"the path {shown(path)} has a , ; or line break, at which MaxText splits; use the "
                "JSON form (-o FILE.json) or move the file"
            )
    if len(located) == 1:
        return located[0][1] + "\n"
    if rare := next((part for part, _ in located if round(part.weight, DECIMALS) == 0), None):
        raise ExportError(
            f"domain {rare.domain} has the weight {rare.decimal}, which MaxText rounds to 0 in "
            "grain_train_files; use the JSON form (-o FILE.json), which "
            "grain_train_mixture_config_path takes"
        )
    return ";".join(f"{path},{part.decimal}" for part, path in located) + "\n"


def changed_by_rounding(blend: Blend) -> list[str]:
    """Warnings about the domains whose weight changes by more than VISIBLE in
    `grain_train_files`."""
    located = blend.located(patterns=True)
    rounding = [(part, round(part.weight, DECIMALS)) for part, _ in located]
    return [
        f"MaxText rounds the weights of grain_train_files to {DECIMALS} decimals: {part.domain} "
        f"becomes {seen:g} instead of {part.weight:.3g}; the JSON form keeps it."
        for part, seen in rounding
        if abs(seen - part.weight) > VISIBLE * part.weight
    ]


def mixture(blend: Blend, _notes: Sequence[str]) -> str:
    """The JSON {name: {path, weight}}.

    MaxText reads every key as a data set, so the file has no room for notes.
    """
    located = blend.located(patterns=True)
    content = {part.domain: {"path": path, "weight": part.weight} for part, path in located}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


FORMS = (
    Form(
        trainer="maxtext",
        ending=".txt",
        version=VERSION,
        render=train_files,
        unit=Unit.DOCUMENTS,
        notes=('Use: grain_train_files="$(cat FILE.txt)".', *NOTES),
        warnings=changed_by_rounding,
        has_room=False,
    ),
    Form(
        trainer="maxtext",
        ending=".json",
        version=VERSION,
        render=mixture,
        unit=Unit.DOCUMENTS,
        notes=("Use: grain_train_mixture_config_path=FILE.json.", *NOTES),
        has_room=False,
    ),
)
"""Forms for MaxText."""
