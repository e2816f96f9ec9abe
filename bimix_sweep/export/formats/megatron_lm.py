"""Writes a recipe for Megatron-LM, Megatron-Bridge and NeMo AutoModel.

Megatron-LM reads the forms with `--data-path`, `--data-args-path` and `--per-split-data-args-path`.
The other two trainers take the same blend. A blend is a list in which weights and prefixes
alternate; a prefix has no `.bin` or `.idx`. Samples have a fixed length, so a weight is a
proportion of tokens. A weight of 0 is refused.

Validation data is either a part of every domain, held back by `split`, or separate data. Training
data is never used as validation data.
"""

import json
from collections.abc import Sequence

from bimix_sweep.errors import ExportError
from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.places import Part
from bimix_sweep.export.writing import comments
from bimix_sweep.text import shown

SPLIT = "990,10,0"
"""Parts of each domain's documents for training, validation and test."""


def arguments(blend: Blend, _notes: Sequence[str]) -> str:
    """One line of weights and prefixes, for `--data-path` or a `--data-args-path` file.

    Raises:
        ExportError: a prefix has white space, at which Megatron splits the file.
    """
    tokens = _alternating(blend.located(prefix))
    if spaced := next((token for token in tokens if len(token.split()) != 1), None):
        raise ExportError(
            f"the prefix {shown(spaced)} has white space, at which Megatron splits; use the "
            "per-split JSON (-o FILE.json) or move the file"
        )
    return " ".join(tokens) + "\n"


def per_split(blend: Blend, _notes: Sequence[str]) -> str:
    """The JSON of `--per-split-data-args-path`, with exactly the keys train, valid and test.

    A split without data is null. Megatron reads null as a missing split.
    """
    lists = {name: _alternating(found) if found else None for name, found in splits(blend).items()}
    return json.dumps(lists, indent=2, ensure_ascii=False) + "\n"


def bridge(blend: Blend, notes: Sequence[str]) -> str:
    """Python code for Megatron-Bridge: `BLEND` and `SPLIT`, or `BLEND_PER_SPLIT`."""
    found = splits(blend)
    head = comments(notes) + '"""The blend of a bimix-sweep recipe, for GPTDatasetConfig."""\n\n'
    if not found["valid"] and not found["test"]:
        return (
            f"{head}# GPTDatasetConfig(blend=BLEND, split=SPLIT, ...); split: parts of each "
            f"domain's documents\n# for training, validation and test.\n"
            f"BLEND = {_lists(found['train'])}\nSPLIT = {SPLIT!r}\n"
        )
    blends = "".join(f"    {_lists(one)},\n" for one in found.values())
    return (
        f"{head}# GPTDatasetConfig(blend_per_split=BLEND_PER_SPLIT, ...); training, validation, "
        f"test.\nBLEND_PER_SPLIT = [\n{blends}]\n"
    )


def automodel(blend: Blend, _notes: Sequence[str]) -> str:
    """The JSON of NeMo AutoModel: a flat list of weights and prefixes, or one list for each split.

    AutoModel refuses a split that is null. A flat list goes with its option `split`.
    """
    lists = {name: _alternating(found) for name, found in splits(blend).items() if found}
    content = lists if "valid" in lists else lists["train"]
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def without_validation(blend: Blend) -> list[str]:
    """Warnings about held-out data that the validation and test splits of the JSON lack."""
    valid, test = blend.held_out("valid", prefix), blend.held_out("test", prefix)
    if not valid:
        return [
            "No domain has held-out data (valid: in the domains file): Megatron trains without "
            "validation. To hold back a part of each domain, "
            f"write the .txt form and give Megatron --split {SPLIT}.",
        ]
    warnings = partly(blend, "Megatron validates", valid)
    if valid and not test:
        warnings.append("No domain has test data (test:): the test split is the validation data.")
    return warnings


def bridge_validation(blend: Blend) -> list[str]:
    """Warnings about held-out data that the validation split of the Python form lacks."""
    valid, test = blend.held_out("valid", prefix), blend.held_out("test", prefix)
    if not valid and not test:
        return [
            "No domain has held-out data (valid: in the domains file): pass SPLIT, which holds "
            "back a part of each domain for validation."
        ]
    return without_validation(blend)


def automodel_validation(blend: Blend) -> list[str]:
    """Warnings about held-out data that the validation split of NeMo AutoModel lacks."""
    valid = blend.held_out("valid", prefix)
    if not valid and blend.held_out("test", prefix):
        return [
            "No domain has validation data (valid:), so the file is one list and leaves the test "
            "data (test:) out."
        ]
    return partly(blend, "AutoModel validates", valid)


def partly(blend: Blend, what: str, found: list[tuple[Part, str]]) -> list[str]:
    """Warning if only some domains have held-out data."""
    held = {part.domain for part, _ in found}
    lacking = [part.domain for part in blend.positive() if part.domain not in held]
    if not found or not lacking:
        return []
    return [f"{what} without {', '.join(lacking)}: no held-out data (valid:) is given."]


def splits(blend: Blend) -> dict[str, list[tuple[Part, str]]]:
    """{split: domains with their prefixes}; the test split falls back to the validation data."""
    valid, test = blend.held_out("valid", prefix), blend.held_out("test", prefix)
    return {"train": blend.located(prefix), "valid": valid, "test": test or valid}


def prefix(path: str) -> str:
    """A path without `.bin` or `.idx`."""
    return path.removesuffix(".bin").removesuffix(".idx")


def _alternating(located: list[tuple[Part, str]]) -> list[str]:
    """Weights and prefixes, alternating."""
    return [token for part, prefix in located for token in (part.decimal, prefix)]


def _lists(located: list[tuple[Part, str]]) -> str:
    """A blend as Python code: prefixes and weights in two lists, or None if there are none."""
    if not located:
        return "None"
    return repr(([prefix for _, prefix in located], [part.weight for part, _ in located]))


FORMS = (
    Form(
        trainer="megatron-lm",
        ending=".txt",
        version="megatron-core 0.19.2",
        render=arguments,
        notes=(
            f"Use: --data-args-path FILE.txt --split {SPLIT}, which holds back 1 % of each "
            "domain's documents for validation.",
        ),
        has_room=False,
    ),
    Form(
        trainer="megatron-lm",
        ending=".json",
        version="megatron-core 0.19.2",
        render=per_split,
        notes=("Use: --per-split-data-args-path FILE.json.",),
        warnings=without_validation,
        has_room=False,
    ),
    Form(
        trainer="megatron-bridge",
        ending=".json",
        version="Megatron-Bridge 0.6.2",
        render=per_split,
        notes=("Megatron-Bridge's recipes read it as per_split_data_args_path.",),
        warnings=without_validation,
        has_room=False,
    ),
    Form(
        trainer="megatron-bridge",
        ending=".py",
        version="Megatron-Bridge 0.6.2",
        render=bridge,
        warnings=bridge_validation,
    ),
    Form(
        trainer="nemo-automodel",
        ending=".json",
        version="NeMo AutoModel 0.7.0",
        render=automodel,
        notes=(
            "Use: dataset.paths: FILE.json of MegatronPretraining; without held-out data also "
            f"dataset.split: '{SPLIT}'.",
        ),
        warnings=automodel_validation,
        has_room=False,
    ),
)
"""Forms for Megatron-LM, Megatron-Bridge and NeMo AutoModel."""
