"""Reads sweep.yaml, and explains each key or value that is wrong with its path in the file."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from bimix_sweep import files, locations
from bimix_sweep.config.trainer_sections import TRAINER_KINDS
from bimix_sweep.errors import ConfigError
from bimix_sweep.parsing import parse_yaml
from bimix_sweep.text import shown

MAX_PROBLEMS = 20
"""Largest number of problems of one file that an error message lists."""


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Reads the mapping of a YAML file.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds no mapping.
    """
    try:
        raw = parse_yaml(files.read_text(path))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror or error}); need a sweep configuration in YAML"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path} is {error}") from error
    if not isinstance(raw, dict):
        what = "is empty" if raw is None else f"holds {type(raw).__name__}"
        raise ConfigError(f"{path} {what}; need a mapping with domains, proxy, budget, ...")
    return raw


def absolute(path: str | None, folder: Path) -> str | None:
    """Returns a local path made absolute from `folder`; a URI, an absolute path and None stay as
    they are."""
    return (
        path
        if path is None
        or locations.is_uri(path)
        or path.startswith("~")
        or Path(path).is_absolute()
        else str(folder / path)
    )


def explain(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Yields one line for each problem that pydantic found: the path in the file, the value that is
    there and the value needed.

    Args:
        error: the error of `model`.
        model: the model of the whole file, whose keys are suggested for an unknown key.
    """
    problems = error.errors()
    if len(problems) > MAX_PROBLEMS:
        yield f"{len(problems)} problems; the first {MAX_PROBLEMS}:"
    for item in problems[:MAX_PROBLEMS]:
        location = item["loc"]
        # pydantic puts the kind of trainer between the keys
        kind = location[:1] == ("trainer",) and len(location) > 1
        where = ".".join(
            str(part)[:80] for part in (location[:1] + location[2:] if kind else location)
        )
        if item["type"] == "extra_forbidden":
            key = str(item["loc"][-1])[:80]
            near = difflib.get_close_matches(key, _keys_at(model, item["loc"][:-1]), n=1)
            yield f"{where} is not a known key" + (
                f"; did you mean {near[0]}?"
                if near
                else f"; known are {', '.join(_keys_at(model, item['loc'][:-1]))}"
            )
        elif item["type"] == "missing":
            yield f"{where} is missing; need it"
        elif item["type"] == "value_error":
            yield f"{where} {item['ctx']['error']}".strip()
        else:
            yield (
                f"{where} is {shown(item['input'])}; need: "
                f"{item['msg'].removeprefix('Input should be ')}"
            )


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Returns the known keys of the section at a path in the file."""
    place: Any = model
    parts = iter(location)
    for part in parts:
        if part == "trainer":
            place = TRAINER_KINDS[str(next(parts))]
        elif get_origin(place) in (dict, tuple):
            place = get_args(place)[get_origin(place) is dict]
        else:
            annotation = place.model_fields[str(part)].annotation
            place = (
                next((a for a in get_args(annotation) if a is not type(None)), annotation)
                if get_origin(annotation) is not dict
                else annotation
            )
    return list(place.model_fields)
