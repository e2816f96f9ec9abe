"""Reads `LAW.json` as untrusted input: checks names, shapes and numbers before making a law."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from bimix_sweep.errors import ConfigError, LawError, MixtureError, OptimumError
from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model.observations import Trials
from bimix_sweep.law.model.segments import curve_segments
from bimix_sweep.law.model.variances import COMPONENTS, VarianceComponents
from bimix_sweep.law.posterior.conditioned_law import ConditionedLaw
from bimix_sweep.law.posterior.law_parts import (
    check_hyper,
    check_width,
    read_drift,
    read_kernel,
    read_repetition,
)
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import check_names
from bimix_sweep.mixture.goals import Goal
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.text import shown

FORMAT = "bimix-sweep law 5"
"""Name and version of the file format."""
RANGES = {
    "params": (-50.0, 50.0),
    "precision": (1e-9, 1e18),
    "variances.trial": (1e-18, 100.0),
    "variances.point": (1e-18, 100.0),
    "variances.segment": (0.0, 100.0),
    "variances.discrepancy": (0.0, 100.0),
    "variances.factors": (1e-6, 1e6),
    "inflation": (1e-6, 1e4),
    "correlation": (-1.0 - 1e-6, 1.0 + 1e-6),
    "residual": (-100.0, 100.0),
    "response": (-100.0, 100.0),
    "reference": (1e-3, 1e18),
    "steps": (1e-3, 1e18),
    "sizes": (1e-3, 1e18),
}
"""Allowed ranges of numbers in a law, far wider than those of real fits.

Parameters are logarithms, and the smallest is `col.OFF`. Beyond the ranges exponentials
overflow.
"""

EXPONENTS = {
    col.LEVEL: (-20.0, 20.0),
    col.SLOPE: (-50.0, 5.0),
    col.STEP_POWER: (-50.0, 5.0),
    col.SIZE_POWER: (-50.0, 5.0),
    col.TRANSIENT_POWER: (-50.0, 5.0),
    col.STEP_SIZE: (-5.0, 5.0),
    col.SLOPE_SIZE: (-5.0, 5.0),
    col.SLOPE_STEP: (-5.0, 5.0),
}
"""Allowed ranges of the columns of `params` that stand in exponents.

