"""Lingua: `root_dir` and `sources` of the `data` section. A source is a folder under the root; weights are normalised."""

import posixpath

from bimix_sweep.export.blend import UNIT, Blend, as_yaml


def data(blend: Blend) -> str:
    """The YAML of `data`; the root is the longest folder that holds all paths."""
    parts = blend.positive()
    paths = [posixpath.normpath(blend.path(part)) for part in parts]
    parents = [posixpath.dirname(path) for path in paths]
    absolute = {path.startswith("/") for path in paths}
    root = posixpath.commonpath(parents) if len(absolute) == 1 else ""
    sources = {
        posixpath.relpath(path, root) if root else path: float(part.weight) * 100
        for path, part in zip(paths, parts, strict=True)
    }
    sources = {name: round(weight, 4) for name, weight in sources.items()}
    return as_yaml(
        {"data": {"root_dir": root or ".", "sources": sources}},
        f"Unit of sources: {UNIT}, in percent.",
    )
