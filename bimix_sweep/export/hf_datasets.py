"""Hugging Face datasets: the arguments of `interleave_datasets`.

Its probabilities draw **documents**, so p[i] is proportional to r[i] / (mean tokens of a document of domain i). A domain at 0 is left
out: with `all_exhausted` the interleaving would never end.
"""

import json
import pprint

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.recipe import rounded

UNIT = "documents"
DECIMALS = 12
"""`datasets` draws with numpy, which needs a sum of 1 within 1.5e-8."""


def probabilities(blend: Blend) -> dict[str, float]:
    """Chance that the next document is of each domain, sum 1."""
    per_token = {
        part.domain: part.proportion / blend.tokens_per_document(part) for part in blend.positive()
    }
    return rounded(per_token, DECIMALS)


def arguments(blend: Blend) -> str:
    """JSON: the datasets in order and the arguments as `interleave_datasets` names them."""
    chances = probabilities(blend)
    content = {
        "unit": UNIT,
        "datasets": list(chances),
        "paths": [blend.path(part) for part in blend.positive()]
        if any(part.source.path for part in blend.parts)
        else None,
        "probabilities": list(chances.values()),
        "seed": blend.seed,
        "stopping_strategy": "all_exhausted",
        "token_proportions": {part.domain: part.proportion for part in blend.positive()},
        "tokens_per_document": {
            part.domain: blend.tokens_per_document(part) for part in blend.positive()
        },
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def snippet(blend: Blend) -> str:
    """A Python module with one function, `interleave(datasets)`."""
    shares = {part.domain: part.proportion for part in blend.positive()}
    return f'''"""Interleave the domains in the proportions of a bimix-sweep recipe.

Unit of PROBABILITIES: {UNIT}. Each is the share of tokens divided by the domain's mean tokens per document.
"""

from datasets import interleave_datasets

TOKEN_PROPORTIONS = {pprint.pformat(shares, sort_dicts=False)}
PROBABILITIES = {pprint.pformat(probabilities(blend), sort_dicts=False)}


def interleave(datasets, seed={blend.seed}):
    """One dataset of all domains; `datasets` maps each name above to a Dataset or IterableDataset."""
    return interleave_datasets(
        [datasets[name] for name in PROBABILITIES],
        probabilities=list(PROBABILITIES.values()),
        seed=seed,
        stopping_strategy="all_exhausted",
    )
'''