Published slopes are below 1, and a proportion of 0.001 to the power -148 overflows.
"""


def read_fields(data: Any) -> dict[str, Any]:
    """Reads the fields of a `FittedLaw` from what its `to_json` gave.

    Raises:
        LawError: the data are not a law that this version wrote, or the values do not fit together.
    """
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        written = data.get("format") if isinstance(data, Mapping) else type(data).__name__
        raise LawError(
            f"not a law file (format {shown(written)}); need {FORMAT!r}, as fit writes it"
        )
    try:
        return _fields(data)
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        OverflowError,
        MixtureError,
        OptimumError,
        ConfigError,
    ) as error:
        raise LawError(
            f"the law file is damaged ({type(error).__name__}: {str(error)[:200]}); fit the law "
            "again"
        ) from error


def _fields(data: Mapping[str, Any]) -> dict[str, Any]:
    domains, targets = tuple(map(str, data["domains"])), tuple(map(str, data["targets"]))
    check_names(domains)
    check_names(targets, "target")
    check_hyper(data["hyper"], len(domains))
    choice, own = dict(data["choice"]), dict(data["own"])
    if set(choice) != set(targets) or not set(choice.values()) <= {"bimix", "transfer"}:
        raise ValueError("choice does not fit the targets")
    if not (set(own) <= set(targets) and set(own.values()) <= set(domains)):
        raise ValueError("own does not fit targets and domains")
    goals = {str(name): Goal.from_json(goal) for name, goal in data["goals"].items()}
    if not set(goals) <= set(targets):
        raise ValueError("goals do not fit the targets")
    conditioned = _conditioned(data, len(targets), len(domains))
    inflation = _array(data, "inflation", (len(targets),))
    correlation = _array(data, "correlation", (len(targets), len(targets)))
    check_numbers(conditioned, inflation, correlation)
    return {
        "domains": domains,
        "targets": targets,
        "own": own,
        "goals": goals,
        "choice": choice,
        "notes": tuple(map(str, data["notes"])),
        "cross_validation": dict(data["cross_validation"]),
        "conditioned": conditioned,
        "inflation": inflation,
        "correlation": correlation,
        "drift": read_drift(data["drift"]),
        "hyper": dict(data["hyper"]),
        "problem": read_problem(data["problem"], domains, targets),
    }


def conditioned_json(law: ConditionedLaw) -> dict[str, Any]:
    """Returns the part of a law file that `ConditionedLaw` holds, as plain JSON values."""
    return {
        "params": law.params.tolist(),
        "precision": law.precision.tolist(),
        "variances": law.variances.to_json(),
        "kernel": law.kernel.to_json(),
        "residual": law.residual.tolist(),
        "trials": law.trials.to_json(),
        "reference": list(law.reference),
        "repetition": asdict(law.repetition),
        "response": law.response.tolist() if law.repetition.repeated else None,
    }


def _conditioned(data: Mapping[str, Any], num_targets: int, num_domains: int) -> ConditionedLaw:
    trials = Trials.from_json(data["trials"], num_targets, num_domains)
    segments = curve_segments(trials)
    variances = data["variances"]
    parameters = np.shape(data["params"])[-1]
    check_width(parameters, num_domains)
    return ConditionedLaw(
        params=_array(data, "params", (num_targets, parameters)),
        precision=_array(data, "precision", (num_targets, parameters)),
        variances=VarianceComponents(
            **{name: _array(variances, name, (num_targets,)) for name in COMPONENTS},
            factors=_array(variances, "factors", (len(trials.proportions),))
            if "factors" in variances
            else None,
        ),
        kernel=read_kernel(data["kernel"]),
        residual=_array(data, "residual", (num_targets, len(segments.trial))),
        trials=trials,
        segments=segments,
        reference=(float(data["reference"][0]), float(data["reference"][1])),
        repetition=read_repetition(data["repetition"]),
        response=np.zeros((num_targets, parameters))
        if data["response"] is None
        else _array(data, "response", (num_targets, parameters)),
    )


def _array(data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Array:
    values = np.array(data[name], dtype=np.float64)
    if values.shape != shape:
        raise ValueError(f"{name} has shape {values.shape}")
    return values


def read_problem(
    data: Any, domains: tuple[str, ...], targets: tuple[str, ...]
) -> ProblemStatement | None:
    """Reads the decision problem kept in a law file.

    Raises:
        KeyError, TypeError, ValueError, OptimumError, MixtureError: the data are no decision
            problem, or not one of this law.
    """
    if data is None:
        return None
    problem = ProblemStatement.from_json(data)
    named = set(problem.domains.names)
    for mixture in (problem.today, problem.prior):
        named |= set(mixture.names) if mixture else set()
    if not named <= set(domains) or not set(problem.weights or ()) <= set(targets):
        raise ValueError("the problem names domains or targets that the law lacks")
    return problem


def check_numbers(law: ConditionedLaw, inflation: Array, correlation: Array) -> None:
    """Checks that a law's numbers are in the ranges of real fits.

    Other numbers overflow in predictions.

    Args:
        law: laws and discrepancy GPs.
        inflation, correlation: as in `FittedLaw`.

    Raises:
        ValueError: a number is not finite or out of its range.
    """
    sizes = law.trials.sizes[~np.isnan(law.trials.sizes)]
    factors = law.variances.factors
    for name, values in {
        "params": law.params,
        "precision": law.precision,
        **{f"variances.{name}": getattr(law.variances, name) for name in COMPONENTS},
        "variances.factors": np.ones(1) if factors is None else factors,
        "inflation": inflation,
        "correlation": correlation,
        "residual": law.residual,
        "response": law.response,
        "reference": np.array(law.reference),
        "steps": law.trials.steps,
        "sizes": sizes,
    }.items():
        low, high = RANGES[name]
        if not ((values >= low) & (values <= high)).all():
            raise ValueError(f"{name} holds a number outside of {low:g} to {high:g}")
    if np.abs(np.diagonal(correlation) - 1).max() > 1e-6:
        raise ValueError("correlation has a diagonal that is not 1")
    for column, (low, high) in EXPONENTS.items():
        if not ((law.params[:, column] >= low) & (law.params[:, column] <= high)).all():
            raise ValueError(
                f"params holds a number outside of {low:g} to {high:g} in column {column}"
            )
