"""Writes a recipe for GPT-NeoX: paths and weights of the training, validation and test data.

GPT-NeoX blends Megatron data sets, whose samples have a fixed length, so a weight is a proportion
of tokens. It takes separate paths only for all three splits together.

Source: `build_train_valid_test_data_iterators` in megatron/data/data_utils.py and `validate_values`
in megatron/neox_arguments/arguments.py.
"""

from collections.abc import Sequence

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.formats.megatron_lm import partly, prefix, splits
from bimix_sweep.export.writing import as_yaml


def data(blend: Blend, notes: Sequence[str]) -> str:
    """The YAML of `train_data_paths`, `train_data_weights` and those of the other splits."""
    content: dict[str, list[str] | list[float] | bool] = {}
    for name, found in splits(blend).items():
        if found:
            content[f"{name}_data_paths"] = [path for _, path in found]
            content[f"{name}_data_weights"] = [part.weight for part, _ in found]
    return as_yaml({**content, "weight_by_num_documents": False}, *notes)


def without_validation(blend: Blend) -> list[str]:
    """Warnings about held-out data, without which GPT-NeoX refuses the file."""
    valid = blend.held_out("valid", prefix)
    if not valid:
        return [
            "No domain has held-out data (valid: in the domains file), and GPT-NeoX refuses "
            "train_data_paths without valid_data_paths and test_data_paths: add them."
        ]
    return partly(blend, "GPT-NeoX validates", valid)


FORMS = (
    Form(
        trainer="gpt-neox",
        ending=".yml",
        version="GPT-NeoX's main branch",
        render=data,
        notes=("Give the file beside your other configuration files: deepy.py train.py ... FILE.",),
        warnings=without_validation,
    ),
)
"""Forms for GPT-NeoX."""
