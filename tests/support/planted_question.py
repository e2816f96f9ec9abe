"""A planted law with the decision problem of a sweep, and its true answers, found by scipy."""

import json

import numpy as np
from scipy.optimize import minimize

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.final_run import FinalRun
from tests.support.planted_tables import DOMAINS, mixtures_of, table_of, transfer_truth

WEIGHTS = {"web": 0.2, "code": 0.5, "books": 0.2, "math": 0.1}
CAP = 0.4
"""Of code: one pass over 4e11 tokens in a run of 1e12."""


def planted_law(seed=0):
    """A law fitted to 16 trials with little noise."""
    return fit_law(table_of(transfer_truth, mixtures_of(16), offset=5e-4, point=2e-4, seed=seed))


def write_law(path, law, **changes):
    """LAW.json whose problem has weights and a final run in which code is scarce."""
    problem = ProblemStatement(
        sweep="planted",
        domains=DomainSet(names=DOMAINS, tokens=(1e13, 4e11, 1e13, 1e13)),
        weights=WEIGHTS,
        final=FinalRun(tokens=1e12, max_epochs=1),
        today=Mixture.from_array(DOMAINS, [0.7, 0.1, 0.1, 0.1]),
    )
    path.write_text(json.dumps(law.to_json() | {"problem": problem.to_json() | changes}))
    return path


def true_objective(r, weights=WEIGHTS):
    """Objective of a mixture at step 1000, without noise."""
    losses = np.exp(transfer_truth(np.clip(r, 0, 1), 1000.0))
    return float(losses @ [weights[name] for name in DOMAINS])


def true_optimum(weights=WEIGHTS, bounds=((0, 1),) * 4):
    """The best mixture inside bounds."""
    start = np.array([np.clip(0.25, low, high) for low, high in bounds])
    solved = minimize(
        true_objective,
        start / start.sum(),
        (weights,),
        bounds=bounds,
        constraints={"type": "eq", "fun": lambda r: r.sum() - 1},
        options={"ftol": 1e-13, "maxiter": 300},
    )
    return solved.x
