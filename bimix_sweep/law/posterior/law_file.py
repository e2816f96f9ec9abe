"""Reads `LAW.json` as untrusted input: checks names, shapes and numbers before making a law."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from bimix_sweep.errors import ConfigError, LawError, MixtureError, OptimumError
from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model.discrepancy import KernelParams
from bimix_sweep.law.model.observations import Trials
from bimix_sweep.law.model.segments import curve_segments
from bimix_sweep.law.model.variances import COMPONENTS, VarianceComponents
from bimix_sweep.law.posterior.conditioned_law import ConditionedLaw
from bimix_sweep.law.posterior.drift import Drift
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import check_names
from bimix_sweep.mixture.goals import Goal
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.text import shown

FORMAT = "bimix-sweep law 4"
"""Name and version of the file format."""
RANGES = {
    "params": (-50.0, 50.0),
    "precision": (1e-9, 1e18),
    "variances.trial": (1e-18, 100.0),
    "variances.point": (1e-18, 100.0),
    "variances.segment": (0.0, 100.0),
    "variances.discrepancy": (0.0, 100.0),
    "inflation": (1e-6, 1e4),
    "correlation": (-1.0 - 1e-6, 1.0 + 1e-6),
    "residual": (-100.0, 100.0),
    "reference": (1e-3, 1e18),
    "steps": (1e-3, 1e18),
    "sizes": (1e-3, 1e18),
}
"""Allowed ranges of numbers in a law, far wider than those of real fits.

Parameters are logarithms, and the smallest is `col.OFF`. Beyond the ranges exponentials
overflow.
"""

MAX_DRIFT = 10.0
"""Largest drift of log loss for a factor of e in steps or size."""
MIN_LENGTHSCALE = 1e-6
"""Smallest lengthscale and noise fraction of the discrepancy GP."""
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


def read_drift(data: Mapping[str, Any]) -> Drift:
    """Reads what `Drift.to_json` gave; raises ValueError for numbers that no fit gives."""
    drift = Drift(step=float(data["step"]), size=float(data["size"]))
    if not all(0 < value <= MAX_DRIFT for value in (drift.step, drift.size)):
        raise ValueError(
            f"drift is {shown(dict(data))}; need numbers above 0, at most {MAX_DRIFT:g}"
        )
    return drift


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
    }


def _conditioned(data: Mapping[str, Any], num_targets: int, num_domains: int) -> ConditionedLaw:
    trials = Trials.from_json(data["trials"], num_targets, num_domains)
    segments = curve_segments(trials)
    parameters = np.shape(data["params"])[-1]
    check_width(parameters, num_domains)
    return ConditionedLaw(
        params=_array(data, "params", (num_targets, parameters)),
        precision=_array(data, "precision", (num_targets, parameters)),
        variances=VarianceComponents(
            **{name: _array(data["variances"], name, (num_targets,)) for name in COMPONENTS}
        ),
        kernel=read_kernel(data["kernel"]),
        residual=_array(data, "residual", (num_targets, len(segments.trial))),
        trials=trials,
        segments=segments,
        reference=(float(data["reference"][0]), float(data["reference"][1])),
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
    for name, values in {
        "params": law.params,
        "precision": law.precision,
        **{f"variances.{name}": getattr(law.variances, name) for name in COMPONENTS},
        "inflation": inflation,
        "correlation": correlation,
        "residual": law.residual,
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


def read_kernel(data: Mapping[str, Any]) -> KernelParams:
    """Reads the kernel parameters of a discrepancy GP; a missing lengthscale is infinite.

    Raises:
        KeyError, TypeError, ValueError: the data are no such parameters.
    """
    kernel = KernelParams(
        lengthscale=float(data["lengthscale"]),
        size_lengthscale=float(data.get("size_lengthscale", np.inf)),
        step_lengthscale=float(data.get("step_lengthscale", np.inf)),
        noise_fraction=float(data.get("noise_fraction", 1.0)),
    )
    largest = {"lengthscale": 1 / MIN_LENGTHSCALE, "noise_fraction": 1.0}
    for name, value in asdict(kernel).items():
        if not MIN_LENGTHSCALE < value <= largest.get(name, np.inf):
            raise ValueError(f"{name} of the discrepancy is {value:g}")
    return kernel


def check_hyper(hyper: Mapping[str, Any], num_domains: int) -> None:
    """Checks the shape of what a warm refit reads.

    Raises:
        KeyError, TypeError, ValueError: the shape is another, or a value is not finite.
    """
    fits = hyper["fits"]
    numbers = [
        hyper["own_domain_offset"],
        hyper["spread"],
        *hyper["transfer_weights"],
        *(v for row in hyper["columns"] for v in row),
    ]
    numbers += [
        v for one in fits for v in (one["trial_variance"], one["point_variance"], *one["params"])
    ]
    (parameters,) = {len(one["params"]) for one in fits}
    check_width(parameters, num_domains)
    finite = np.isfinite(np.array(numbers, dtype=np.float64)).all()
    if (
        np.shape(hyper["columns"]) != (2, col.NUM_SHARED)
        or len(hyper["transfer_weights"]) != num_domains
        or not finite
    ):
        raise ValueError(
            "what a refit starts from has another shape, or values that are not finite"
        )


def check_width(parameters: int, num_domains: int) -> None:
    """Checks the length of a parameter row.

    A row has the shared columns, log t and, where trials differ in size, d.

    Raises:
        ValueError: the row has another length.
    """
    if parameters - col.NUM_SHARED not in (num_domains, 2 * num_domains):
        raise ValueError(f"a row of parameters has {parameters} values")
