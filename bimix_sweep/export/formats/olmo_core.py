"""Writes a recipe for OLMo-core: the sources of a `SourceMixtureList`, as YAML.

Each `target_ratio` counts tokens and lies in (0, 1]; the ratios sum to 1. OLMo-core refuses a
source that has fewer tokens than its ratio requires, unless `max_repetition_ratio` permits
repetition. That ratio is only a limit; it does not change the mixture.
"""

import math
import pprint
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bimix_sweep.errors import ExportError
from bimix_sweep.export.blend import Blend
from bimix_sweep.export.final_run import epochs
from bimix_sweep.export.form import Form
from bimix_sweep.export.places import Part
from bimix_sweep.export.writing import as_yaml, comments
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
    for part, paths in blend.listed():
        folders = (p for p in paths if p.endswith("/") or ("://" not in p and Path(p).is_dir()))
        if folder := next(folders, None):
            raise ExportError(
                f"domain {part.domain} has the path {shown(folder)}, a folder; OLMo-core would "
                "count the folder itself as tokens: need a file or a pattern such as "
                f"{folder.rstrip('/')}/*.npy"
            )
        listed.append(
            {
                "source_name": part.domain,
                "target_ratio": part.weight,
                "paths": paths,
                "max_repetition_ratio": _repetition(blend, part),
                "max_source_fraction": 1.0,
            }
        )
    return as_yaml({"sources": listed}, *notes)


def warnings(blend: Blend) -> list[str]:
    """Warnings about unknown passes and about paths that look like folders."""
    unknown = [p.domain for p in blend.positive() if not epochs(blend, p)]
    folders = [
        part.domain
        for part, paths in blend.listed()
        if any("*" not in path and not PurePosixPath(path).suffix for path in paths)
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
    passes = epochs(blend, part) or UNKNOWN_PASSES
    return max(1.0, math.ceil(round(100 * SLACK * passes, 6)) / 100)


def composable(blend: Blend, notes: Sequence[str]) -> str:
    """A Python module with one function, `instances(tokenizer, sequence_length, num_tokens)`."""
    listed = blend.listed()
    paths = {part.domain: paths for part, paths in listed}
    ratios = {part.domain: part.weight for part, _ in listed}
    passes = {part.domain: _repetition(blend, part) for part, _ in listed}
    return f'''{comments(notes)}"""Mix the domains in the proportions of a bimix-sweep recipe."""

from olmo_core.data.composable import (
    ConcatAndChunkInstanceSourceConfig,
    MixingTokenSourceConfig,
    MixingTokenSourceSpecConfig,
    NumpyDocumentSourceConfig,
)

PATHS = {pprint.pformat(paths, sort_dicts=False)}
RATIOS = {pprint.pformat(ratios, sort_dicts=False)}
MAX_REPETITION_FACTORS = {pprint.pformat(passes, sort_dicts=False)}


def instances(tokenizer, sequence_length, num_tokens, seed={blend.seed}):
    """The config of an instance source of `num_tokens` tokens; `tokenizer` is a TokenizerConfig."""
    specs = [
        MixingTokenSourceSpecConfig(
            source=NumpyDocumentSourceConfig(
                source_paths=PATHS[name], tokenizer=tokenizer, source_group_size=-1
            ),
            ratio=ratio,
            max_repetition_factor=MAX_REPETITION_FACTORS[name],
            label=name,
        )
        for name, ratio in RATIOS.items()
    ]
    return ConcatAndChunkInstanceSourceConfig(
        sources=[MixingTokenSourceConfig(source_specs=specs, seed=seed, num_tokens=num_tokens)],
        sequence_length=sequence_length,
    )
'''


_LIMIT = "is a limit: the passes of the final run and 10 % more, at least 1."
FORMS = (
    Form(
        trainer="olmo-core",
        ending=".yaml",
        version="ai2-olmo-core 3.0.0",
        render=sources,
        notes=(f"max_repetition_ratio {_LIMIT}",),
        warnings=warnings,
    ),
    Form(
        trainer="olmo-core",
        variant="composable",
        ending=".py",
        imports=frozenset({"olmo_core"}),
        version="ai2-olmo-core 3.0.0",
        render=composable,
        notes=(
            "Use: instances(tokenizer, sequence_length, num_tokens) as a source of "
            "ComposableDataLoaderConfig.",
            f"max_repetition_factor {_LIMIT}",
        ),
        warnings=warnings,
    ),
)
"""Forms for OLMo-core."""
