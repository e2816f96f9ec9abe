"""Writes a recipe for VeOmni: the multi-source YAML that `data.train_path` names.

With `level: token` VeOmni divides each weight by the mean length of the documents that it has drawn
of the source, so a weight is a proportion of tokens. Only the data set `veomni_weighted_multisource`
reads `level`; `interleave` would draw documents by these weights.

Source: `WeightedMultiSourceDataset` in veomni/data/dataset.py.
"""

from collections.abc import Sequence

from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.writing import as_yaml


def multisource(blend: Blend, notes: Sequence[str]) -> str:
    """The YAML of sources, names and one constant schedule."""
    located = blend.located()
    content = {
        "sources": [path for _, path in located],
        "names": [part.domain for part, _ in located],
        "schedule": [{"schedule_type": "const", "weights": [part.weight for part, _ in located]}],
        "level": "token",
        "stopping_strategy": "never_exhausted",
    }
    return as_yaml(content, *notes)


FORMS = (
    Form(
        trainer="veomni",
        ending=".yaml",
        version="VeOmni 0.1.12",
        render=multisource,
        notes=(
            "Use: data.train_path: FILE.yaml with data.multisource_datasets_type: "
            "veomni_weighted_multisource. The default, interleave, reads no level: its weights would "
            "count documents.",
            "A source starts again when it is exhausted: end the training by its number of steps.",
        ),
    ),
)
"""Forms for VeOmni."""
