"""Writes a recipe for Megatron-Energon: a MetadatasetV2 whose training split blends the domains.

Energon draws samples by weight and packs them, if at all, after drawing. So the content of a sample
decides the unit of a weight: documents if a sample is one document, tokens if all samples have the
same number of tokens. Weights must be above 0.
"""

from collections.abc import Sequence

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.unit import Unit
from bimix_sweep.export.writing import as_yaml


def metadataset(blend: Blend, notes: Sequence[str]) -> str:
    """The YAML of a metadataset.

    The validation and test splits are those of the domains file.
    """
    splits = {
        "train": {"blend": [{"weight": p.weight, "path": path} for p, path in blend.located()]}
    }
    for split, held_out in (("val", blend.held_out("valid")), ("test", blend.held_out("test"))):
        given = [{"weight": part.weight, "path": path} for part, path in held_out]
        if given:
            splits[split] = {"blend": given}
    content = {"__module__": "megatron.energon", "__class__": "MetadatasetV2", "splits": splits}
    return as_yaml(content, *notes)


FORMS = (
    Form(
        trainer="energon",
        ending=".yaml",
        version="megatron-energon 7.4.1",
        render=metadataset,
        notes=(
            "Energon draws samples: this holds only where every sample has the same number of "
            "tokens (packed text). For samples that are documents write energon-documents.",
        ),
    ),
    Form(
        trainer="energon",
        variant="documents",
        ending=".yaml",
        version="megatron-energon 7.4.1",
        render=metadataset,
        unit=Unit.DOCUMENTS,
        notes=("Energon draws samples: this is for samples that are single documents.",),
    ),
)
"""Forms for Megatron-Energon."""
