"""Makes the text of a first sweep.yaml for the user's own folders and files.

The sizes in the file suit the text found there.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bimix_sweep import locations
from bimix_sweep.data.reading.fields import MissingFieldError
from bimix_sweep.data.sources import Source
from bimix_sweep.data.splits import MIN_DOCUMENTS
from bimix_sweep.errors import ConfigError, DataError

BYTES_PER_TOKEN = 3.5
"""Bytes per token of text with a vocabulary of 2048 tokens."""
SAMPLED_BYTES = 1_000_000
"""Bytes of text read at each path, to check that it can be read."""
TOKENS_PER_STEP = 1024
"""Tokens of one optimizer step: 8 sequences of 128 tokens."""
MAX_REPEATS = 2.0
"""Approximate maximum number of times that a proxy trained on one domain alone repeats its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPath:
    """A path that becomes a domain."""

    name: str
    """Name of the domain."""
    path: str
    """The path as the configuration file gives it."""
    field: str
    """Field of the records that holds the text."""
    tokens: float
    """Approximate number of tokens at the path."""
    note: str
    """A problem of the text; "" without one."""


def examine_paths(paths: Sequence[str], out: Path) -> list[TextPath]:
    """Examines each path, and returns one domain for each.

    Args:
        paths: folders, files, globs or URIs, one for each domain.
        out: path of the configuration file; paths in its folder are written relative to it.

    Raises:
        DataError: a path has no readable text.
        ConfigError: fewer than two paths, or one path twice.
    """
    if len(paths) < 2:
        raise ConfigError(
            f"{len(paths)} path given; need at least two domains, a folder, file, glob or URI each"
        )
    if len(set(paths)) < len(paths):
        raise ConfigError("one path is given twice; need another for each domain")
    names: list[str] = []
    domains = []
    for path in paths:
        field, (tokens, note) = _sample(path)
        names.append(_name(path, names))
        domains.append(
            TextPath(
                name=names[-1],
                path=_path_in_file(path, out.resolve().parent),
                field=field,
                tokens=tokens,
                note=note,
            )
        )
    return domains


