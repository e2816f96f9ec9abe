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
    tokens = _alternating(blend.located(_prefix))
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
    splits = {
        name: _alternating(found) if found else None for name, found in _splits(blend).items()
    }
    return json.dumps(splits, indent=2, ensure_ascii=False) + "\n"


def bridge(blend: Blend, notes: Sequence[str]) -> str:
    """Python code for Megatron-Bridge: `BLEND` and `SPLIT`, or `BLEND_PER_SPLIT`."""
    splits = _splits(blend)
    head = comments(notes) + '"""The blend of a bimix-sweep recipe, for GPTDatasetConfig."""\n\n'
    if not splits["valid"] and not splits["test"]:
        return (
            f"{head}# GPTDatasetConfig(blend=BLEND, split=SPLIT, ...); split: parts of each "
            f"domain's documents\n# for training, validation and test.\n"
            f"BLEND = {_lists(splits['train'])}\nSPLIT = {SPLIT!r}\n"
        )
    blends = "".join(f"    {_lists(found)},\n" for found in splits.values())
    return (
        f"{head}# GPTDatasetConfig(blend_per_split=BLEND_PER_SPLIT, ...); training, validation, "
        f"test.\nBLEND_PER_SPLIT = [\n{blends}]\n"
    )


def without_validation(blend: Blend) -> list[str]:
    """Warnings about held-out data that the validation and test splits of the JSON lack."""
    valid, test = blend.held_out("valid", _prefix), blend.held_out("test", _prefix)
    if not valid and not test:
        return [
            "No domain has held-out data (valid: in the domains file): Megatron trains without "
            "validation, NeMo AutoModel refuses the file. To hold back a part of each domain, "
            f"write the .txt form and give Megatron --split {SPLIT}.",
        ]
    warnings = _partly(blend, "validates", valid)
    if valid and not test:
        warnings.append("No domain has test data (test:): the test split is the validation data.")
    return warnings


def bridge_validation(blend: Blend) -> list[str]:
    """Warnings about held-out data that the validation split of the Python form lacks."""
    valid, test = blend.held_out("valid", _prefix), blend.held_out("test", _prefix)
    if not valid and not test:
        return [
            "No domain has held-out data (valid: in the domains file): pass SPLIT, which holds "
            "back a part of each domain for validation."
        ]
    return without_validation(blend)


def _partly(blend: Blend, what: str, found: list[tuple[Part, str]]) -> list[str]:
    """Warning if only some domains have held-out data."""
    held = {part.domain for part, _ in found}
    lacking = [part.domain for part in blend.positive() if part.domain not in held]
    if not found or not lacking:
        return []
    return [f"Megatron {what} without {', '.join(lacking)}: no held-out data (valid:) is given."]


def _splits(blend: Blend) -> dict[str, list[tuple[Part, str]]]:
    """{split: domains with their prefixes}; the test split falls back to the validation data."""
    valid, test = blend.held_out("valid", _prefix), blend.held_out("test", _prefix)
    return {"train": blend.located(_prefix), "valid": valid, "test": test or valid}


def _prefix(path: str) -> str:
    """Path without `.bin` or `.idx`."""
    return path.removesuffix(".bin").removesuffix(".idx")


def _alternating(located: list[tuple[Part, str]]) -> list[str]:
    """Weights and prefixes, alternating."""
    return [token for part, prefix in located for token in (part.decimal, prefix)]


def _lists(located: list[tuple[Part, str]]) -> str:
    """A blend as Python code: prefixes and weights in two lists, or None if there are none."""
    if not located:
        return "None"
    return repr(([prefix for _, prefix in located], [part.weight for part, _ in located]))


_JSON_NOTES = ("NeMo AutoModel reads it as paths: FILE.json.",)

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
        notes=("Use: --per-split-data-args-path FILE.json.", *_JSON_NOTES),
        warnings=without_validation,
        has_room=False,
    ),
    Form(
        trainer="megatron-bridge",
        ending=".json",
        version="Megatron-Bridge 0.6.2 and NeMo AutoModel 0.7.0",
        render=per_split,
        notes=("Megatron-Bridge's recipes read it as per_split_data_args_path.", *_JSON_NOTES),
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
)
"""Forms for Megatron-LM and Megatron-Bridge."""
