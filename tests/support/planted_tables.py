"""Loss tables of planted laws over four domains."""

import numpy as np

from bimix_sweep.mixture.table import LossTable

DOMAINS = ("web", "code", "books", "math")
STEPS = np.array([200.0, 400.0, 700.0, 1000.0])
NAN = float("nan")


def table_of(
    truth,
    mixtures,
    steps=STEPS,
    *,
    targets=DOMAINS,
    offset=0.002,
    point=0.001,
    seed=0,
    sizes=(NAN,),
):
    """A table of log losses truth(r, s, N) -> (targets,) with trial offsets and point noise."""
    generator = np.random.default_rng(seed)
    rows = []
    for number, r in enumerate(mixtures):
        for size in sizes:
            shift = offset * generator.standard_normal(len(targets))
            for s in steps:
                rows.append(
                    (
                        f"t{number}",
                        s,
                        size,
                        r,
                        truth(r, s, size) + shift + point * generator.standard_normal(len(targets)),
                    )
                )
    return LossTable(
        domains=DOMAINS[: len(mixtures[0])],
        targets=targets,
        trials=tuple(row[0] for row in rows),
        steps=np.array([row[1] for row in rows]),
        sizes=np.array([row[2] for row in rows]),
        seeds=np.full(len(rows), np.nan),
        proportions=np.array([row[3] for row in rows]),
        losses=np.exp(np.array([row[4] for row in rows])),
    )


def mixtures_of(count, seed=1, concentration=1.0):
    return np.random.default_rng(seed).dirichlet(np.full(4, concentration), count)


HELP = np.array(
    [[3.0, 0.4, 0.8, 0.2], [0.3, 3.0, 0.1, 0.5], [1.0, 0.1, 3.0, 0.1], [0.3, 1.2, 0.1, 3.0]]
)


def transfer_truth(r, s, size=NAN):
    v = HELP @ r**0.8 + 0.02
    return (
        np.log([3.2, 2.4, 3.6, 2.9])
        - np.array([0.12, 0.2, 0.1, 0.15]) * np.log(v)
        + np.log1p(0.2 * (s / 500) ** -0.6)
    )


def bimix_truth(r, s, size=NAN):
    alpha, b, c = (
        np.array([0.05, 0.1, 0.07, 0.12]),
        np.array([9.0, 12.0, 10.0, 8.0]),
        np.array([2.5, 1.5, 2.8, 2.0]),
    )
    return -alpha * np.log(r) + np.log(b * s**-0.5 + c)


GROWS = np.array([0.0, 0.08, -0.06, 0.0])


def shifted_truth(r, s, size):
    """Code helps every target more, books less, the larger the model."""
    v = HELP @ ((size / 1e7) ** GROWS * r**0.8) + 0.02
    scaled = 0.2 * (s / 500) ** -0.6 + 0.4 * (size / 3e7) ** -0.3
    return (
        np.log([3.2, 2.4, 3.6, 2.9])
        - np.array([0.12, 0.2, 0.1, 0.15]) * np.log(v)
        + np.log1p(scaled)
    )


def changed(table, **fields):
    """The table with some fields replaced."""
    names = ("domains", "targets", "trials", "steps", "sizes", "seeds", "proportions", "losses")
    return LossTable(**{**{name: getattr(table, name) for name in names}, **fields})