def yaml_text(domains: Sequence[TextPath], folder: str, name: str) -> str:
    """Returns the text of the configuration file, with comments.

    Args:
        domains: the domains.
        folder: folder of the sweep.
        name: name of the sweep.
    """
    smallest = min(domain.tokens for domain in domains)
    steps = int(min(800, max(100, MAX_REPEATS * smallest / TOKENS_PER_STEP // 50 * 50)))
    lines = [*_head(name), *_domain_lines(domains), *_target_lines(domains[0].name)]
    lines += [
        (
            f"proxy: {{sizes: [2.0e5], steps: {steps}, context: 128, batch: 8}}   # one trial: "
            f"{steps * TOKENS_PER_STEP:,} tokens; or steps: [{steps // 4}, {steps}], most are then "
            "short"
        ),
        "resources: {cpu: 1, gpu: 0, slots: auto}   # of one trial; slots: at a time",
        (
            f"budget: {{trials: {max(24, 4 * len(domains))}}}           # at most; 8 confirmation "
            "trials come on top"
        ),
        (
            "stop: {tolerance: 0.002, patience: 3}      # expected regret, as a fraction of the "
            "loss, that is good enough"
        ),
        f"out: {json.dumps(folder, ensure_ascii=False)}",
    ]
    return "\n".join(lines) + "\n"


def _head(name: str) -> list[str]:
    """Returns the lines before the domains."""
    return [
        "# A sweep for bimix-sweep: which mixture of these domains trains the best model?",
        "#   bimix-sweep plan FILE      what it costs and may find out",
        "#   bimix-sweep run FILE       here; or submit it to a Ray cluster",
        "# All keys: bimix-sweep schema",
        f"name: {name}",
        "seed: 0                # everything random follows from it",
    ]


def _domain_lines(domains: Sequence[TextPath]) -> list[str]:
    """Returns the lines of the domains, with their names aligned."""
    longest = max(len(domain.name) for domain in domains) + 1
    lines = [
        "domains:               # tokens: those available to your final run; default: those "
        "of the text itself"
    ]
    for domain in domains:
        note = f"; {domain.note}" if domain.note else ""
        field = "" if domain.field == "text" else f", field: {json.dumps(domain.field)}"
        lines.append(
            f"  {domain.name + ':':{longest}} {{path: "
            f"{json.dumps(domain.path, ensure_ascii=False)}{field}}}   # about {domain.tokens:.2g} "
            f"tokens{note}"
        )
    lines.append(
        "# Bounds and sizes go beside the path, such as: {path: ..., tokens: 4.0e12, min: "
        "0.0, max: 0.5}"
    )
    return lines


def _target_lines(domain: str) -> list[str]:
    """Returns the commented lines of targets and final run, with a domain as the example."""
    return [
        "",
        (
            f"# today: {{{domain}: 0.7, ...}}   # the mixture you train on now: the gain over it is "
            "measured and stated; default: natural"
        ),
        (
            "# prior: {mixture: natural, kl: 0.01}   # a mixture to stay near; natural, today or "
            "proportions"
        ),
        (
            "# targets:             # what is minimised; default: held-out text of every domain, "
            "weight 1"
        ),
        f"#   {domain}: {{domain: {domain}}}",
        "#   exam: {path: eval/exam.jsonl, weight: 2}",
        "",
        (
            "# final: {tokens: 1.0e12}   # the run the mixture is for: its passes over "
            "small domains are then weighed"
        ),
        "",
    ]


def _sample(path: str) -> tuple[str, tuple[float, str]]:
    """Reads a sample of the text at a path, from the field `text` or the one that is likely meant.

    Returns:
        (field, result of `_measured`).

    Raises:
        DataError: the path holds tokens, or no text.
    """
    try:
        return "text", _measured(Source(path=path))
    except MissingFieldError as error:
        if error.proposed is None:
            raise
        return error.proposed, _measured(Source(path=path, field=error.proposed))


def _measured(source: Source) -> tuple[float, str]:
    """Returns the approximate number of tokens of a source, and what is wrong with it or "".

    Raises:
        DataError: the source holds tokens, or no text.
    """
    if source.holds_tokens():
        raise DataError(f"{source.place} holds tokens (.npy, .bin); need text here")
    stored = source.stored_bytes()
    documents = size = 0
    for text in source.texts():
        documents, size = documents + 1, size + len(text.encode())
        if size > SAMPLED_BYTES:
            break
    if not documents:
        raise DataError(f"{source.place} holds no text; need documents")
    if size > SAMPLED_BYTES:
        return max(size, stored) / BYTES_PER_TOKEN, ""
    tokens = size / BYTES_PER_TOKEN
    if documents < MIN_DOCUMENTS:
        return tokens, f"TOO FEW documents ({documents}), need {MIN_DOCUMENTS}"
    return tokens, ""


def _name(path: str, taken: Sequence[str]) -> str:
    """Returns a domain name from the last part of a path that holds no wildcard.

    The name consists of letters, digits, - and _, and is not in `taken`.
    """
    parts = [
        part
        for part in re.split(r"[/\\]+", path.partition("?")[0])
        if part and not any(c in part for c in "*?[")
    ]
    stem = parts[-1].split(".")[0] if parts else ""
    if not stem and parts:
        stem = parts[-1]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "domain"
    if (
        name.lower() in ("null", "true", "false", "yes", "no", "on", "off", "y", "n", "~")
        or not name[0].isalpha()
    ):
        name = f"d-{name}"  # YAML would not read the name as a string
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}-{number}"
    return unique


def _path_in_file(path: str, folder: Path) -> str:
    """Returns a path relative to the file's own folder if it lies in that folder, else absolute."""
    if locations.is_uri(path):
        return path
    full = Path(path).expanduser().absolute()
    return (
        str(full.relative_to(folder))
        if full.is_relative_to(folder) and full != folder
        else str(full)
    )
