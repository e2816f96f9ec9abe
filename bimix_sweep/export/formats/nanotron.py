"""Writes a recipe for Nanotron: `dataset_folder` and `dataset_weights` of a data stage."""

from collections.abc import Sequence

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.writing import as_yaml


def stage(blend: Blend, notes: Sequence[str]) -> str:
    """The YAML of `data_stages` with one stage, which begins at the first step."""
    located = blend.located()
    dataset = {
        "dataset_folder": [path for _, path in located],
        "dataset_weights": [part.weight for part, _ in located],
    }
    stages = [
        {
            "name": "bimix-sweep",
            "start_training_step": 1,
            "data": {"dataset": dataset, "seed": blend.seed},
        }
    ]
    return as_yaml({"data_stages": stages}, *notes)


FORMS = (
    Form(
        trainer="nanotron",
        ending=".yaml",
        version="Nanotron's main branch of April 2026",
        render=stage,
        notes=(
            "A nanoset's samples all have the same length, so weights count tokens.",
            "Folders without datatrove's metadata files need vocab_size or token_size_in_bytes "
            "beside dataset_weights.",
        ),
    ),
)
"""Forms for Nanotron."""
