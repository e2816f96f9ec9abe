"""Writes the results of a sweep from its journal, each file whole.

The files are runs.csv, LAW.json, RECIPE.json, domains.yaml and report.html.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig, TextConfig
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import DataError, SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.writing import as_yaml
from bimix_sweep.report.page import render
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.outcome import decided, recipe_of
from bimix_sweep.sweep.sweep_page import page_data, page_of, progress_of
from bimix_sweep.sweep.workspace.paths import CONFIG, STORE, local_part


def write_results(folder: str, config: SweepConfig) -> Recipe:
    """Writes all results of a finished sweep.

    Args:
        folder: path or URI of the sweep.
        config: the configuration with which the sweep ran.

    Returns:
        The recipe that the sweep recommends.

    Raises:
        SweepError: the sweep has not reached its confirmation trials, or `config` is not the
            configuration with which the sweep ran.
    """
    history = _replay(folder, config)
    if history.confirmation is None:
        raise SweepError(
            f"{folder}: the sweep has not reached its confirmation trials; go on with resume"
        )
    law, optimum, comparison = decided(history)
    history.state.trial_record.table().write(locations.join(folder, "runs.csv"))
    law.save(locations.join(folder, "LAW.json"))
    recipe = recipe_of(history, law, optimum, comparison, config.public())
    recipe = recipe.model_copy(
        update={"provenance": recipe.provenance | _text_read(folder, history)}
    )
    recipe.write(locations.join(folder, "RECIPE.json"))
    _write_domains(folder, config, history.first.data.get("store"))
    progress = progress_of(history, folder, complete=True)
    data = page_of(config, history, law, optimum, comparison, progress)
    files.write_text(locations.join(folder, "report.html"), render(data))
    return recipe


def write_page(folder: str, config: SweepConfig) -> str:
    """Writes the page of a sweep with its present results.

    Returns:
        Path or URI of the page.

    Raises:
        SweepError: the configuration is not the one with which the sweep began.
    """
    path = locations.join(folder, "report.html")
    history = _replay(folder, config)
    files.write_text(path, render(page_data(history, config, progress_of(history, folder))))
    return path


def _replay(folder: str, config: SweepConfig) -> SweepHistory:
    """The history of a sweep, if `config` is the configuration that it ran with.

    The results name that configuration in their provenance.
    """
    history = replay(folder)
    if history.first.config_digest != config.digest:
        raise SweepError(
            f"{folder}: {CONFIG} was changed since the sweep last ran; resume it to go on "
            "with that, or bring it back"
        )
    return history


def _write_domains(folder: str, config: SweepConfig, digest: str | None) -> None:
    """Writes domains.yaml, which `export --domains` reads.

    For each domain the file gives the place of its text and the mean length of its documents before
    any is cut.
    """
    sources: dict[str, dict[str, Any]] = {}
    for name, domain in config.domains.items():
        texts: Sequence[TextConfig] = domain.sources or [domain]
        for source, entry in zip(domain.blend(name) or [name], texts, strict=True):
            sources[source] = {} if entry.path is None else {"path": _as_written(entry.path)}
    with contextlib.suppress(DataError):  # without the sweep's store the lengths are unknown
        store = TokenStore.open(local_part(folder) / STORE)
        read = store.manifest["notes"].get("domains", {})
        for name, domain in config.domains.items() if store.digest == digest else ():
            known = read.get(name, {})
            each = known.get("sources", []) if domain.sources else [known]
            for source, one in zip(domain.blend(name) or [name], each, strict=False):
                if (length := one.get("tokens_per_document")) is not None:
                    sources[source]["tokens_per_document"] = length
    text = as_yaml(
        sources,
        f"Of the sweep {config.name}, configuration {config.digest} (config_digest in its recipe).",
        "For: bimix-sweep export RECIPE.json --to TRAINER --domains domains.yaml",
        "The paths are those of the text: put in where your trainer's tokens of it lie."
        if any("path" in source for source in sources.values())
        else "The sweep knew no paths: fill in where your trainer's tokens lie, as in  web: "
        "{path: /data/web_text_document}",
        "tokens_per_document is of the sweep's own tokenizer: count it with your trainer's.",
        "valid: is a domain's held-out data, for the trainers that need some.",
    )
    files.write_text(locations.join(folder, "domains.yaml"), text)


def _as_written(path: str | Sequence[str]) -> str | list[str]:
    """One path, or a list of several, as YAML holds them."""
    return path if isinstance(path, str) else list(path)


def _text_read(folder: str, history: SweepHistory) -> dict[str, Any]:
    """{"text": what was read of each domain and target, "tokenizer": its hash and its end of text};
    empty if the sweep's store is missing."""
    with contextlib.suppress(DataError):
        store = TokenStore.open(local_part(folder) / STORE)
        if store.digest == history.first.data.get("store"):
            kinds = ("domains", "targets", "shared_documents")
            read = {kind: store.manifest["notes"].get(kind, {}) for kind in kinds}
            return {"text": read, "tokenizer": store.tokenizer}
    return {}
