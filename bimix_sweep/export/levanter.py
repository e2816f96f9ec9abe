"""Levanter and Marin: `configs` and `train_weights` of the `data` section. A weight of 0 keeps a domain for evaluation only."""

from bimix_sweep.export.blend import UNIT, Blend, as_yaml


def data(blend: Blend) -> str:
    """The YAML of `data`."""
    configs = {}
    for part in blend.parts:
        configs[part.domain] = (
            {"train_urls": [blend.path(part)]} if part.proportion > 0 or part.source.path else {}
        )
        if part.source.valid:
            configs[part.domain]["validation_urls"] = [part.source.valid]
    weights = {part.domain: part.proportion for part in blend.parts}
    return as_yaml(
        {"data": {"configs": configs, "train_weights": weights}},
        f"Unit of train_weights: {UNIT}; 0 = evaluation only.",
    )
