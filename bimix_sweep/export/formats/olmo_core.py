"""Writes a recipe for OLMo-core: the sources of a `SourceMixtureList`, as YAML.

Each `target_ratio` counts tokens and lies in (0, 1]; the ratios sum to 1. OLMo-core refuses a
source that has fewer tokens than its ratio requires, unless `max_repetition_ratio` permits
repetition. That ratio is only a limit; it does not change the mixture.
"""

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bimix_sweep.errors import ExportError
from bimix_sweep.export.blend import Blend, Part
from bimix_sweep.export.form import Form
from bimix_sweep.export.writing import as_yaml
from bimix_sweep.text import shown

SLACK = 1.1
"""Factor on the recipe's passes, because the files may hold fewer tokens than the recipe states."""
UNKNOWN_PASSES = 4.0
"""Passes permitted if the recipe does not state them: so few that repeated text is worth nearly as
much as new text (arXiv:2305.16264)."""


def sources(blend: Blend, notes: Sequence[str]) -> str:
    """The YAML list of sources.

    Raises:
        ExportError: a path is a folder. OLMo-core would count the size of the folder entry as
            tokens.
    """
    listed = []
    for part, path in blend.located():
        if path.endswith("/") or ("://" not in path and Path(path).is_dir()):
            raise ExportError(
                f"domain {part.domain} has the path {shown(path)}, a folder; OLMo-core would count "
                "the folder itself as tokens: need a file or a pattern such as "
                f"{path.rstrip('/')}/*.npy"
            )
        listed.append(
            {
                "source_name": part.domain,
                "target_ratio": part.weight,
                "paths": [path],
                "max_repetition_ratio": _repetition(blend, part),
                "max_source_fraction": 1.0,
            }
        )
    return as_yaml({"sources": listed}, *notes)


def warnings(blend: Blend) -> list[str]:
    """Warnings about unknown passes and about paths that look like folders."""
    unknown = [p.domain for p in blend.positive() if not blend.recipe.epochs.get(p.domain)]
    folders = [
        part.domain
        for part, path in blend.located()
        if "*" not in path and not PurePosixPath(path).suffix
    ]
    found = []
    if unknown:
        found.append(
            f"The recipe does not say how often the final run repeats {', '.join(unknown)}: "
            f"max_repetition_ratio permits {UNKNOWN_PASSES:g} passes, and OLMo-core refuses more."
        )
    if folders:
        found.append(
            f"The paths of {', '.join(folders)} look like folders; OLMo-core needs files or "
            "patterns (*.npy) and counts a folder as some 2,048 tokens."
        )
    return found


def _repetition(blend: Blend, part: Part) -> float:
    """Maximum passes over a domain in the final run: the recipe's passes times SLACK, at least
    1."""
    passes = blend.recipe.epochs.get(part.domain) or UNKNOWN_PASSES
    return max(1.0, math.ceil(round(100 * SLACK * passes, 6)) / 100)


FORMS = (
    Form(
        trainer="olmo-core",
        ending=".yaml",
        version="ai2-olmo-core 3.0.0",
        render=sources,
        notes=(
            "max_repetition_ratio is a limit: the passes of the final run and 10 % more, at "
            "least 1.",
        ),
        warnings=warnings,
    ),
)
"""Forms for OLMo-core."""
