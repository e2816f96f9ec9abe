"""Megatron-Energon: a MetadatasetV2 whose training split blends the domains. Weights must be above 0."""

from bimix_sweep.export.blend import UNIT, Blend, as_yaml


def metadataset(blend: Blend) -> str:
    """The YAML of a metadataset; validation and test splits are those of the domains file, where it has any."""
    splits = {
        "train": {
            "blend": [
                {"weight": part.proportion, "path": blend.path(part)} for part in blend.positive()
            ]
        }
    }
    for split, field in (("val", "valid"), ("test", "test")):
        given = [
            (part, getattr(part.source, field))
            for part in blend.positive()
            if getattr(part.source, field)
        ]
        if given:
            splits[split] = {
                "blend": [{"weight": part.proportion, "path": path} for part, path in given]
            }
    return as_yaml(
        {"__module__": "megatron.energon", "__class__": "MetadatasetV2", "splits": splits},
        f"Unit of weight: {UNIT}. Energon draws samples, so each must hold the same number of tokens (packed text).",
    )
