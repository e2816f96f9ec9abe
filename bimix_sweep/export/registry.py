"""All trainers a recipe can be written for, by id."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from bimix_sweep import files
from bimix_sweep.errors import ExportError
from bimix_sweep.export import (
    energon,
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
)
from bimix_sweep.export.blend import Render, read_blend
from bimix_sweep.export.recipe import Recipe

TRAINERS: Mapping[str, Mapping[str, Render]] = MappingProxyType(
    {
        "megatron-lm": {".txt": megatron_lm.arguments, ".json": megatron_lm.per_split},
        "megatron-bridge": {".json": megatron_lm.per_split, ".py": megatron_lm.bridge},
        "energon": {".yaml": energon.metadataset},
        "olmo-core": {".yaml": olmo_core.sources},
        "torchtitan": {".py": torchtitan.snippet},
        "hf-datasets": {".py": hf_datasets.snippet, ".json": hf_datasets.arguments},
        "mosaic-streaming": {".yaml": mosaic.streams},
        "litgpt": {".py": litgpt.snippet},
        "nanotron": {".yaml": nanotron.stage},
        "levanter": {".yaml": levanter.data},
        "lingua": {".yaml": lingua.data},
        "maxtext": {".txt": maxtext.train_files, ".json": maxtext.mixture},
        "json": {".json": plain_json.content},
    }
)
"""For each id its forms by the ending of the file; the first is the default."""


def export_recipe(
    recipe: Recipe, to: str, out: str | Path, domains_file: str | Path | None = None
) -> list[str]:
    """Write a recipe in a trainer's form, whole or not at all. The ending of `out` chooses among the forms a trainer has.

    Args:
        to: one of `TRAINERS`.
        domains_file: YAML {domain: {path, tokens_per_document}}; without it a domain's name stands for its path.

    Returns:
        What was written.

    Raises:
        ExportError: no such trainer, or the recipe and domains file lack what it needs.
    """
    forms = _forms(to)
    render = forms.get(Path(str(out)).suffix.lower()) or next(iter(forms.values()))
    files.write_text(out, render(read_blend(recipe, domains_file)))
    return [str(out)]


def export_all(
    recipe: Recipe, out_dir: str | Path, domains_file: str | Path | None = None
) -> tuple[list[str], dict[str, str]]:
    """Write every form of every trainer into a folder as `<id><ending>`.

    Returns:
        What was written, and {id: why} for the trainers that could not be, because the domains file lacks what only they need.

    Raises:
        ExportError: the recipe or the domains file is unusable for all.
    """
    blend = read_blend(recipe, domains_file)
    written: list[str] = []
    skipped: dict[str, str] = {}
    for trainer, forms in TRAINERS.items():
        try:
            texts = {
                files.join(out_dir, trainer + ending): render(blend)
                for ending, render in forms.items()
            }
        except ExportError as error:
            skipped[trainer] = str(error)
            continue
        for path, text in texts.items():
            files.write_text(path, text)
        written += texts
    return written, skipped


def _forms(trainer: str) -> Mapping[str, Render]:
    if trainer not in TRAINERS:
        close = difflib.get_close_matches(trainer, TRAINERS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ExportError(f"no trainer {trainer!r}; need one of {', '.join(TRAINERS)}{hint}")
    return TRAINERS[trainer]
