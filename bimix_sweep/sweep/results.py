"""Writes the results of a sweep from its journal, each file whole.

The files are runs.csv, LAW.json, RECIPE.json, domains.yaml and report.html.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig, TextConfig
from bimix_sweep.data.store import TokenStore
from bimix_sweep.data.stream import badly_realised
from bimix_sweep.design.comparison import Comparison
from bimix_sweep.errors import DataError, LawError, SweepError, TableError
from bimix_sweep.export.build_recipe import build_recipe, gain_of
from bimix_sweep.export.provenance import commit
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.writing import as_yaml
from bimix_sweep.law.fitting.fit_law import FittedLaw
from bimix_sweep.law.optimum.answer import not_tested
from bimix_sweep.law.optimum.optimal_mixture import Optimum
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.report.data import PathPoint, ReportData
from bimix_sweep.report.page import render
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.outcome import answer_of, decided, law_so_far
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
    files.write_text(
        locations.join(folder, "report.html"), _page(config, history, law, optimum, comparison)
    )
    return recipe


def recipe_of(
    history: SweepHistory,
    law: FittedLaw,
    optimum: Optimum,
    comparison: Comparison | None,
    config: Mapping[str, Any],
) -> Recipe:
    """The recipe that answers the sweep's own problem.

    Args:
        history: history of the sweep.
        law: law of the sweep, with its problem (from `decided` or `law_so_far`).
        optimum: the predicted optimum.
        comparison: comparison of the confirmation trials; None before all of them ended.
        config: the public configuration, for the provenance.
    """
    assert law.problem is not None  # noqa: S101
    return build_recipe(
        optimum,
        law,
        law.problem,
        comparison=comparison,
        excluded=_failed(history),
        provenance=_provenance(history, config, law),
    )


def write_page(folder: str, config: SweepConfig) -> str:
    """Writes the page of a sweep with its present results.

    Returns:
        Path or URI of the page.

    Raises:
        SweepError: the configuration is not the one with which the sweep began.
    """
    path = locations.join(folder, "report.html")
    files.write_text(path, page(_replay(folder, config), config))
    return path


def page(history: SweepHistory, config: SweepConfig) -> str:
    """The page of a sweep with its present results, as HTML."""
    if history.confirmation is not None:
        return _page(config, history, *decided(history))
    try:
        law = law_so_far(history)
    except (LawError, TableError):  # too few points for a law, or none
        return _page(config, history, None, None, None)
    return _page(config, history, law, answer_of(law), None)


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


def _page(
    config: SweepConfig,
    history: SweepHistory,
    law: FittedLaw | None,
    optimum: Optimum | None,
    comparison: Comparison | None,
) -> str:
    records = history.state.trials
    counted = any(record.points and record.state != "failed" for record in records.values())
    beyond = gain = None
    if law is not None and optimum is not None and law.problem is not None:
        measured = comparison.recommended_mixture.mixture if comparison else None
        beyond = not_tested(optimum, law, law.problem, measured=measured)
        gain = gain_of(optimum, law, law.problem, comparison)
    data = ReportData(
        name=config.name,
        domains=history.spec.domains,
        table=history.state.trial_record.table() if counted else None,
        roles={name: record.role for name, record in records.items()},
        states={name: record.state for name, record in records.items()},
        failed=_failed(history),
        path=tuple(_path(history)),
        law=law,
        optimum=optimum,
        comparison=comparison,
        gain=gain,
        kl=history.spec.kl,
        weights=history.spec.weights,
        objective=history.spec.objective,
        tolerance=history.spec.tolerance,
        stop_reason=history.decision.reason if history.decision else "",
        token_budget=config.final.tokens if config.final else None,
        beyond=beyond,
        seconds=history.seconds,
        provenance=_provenance(history, config.public(), law),
    )
    return render(data)


def _path(history: SweepHistory) -> list[PathPoint]:
    """The predicted optimum after each trial that ended."""
    last: dict[int, PathPoint] = {}
    for refit in history.refits:
        if refit.optimum is not None:
            last[refit.num_over] = PathPoint(
                num_trials=refit.num_trials,
                mixture=Mixture.from_mapping(refit.optimum.mixture),
                interval={
                    name: (low, high) for name, (low, high) in refit.optimum.interval.items()
                },
                regret_expected=_or_nan(refit.decision.regret_expected),
                regret_upper95=_or_nan(refit.decision.regret_upper95),
                movement_tv=refit.decision.movement_tv,
            )
    return list(last.values())


def _or_nan(value: float | None) -> float:
    """The number, or nan if it is not known."""
    return math.nan if value is None else value


def _failed(history: SweepHistory) -> dict[str, str]:
    return {
        name: record.failure
        for name, record in history.state.trials.items()
        if record.state == "failed"
    }


def _provenance(
    history: SweepHistory, config: Mapping[str, Any], law: FittedLaw | None
) -> dict[str, Any]:
    return {
        "config": dict(config),
        "config_digest": history.first.config_digest,
        "seed": history.spec.seed,
        "data": history.first.data,
        "precision": history.precision,
        **_realised(history, config),
        "law_digest": law.digest if law else None,
        "versions": history.first.versions,
        **commit(),
    }


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


def _realised(history: SweepHistory, config: Mapping[str, Any]) -> dict[str, Any]:
    """{"realised": {trial: {domain: [proportion asked for, realised]}}}, of large differences.

    The sequences of the built-in trainer are known, those of other trainers are not. The result is
    empty if all proportions are close enough.
    """
    if config["trainer"] != "builtin" or history.elsewhere:
        return {}
    realised = {
        name: {domain: [*pair] for domain, pair in off.items()}
        for name, record in history.state.trials.items()
        if (off := badly_realised(record.mixture, record.steps * config["proxy"]["batch"]))
    }
    return {"realised": realised} if realised else {}
