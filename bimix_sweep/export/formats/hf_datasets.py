"""Writes a recipe for Hugging Face datasets: the arguments of `interleave_datasets`.

The function draws documents by its probabilities. A domain with proportion 0 is left out: with
`all_exhausted`, the interleaving would never end.
"""

import json
import pprint
from collections.abc import Sequence

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.unit import Unit
from bimix_sweep.export.writing import comments

VERSION = "datasets 5.2.0"
"""Release that the forms were checked with."""
STOP = (
    "all_exhausted ends only when the rarest domain has been read once: end the training by its "
    "number of steps."
)
"""Note about the end of the interleaved data set."""


def arguments(blend: Blend, notes: Sequence[str]) -> str:
    """JSON with the data sets in order and the arguments under the names of
    `interleave_datasets`."""
    parts = blend.positive()
    named = any(part.source.paths for part in parts)
    content = {
        "unit": blend.unit.value,
        "datasets": [part.domain for part in parts],
        "paths": [part.source.path for part in parts] if named else None,
        "probabilities": [part.weight for part in parts],
        "seed": blend.seed,
        "stopping_strategy": "all_exhausted",
        "token_proportions": {part.domain: part.proportion for part in parts},
        "tokens_per_document": {part.domain: blend.tokens_per_document(part) for part in parts},
        "notes": list(notes),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def snippet(blend: Blend, notes: Sequence[str]) -> str:
    """A Python module with one function, `interleave(datasets)`."""
    proportions = {part.domain: part.proportion for part in blend.positive()}
    probabilities = {part.domain: part.weight for part in blend.positive()}
    return f'''{
        comments(notes)
    }"""Interleave the domains in the proportions of a bimix-sweep recipe."""

from datasets import interleave_datasets

TOKEN_PROPORTIONS = {pprint.pformat(proportions, sort_dicts=False)}
PROBABILITIES = {pprint.pformat(probabilities, sort_dicts=False)}


def interleave(datasets, seed={blend.seed}):
    """One dataset of all domains; `datasets` maps each name to a Dataset or IterableDataset."""
    return interleave_datasets(
        [datasets[name] for name in PROBABILITIES],
        probabilities=list(PROBABILITIES.values()),
        seed=seed,
        stopping_strategy="all_exhausted",
    )
'''


FORMS = (
    Form(
        trainer="hf-datasets",
        ending=".py",
        imports=frozenset({"datasets"}),
        version=VERSION,
        render=snippet,
        unit=Unit.DOCUMENTS,
        notes=(STOP,),
        paths="none",
    ),
    Form(
        trainer="hf-datasets",
        ending=".json",
        version=VERSION,
        render=arguments,
        unit=Unit.DOCUMENTS,
        notes=(STOP,),
        paths="if given",
    ),
)
"""Forms for Hugging Face datasets."""
