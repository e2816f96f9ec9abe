"""A planted sweep: three domains, BiMix losses with noise, the real law, optimum and comparison on
top.
"""

import numpy as np
import pytest

from bimix_sweep.design.confirmation import compare_confirmation_trials
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.optimal_mixture import optimal_mixture
from bimix_sweep.mixture.curves import LossCurve
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import total_variation
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.report.data import PathPoint, Progress, ReportData
from bimix_sweep.seeding import rng

STEPS = np.array([50.0, 75, 110, 165, 245, 365, 540, 800])


def planted_curve(names, trial, proportions, seed, generator):
    """log-normal noise on L = A r**-a (1 + B s**-b)."""
    count = len(names)
    scale, power = np.linspace(1.9, 3.1, count), np.linspace(0.18, 0.07, count)
    clean = scale * proportions**-power * (1 + 0.9 * (STEPS[:, None] / 50) ** -0.45)
    noise = generator.normal(0, 0.003, (1, count)) + generator.normal(0, 0.001, clean.shape)
    mixture = Mixture.from_array(names, proportions)
    return LossCurve(
        trial=trial,
        mixture=mixture,
        targets=names,
        steps=STEPS,
        losses=clean * np.exp(noise),
        size=1e5,
        seed=seed,
    )


def planted_sweep(names, num_trials=14, failed=True):
    """ReportData of a sweep over the named domains."""
    generator = rng(3, "planted sweep")
    domains = DomainSet(
        names=names,
        tokens=tuple(np.linspace(4e11, 3e10, len(names))),
        upper=(*[1.0] * (len(names) - 1), 0.6),
    )
    mixtures = 0.94 * generator.dirichlet(np.full(len(names), 1.6), num_trials) + 0.06 / len(names)
    curves = [
        planted_curve(names, f"trial-{n:03d}", row, 1, generator) for n, row in enumerate(mixtures)
    ]
    path, before = [], None
    for count in range(max(5, num_trials - 3), num_trials + 1):
        law = fit_law(LossTable.from_curves(curves[:count]))
        optimum = optimal_mixture(law, domains)
        point = optimum.mixture.as_array()
        path.append(
            PathPoint(
                num_trials=count,
                mixture=optimum.mixture,
                interval=optimum.interval,
                regret_expected=optimum.regret.expected,
                regret_upper95=optimum.regret.upper95,
                movement_tv=None if before is None else total_variation(point, before),
            )
        )
        before = point
    best = min(curves, key=lambda curve: curve.last().mean())
    confirmations = {
        "predicted": optimum.mixture,
        "measured": best.mixture,
        "uniform": domains.uniform(),
        "natural": domains.natural(),
    }
    roles, losses = {}, {}
    for role, mixture in confirmations.items():
        for seed in (2**62 + 101, 2**62 + 7_000_102):
            curve = planted_curve(
                names, f"confirm-{role}-{seed % 1000}", mixture.as_array(), seed, generator
            )
            curves.append(curve)
            roles[curve.trial] = "confirmation"
            losses.setdefault(role, {})[seed] = dict(zip(names, curve.last().tolist(), strict=True))
    comparison = compare_confirmation_trials(
        losses, confirmations, weights=dict.fromkeys(names, 1.0), noise=0.01
    )
    return ReportData(
        name="planted",
        domains=domains,
        table=LossTable.from_curves(curves),
        roles=roles,
        path=tuple(path),
        law=law,
        optimum=optimum,
        failed={"trial-099": "its loss was nan at step 75; lower the learning rate"}
        if failed
        else {},
        comparison=comparison,
        gain=comparison.gain("natural", domains.natural()),
        progress=Progress(
            state="complete",
            done=num_trials + 8,
            planned=num_trials + 8,
            last_event=1.8e9,
            core_hours=3.21,
            next_command="bimix-sweep export 'my sweep/RECIPE.json' --to megatron-lm",
        ),
        exports={"megatron-lm": "0.4 python\n"},
        tolerance=0.002,
        token_budget=1e11,
        stop_reason="regret at most 0.010% (95 %) in 3 refits in a row, tolerance 0.200%",
        seconds=97.0,
        provenance={"seed": 3, "versions": {"bimix-sweep": "0.1.0"}, "commit": "abc123"},
    )


@pytest.fixture(scope="session")
def sweep():
    return planted_sweep(("python", "cpp", "english_docs"))


@pytest.fixture(scope="session")
def make_sweep():
    return planted_sweep
