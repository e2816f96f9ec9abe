"""Claim: for the same cost trials of two numbers of steps decide better than the longest alone.

Planted: three domains, noise .3 %, the whole loop until its trials cost as much as 8 of 800 steps. In "levels" worlds each target's loss falls with
the step in its own way; in "slopes" worlds the order of mixtures moves as well, by a power of the step that the law's prior holds for
unlikely. In "bumpy" worlds short trials have bumps on top that no law tells (2.8 % of the loss at 200 steps, 4.2 % at 100): this is where
it must fail. With sizes, too, at 1 : 4, each is trained for each number of steps.
"""

import time
from collections import Counter
from dataclasses import replace

import numpy as np
from scipy import optimize

from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.seeding import rng
from tests.benchmarks.recording import Claim, record

NAMES = ("code", "docs", "web")
HELP = np.array([[1.0, 0.2, 0.05], [0.1, 1.0, 0.3], [0.02, 0.25, 1.0]])
POWER, FALL = np.array([0.3, 0.15, 0.2]), np.array([[0.2, 0.35], [0.7, 0.9], [0.4, 0.6]])
GROWTH, SCALE = np.array([0.12, -0.08, -0.1]), np.array([0.09, 0.36, 0.18])
WORLDS = {"levels": (0.0, 0.0), "slopes": (1.0, 0.0), "bumpy": (0.0, 0.02)}
"""How slopes move with the step, and bumps a factor of e in it."""
TURN = np.array([0.03, -0.03, 0.02])
SMALL, LARGE, LONG = 1e5, 4e5, 800
COST, SEEDS = 8, 10
DOMAINS = DomainSet(names=NAMES, tokens=(1e9, 3e9, 6e9))
SPEC = SweepSpec(
    domains=DOMAINS,
    targets=NAMES,
    weights=dict.fromkeys(NAMES, 1.0),
    own={n: n for n in NAMES},
    steps=LONG,
    size=LARGE,
    min_step=LONG // 4,
    max_trials=300,
    tolerance=1e-9,
)
SPECS = {
    "long": SPEC,
    "1 : 4": replace(SPEC, shorter=(200,)),
    "1 : 8": replace(SPEC, shorter=(100,)),
    "1 : 4 and sizes": replace(SPEC, shorter=(200,), smaller=(SMALL,)),
}


def truth(world: str, r: Array, step: float, size: float) -> Array:
    """(3,) losses of a mixture."""
    turn, bumps = WORLDS[world]
    useful = 0.03 + HELP @ r**0.9
    slope = POWER * (size / LARGE) ** GROWTH * (step / LONG) ** (turn * TURN)
    missed = (
        bumps
        * np.log(LONG / step)
        * np.array([np.sin(6 * r[0]), np.cos(5 * r[1]), np.sin(7 * r[2])])
    )
    factor = 1 + FALL[:, 0] * (step / 200) ** -FALL[:, 1] + SCALE * (size / LARGE) ** -0.34
    return np.asarray(3 * useful**-slope * factor * np.exp(missed))


BEST = optimize.minimize(
    lambda r: float(truth("levels", r, LONG, LARGE).mean()),
    np.full(3, 1 / 3),
    method="SLSQP",
    bounds=[(1e-6, 1)] * 3,
    options={"ftol": 1e-12},
    constraints={"type": "eq", "fun": lambda r: r.sum() - 1},
).fun
"""The worlds are one at the last step."""


def regret(world: str, spec: SweepSpec) -> tuple[float, float, Counter[str]]:
    """Regret of a sweep's optimum at the most steps, %, what it expects, %, and how many trials of each fidelity it had."""
    state, spent = SweepState(spec), 0.0
    while spent < COST and (proposal := state.propose(f"t{len(state.trials)}")) is not None:
        generator, training = rng(spec.seed, "noise", proposal.trial), state.trials[proposal.trial]
        offset = generator.normal(0, 0.003, 3)
        for part in (0.25, 0.4, 0.625, 1.0):
            step = round(part * training.steps)
            losses = truth(world, proposal.mixture.as_array(), step, training.size) * np.exp(
                offset + generator.normal(0, 0.00075, 3)
            )
            state.record(proposal.trial, step, dict(zip(NAMES, map(float, losses), strict=True)))
        state.finish(proposal.trial)
        spent += spec.cost_of(training.fidelity)
    found = state.refit(anew=True).optimum
    assert found is not None
    chosen = float(truth(world, found.mixture.as_array(), LONG, LARGE).mean())
    trainings = Counter(f"{record.size:g} x {record.steps}" for record in state.trials.values())
    return 100 * (chosen / BEST - 1), 100 * found.regret.expected, trainings


def main() -> None:
    started = time.perf_counter()
    claims, planted = [], {}
    for world in WORLDS:
        found = {
            name: [regret(world, replace(spec, seed=seed)) for seed in range(SEEDS)]
            for name, spec in SPECS.items()
        }
        mean = {
            name: float(np.mean([value for value, _, _ in values]))
            for name, values in found.items()
        }
        for name in (name for name in SPECS if name != "long"):
            values = [value for value, _, _ in found[name]]
            claims.append(
                Claim(
                    claim=f"{world}: regret with steps {name}, %, mean of {SEEDS} seeds (long alone, same cost: {mean['long']:.4f})",
                    goal="<= long alone",
                    value=mean[name],
                    spread=[min(values), max(values)],
                    holds=mean[name] <= mean["long"],
                )
            )
        planted[world] = {
            name: {
                "regret": mean[name],
                "expected": float(np.mean([expected for _, expected, _ in values])),
                "trainings": {
                    scale: count / SEEDS
                    for scale, count in sum((each for _, _, each in values), Counter()).items()
                },
            }
            for name, values in found.items()
        }
    print(planted)
    bumpy = planted["bumpy"]
    notes = [
        "Bumpy worlds are lost: half of the cost goes to trials that tell something else. The regret that such sweeps state there, "
        f"{bumpy['1 : 4']['expected']:.2f} % at 1 : 4 and {bumpy['1 : 8']['expected']:.2f} % at 1 : 8, is above the real one, so they do not stop early."
    ]
    record(
        "steps",
        claims,
        notes=notes,
        seconds=time.perf_counter() - started,
        extra={"planted": planted},
    )


if __name__ == "__main__":
    main()
