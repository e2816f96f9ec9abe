"""Nanotron: `dataset_folder` and `dataset_weights` of a data stage."""

from bimix_sweep.export.blend import UNIT, Blend, as_yaml


def stage(blend: Blend) -> str:
    """The YAML of `data_stages` with one stage from the first step on."""
    parts = blend.positive()
    dataset = {
        "dataset_folder": [blend.path(part) for part in parts],
        "dataset_weights": [part.proportion for part in parts],
    }
    stages = [
        {
            "name": "bimix-sweep",
            "start_training_step": 1,
            "data": {"dataset": dataset, "seed": blend.seed},
        }
    ]
    return as_yaml(
        {"data_stages": stages},
        f"Unit of dataset_weights: {UNIT}; a nanoset's samples all have the same length.",
    )
