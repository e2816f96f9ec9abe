"""Writes a recipe for axolotl: the `datasets` of a configuration, with the fraction that each keeps.

The `weight` of a data set is no proportion: axolotl shuffles the set and keeps this fraction of its
documents, at most 1, and trains on what is left of all sets. So the fraction of domain i is
c * r[i] / t[i], for the proportion r[i] of tokens and the t[i] tokens that the domain holds, with
the largest c for which no fraction is above 1.

Source: `_load_and_process_single_dataset` in axolotl/utils/data/sft.py.
"""

from collections.abc import Sequence

from bimix_sweep.errors import ExportError
from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.unit import Unit
from bimix_sweep.export.writing import as_yaml
from bimix_sweep.text import magnitude


def datasets(blend: Blend, notes: Sequence[str]) -> str:
    """The YAML of `datasets`.

    Raises:
        ExportError: the tokens that a domain holds are not known.
    """
    kept = fractions(blend)
    listed = [
        {"path": path, "ds_type": "json", "type": "completion", "weight": kept[part.parent]}
        for part, path in blend.located()
    ]
    return as_yaml({"datasets": listed}, *notes)


def fractions(blend: Blend) -> dict[str, float]:
    """{domain: fraction of its documents that axolotl keeps}, in (0, 1].

    Raises:
        ExportError: the tokens that a domain holds are not known.
    """
    passes = {
        part.domain: part.proportion / _tokens(blend, part.domain) for part in blend.positive()
    }
    most = max(passes.values())
    return {name: max(round(x / most, 12), 1e-12) for name, x in passes.items()}


def length(blend: Blend) -> list[str]:
    """Warning about the tokens that are left of all domains."""
    kept = fractions(blend)
    held = {part.domain: _tokens(blend, part.domain) for part in blend.positive()}
    total = sum(kept[name] * held[name] for name in kept)
    first = max(kept, key=lambda name: kept[name])
    return [
        f"One epoch has {magnitude(total)} tokens: all of {first}, and of the others what fits to it."
    ]


def _tokens(blend: Blend, name: str) -> float:
    """Tokens that a domain holds: those of its paths, or those of the recipe's final run over its
    epochs.

    Raises:
        ExportError: they are not known.
    """
    part = next(one for one in blend.parts if one.domain == name)
    epochs = blend.recipe.epochs.get(name)
    if part.tokens:
        return part.tokens
    if epochs and name in blend.recipe.tokens:
        return blend.recipe.tokens[name] / epochs
    raise ExportError(
        f"domain {name} has no number of tokens; axolotl keeps a fraction of each data set, which "
        f"follows from it: give a domains file with {name}: {{tokens: ...}}"
    )


FORMS = (
    Form(
        trainer="axolotl",
        ending=".yaml",
        version="axolotl 0.21.0",
        render=datasets,
        unit=Unit.KEPT,
        notes=(
            "The proportions of tokens follow from the fractions of the documents that axolotl keeps "
            "of each data set.",
            "Set ds_type and type to those of your files, and num_epochs to the passes of the run.",
        ),
        warnings=length,
    ),
)
"""Forms for axolotl."""
