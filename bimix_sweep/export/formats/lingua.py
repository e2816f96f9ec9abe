"""Writes a recipe for Lingua: `root_dir` and `sources` of the `data` section.

A source is a folder under the root. Lingua draws a source for each document and packs the drawn
documents into sequences, so its weights count documents. Lingua normalises the weights.
"""

import posixpath
from collections.abc import Sequence

from bimix_sweep import locations
from bimix_sweep.errors import ExportError
from bimix_sweep.export.blend import Blend
from bimix_sweep.export.form import Form
from bimix_sweep.export.unit import Unit
from bimix_sweep.export.writing import as_yaml
from bimix_sweep.text import shown


def data(blend: Blend, notes: Sequence[str]) -> str:
    """The YAML of `data`; the root is the deepest folder that holds all paths.

    Raises:
        ExportError: a path is a URI, which Lingua cannot read.
    """
    located = blend.located(posixpath.normpath)
    for part in blend.positive():
        if remote := next((path for path in part.source.paths if locations.is_uri(path)), None):
            raise ExportError(
                f"domain {part.domain} has the path {shown(remote)}; Lingua reads folders: mount "
                "it and give the folder"
            )
    parents = [posixpath.dirname(path) for _, path in located]
    absolute = {path.startswith("/") for _, path in located}
    root = posixpath.commonpath(parents) if len(absolute) == 1 else ""
    sources = {
        posixpath.relpath(path, root) if root else path: round(100 * part.weight, 10)
        for part, path in located
    }
    return as_yaml({"data": {"root_dir": root or ".", "sources": sources}}, *notes)


FORMS = (
    Form(
        trainer="lingua",
        ending=".yaml",
        version="Lingua's main branch of June 2025",
        render=data,
        unit=Unit.DOCUMENTS,
        notes=(
            "The weights are in percent.",
            "Each source must be a folder of files named *.chunk.*.jsonl.",
        ),
    ),
)
"""Forms for Lingua."""
