"""Loss tables of a planted law whose trials repeat scarce domains."""

from dataclasses import replace

import numpy as np

from bimix_sweep.mixture.table import LossTable
from tests.support.planted_tables import DOMAINS, STEPS, mixtures_of, transfer_truth

SCARCE = np.array([np.inf, 0.05, 0.1, 0.02])
"""(domains,) unique tokens over those of a whole trial."""


def effective(passes, r_star):
    """Effective over drawn tokens, as arXiv:2305.16264 states them."""
    if passes <= 1:
        return 1.0
    return (1 + r_star * (1 - np.exp(-(passes - 1) / r_star))) / passes


def repeated_table(r_star, count, *, unique=SCARCE, steps=STEPS, seed=3, offset=0.002, point=0.001):
    """Trials of random mixtures under the planted transfer law; each row states its passes."""
    generator, rows = np.random.default_rng(seed), []
    for number, r in enumerate(mixtures_of(count, seed=seed)):
        shift = offset * generator.standard_normal(len(DOMAINS))
        for step in steps:
            passes = r * step / steps[-1] / unique
            seen = r * np.array([effective(one, r_star) for one in passes])
            noise = shift + point * generator.standard_normal(len(DOMAINS))
            rows.append((f"t{number}", step, r, np.exp(transfer_truth(seen, step) + noise), passes))
    trials, at, proportions, losses, epochs = (list(column) for column in zip(*rows, strict=True))
    table = LossTable.from_numpy(
        domains=DOMAINS,
        targets=DOMAINS,
        trials=trials,
        steps=np.array(at),
        proportions=np.array(proportions),
        losses=np.array(losses),
    )
    return replace(table, epochs=np.array(epochs))
