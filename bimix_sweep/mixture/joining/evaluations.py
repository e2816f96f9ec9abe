"""Reads the JSON results of lm-eval (EleutherAI's lm-evaluation-harness): one row a trial.

`lm_eval --output_path OUT/TRIAL` writes `OUT/TRIAL/MODEL/results_TIME.json`. The trial is the first
folder below the given one, or the file's own name where it lies directly there. A task's metric
becomes the column `task/metric`, with the filter after a comma where it is not `none`.

Source: `results` of the harness's `EvaluationTracker`: {task: {"metric,filter": value}}.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bimix_sweep import files
from bimix_sweep.errors import TableError
from bimix_sweep.text import shown


def is_evaluation(source: Any) -> bool:
    """Tells whether a source is a folder, a JSON file, or a list of JSON files."""
    if isinstance(source, str | Path):
        return Path(source).suffix.lower() == ".json" or Path(source).is_dir()
    return (
        isinstance(source, Sequence)
        and bool(source)
        and all(isinstance(one, str | Path) for one in source)
    )


def read_evaluations(source: Any) -> tuple[str, dict[str, pa.Array], tuple[str, ...]]:
    """Returns the name of the results, their columns and notes.

    Columns: `trial`, `model_name` where the results name it, and `task/metric` for each metric.

    Raises:
        TableError: a file cannot be read or is no JSON, or no file holds results.
    """
    name, places = _places(source)
    rows: dict[str, dict[str, Any]] = {}
    notes, skipped = [], []
    for trial, path in places:
        content = _content(path)
        if content is None:
            skipped.append(path.name)
            continue
        row = rows.setdefault(trial, {"trial": trial})
        if model := content.get("model_name"):
            row["model_name"] = str(model)
        measured = dict(_metrics(content["results"]))
        if replaced := [key for key, value in measured.items() if row.get(key, value) != value]:
            notes.append(
                f"{path}: replaces {', '.join(replaced[:5])} of an earlier file of trial {trial}"
            )
        row |= measured
    if not rows:
        raise TableError(
            f"{name}: no JSON file with results of lm-eval; need the folder that --output_path "
            "names, or the results_*.json files in it"
        )
    if skipped:
        notes.append(f"{name}: not used, no results: {', '.join(sorted(set(skipped))[:10])}")
    keys = dict.fromkeys(key for row in rows.values() for key in row)
    columns = {key: pa.array([row.get(key) for row in rows.values()]) for key in keys}
    return name, columns, tuple(notes)


def _places(source: Any) -> tuple[str, list[tuple[str, Path]]]:
    """Returns a name for messages, and (trial, file) of every JSON file, sorted by name."""
    if isinstance(source, str | Path) and Path(source).is_dir():
        folder = Path(source)
        found = sorted(path for path in folder.rglob("*.json") if path.is_file())
        return str(source), [(_trial(path.relative_to(folder)), path) for path in found]
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(one) for one in source]
    if wrong := next((path for path in paths if path.suffix.lower() != ".json"), None):
        raise TableError(f"{wrong} is no JSON file; of more than two files the others need to be")
    name = str(paths[0]) if len(paths) == 1 else f"{len(paths)} JSON files"
    return name, [(path.stem, path) for path in paths]


def _trial(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 else path.stem


def _content(path: Path) -> Mapping[str, Any] | None:
    """Returns the content of a file; None where it holds no results."""
    try:
        content = json.loads(files.read_bytes(path))
    except OSError as error:
        raise TableError(
            f"{path} cannot be read ({error.strerror or error}); need the JSON results of lm-eval"
        ) from error
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path} is not JSON: {shown(str(error))}") from error
    results = content.get("results") if isinstance(content, dict) else None
    return content if isinstance(results, dict) else None


def _metrics(results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yields (`task/metric`, value) of each number but the standard errors."""
    for task, metrics in results.items():
        for key, value in metrics.items() if isinstance(metrics, dict) else ():
            metric, _, chosen = key.partition(",")
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            if metric.endswith("_stderr") or metric == "sample_len":
                continue
            yield f"{task}/{metric}{f',{chosen}' if chosen not in ('', 'none') else ''}", value
