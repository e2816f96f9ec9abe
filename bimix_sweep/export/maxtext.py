"""MaxText with Grain: `grain_train_files`, or the JSON of `grain_train_mixture_config_path`."""

import json

from bimix_sweep.errors import ExportError
from bimix_sweep.export.blend import Blend


def train_files(blend: Blend) -> str:
    """One line of `pattern,weight` joined by `;`: the value of `grain_train_files`, which holds nothing else."""
    listed = []
    for part in blend.positive():
        path = blend.path(part)
        if any(sign in path for sign in ",;\n"):
            raise ExportError(
                f"the path {path!r} has a , ; or line break, at which MaxText splits; use the JSON form or move the file"
            )
        listed.append(f"{path},{part.weight}")
    return ";".join(listed) + "\n"


def mixture(blend: Blend) -> str:
    """The JSON {name: {path, weight}}; every key is read as a data set, so it holds nothing else. Weights are shares of tokens."""
    content = {
        part.domain: {"path": blend.path(part), "weight": part.proportion}
        for part in blend.positive()
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
