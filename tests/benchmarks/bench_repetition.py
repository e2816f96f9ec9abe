"""Claim: where the final run has scarce domains, the chosen mixture passes over them about as often as the best one.

Worlds are planted: losses fall with effective unique tokens (arXiv:2305.16264) of R* 5 to 40, as the
transfer law says ("law-like") or as sums of powers of each domain, which the law does not contain
("additive"). Two of five domains are scarce. Trials pass over them one to eight times less often than
the final run would with the same mixture, and caps are off. Beside it stand the choices without
passes, with the cap of 4 and without one, and the choice from trials that repeat nothing, where R*
rests on its prior.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.model.repetition import Repetition, marginal_worth, worth
from bimix_sweep.law.optimum.answer import best_mixture
from bimix_sweep.law.optimum.objective import Objective
from bimix_sweep.law.optimum.solver import minimise
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.final_run import FinalRun
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from tests.benchmarks.recording import Claim, record

DOMAINS = ("web", "books", "code", "math", "papers")
SCARCE = np.array([3, 4])
"""Domains that the final run passes over more than once."""
R_STARS = (5.0, 10.0, 15.0, 25.0, 40.0)
WORLDS = 8
"""Worlds of each kind for each R*."""
TRIALS = 24
STEPS = np.array([250.0, 400.0, 640.0, 1000.0])
OFFSET, POINT = 0.002, 0.001
"""Standard deviations of log losses: of a trial, and of a point."""
FINAL_TOKENS = 1e12
LESS = 8.0
"""Largest factor by which trials pass over the scarce domains less often than the final run."""
UNLIMITED = 1e6
"""`max_epochs` with which no cap binds."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Losses of one planted world, one target for each domain."""

    kind: str
    """"law-like" or "additive"."""
    r_star: float
    unique: Array
    """(domains,) unique tokens of each domain over the tokens of the final run."""
    level: Array
    """(targets,)."""
    help: Array
    """(targets, domains) how much a domain helps a target."""
    power: Array
    """(targets,) exponents."""

    @classmethod
    def draw(cls, kind: str, r_star: float, seed: int) -> "World":
        generator = np.random.default_rng(seed)
        count = len(DOMAINS)
        own = 1 + (5 if kind == "law-like" else 3) * np.eye(count)
        unique = np.full(count, np.inf)
        unique[SCARCE] = np.exp(generator.uniform(np.log(0.008), np.log(0.04), len(SCARCE)))
        return cls(
            kind=kind,
            r_star=r_star,
            unique=unique,
            level=generator.uniform(2, 4, count),
            help=own * np.exp(generator.normal(0, 0.5, (count, count))),
            power=generator.uniform(0.08, 0.2, count),
        )

    def losses(
        self, points: Array, step: float = 1000.0, done: Array | float = 1.0
    ) -> tuple[Array, Array]:
        """(n, targets) losses and (n, targets, domains) derivatives.

        Args:
            done: passes over those of the final run, a number or (n, 1).
        """
        passes = points * done / self.unique
        seen = np.maximum(points * worth(passes, self.r_star), 1e-9)[:, None]
        slope = marginal_worth(passes, self.r_star)[:, None]
        late = (1 + 0.2 * (step / 500) ** -0.6) / (1 + 0.2 * 2**-0.6)
        if self.kind == "law-like":
            v = 0.02 + (self.help * seen**0.8).sum(axis=2)
            loss = self.level * v**-self.power
            by_seen = (-self.power * loss / v)[:, :, None] * self.help * 0.8 * seen**-0.2
        else:
            power = self.power[:, None]
            share = self.help / self.help.sum(axis=1, keepdims=True)
            terms = share * (0.02 + seen) ** -power
            loss = self.level * terms.sum(axis=2)
            by_seen = -self.level[:, None] * power * terms / (0.02 + seen)
        return late * loss, late * by_seen * slope

    def best(self) -> tuple[Array, float]:
        """The best mixture of the final run, and its objective."""
        count = len(DOMAINS)
        objective = Objective(losses=self.losses, weights=np.full(count, 1 / count))
        solved = minimise(objective, np.zeros(count), np.ones(count), np.full(count, 1 / count))
        return solved.point, solved.value

    def regret(self, mixture: Array) -> float:
        return float(self.losses(mixture[None])[0].mean()) / self.best()[1] - 1

    def table(self, seed: int, *, repeated: bool, told: bool) -> LossTable:
        """Trials of random mixtures.

        Args:
            repeated: trials repeat the scarce domains.
            told: the table states the passes.
        """
        generator = np.random.default_rng([seed, 1])
        mixtures = generator.dirichlet(np.ones(len(DOMAINS)), TRIALS)
        offsets = OFFSET * generator.standard_normal((TRIALS, len(DOMAINS)))
        less = LESS ** -generator.random((TRIALS, 1)) if repeated else np.zeros((TRIALS, 1))
        rows = []
        for step in STEPS:
            done = less * step / STEPS[-1]
            losses = self.losses(mixtures, step, done)[0]
            noise = offsets + POINT * generator.standard_normal(losses.shape)
            rows.append((losses * np.exp(noise), mixtures * done / self.unique))
        table = LossTable.from_numpy(
            domains=DOMAINS,
            targets=DOMAINS,
            proportions=np.tile(mixtures, (len(STEPS), 1)),
            losses=np.concatenate([row[0] for row in rows]),
            steps=np.repeat(STEPS, TRIALS),
            trials=[f"t{number}" for number in range(TRIALS)] * len(STEPS),
        )
        return replace(table, epochs=np.concatenate([row[1] for row in rows]) if told else None)


def chosen(
    world: World, seed: int, *, repeated: bool, told: bool, max_epochs: float
) -> tuple[Array, Repetition]:
    """(domains,) mixture that is recommended, and the R* of the law.

    Args:
        told: the table states the passes, and the choice weighs those of the final run.
    """
    law = fit_law(world.table(seed, repeated=repeated, told=told))
    tokens = tuple(float(unique * FINAL_TOKENS) for unique in world.unique)
    domains = DomainSet(names=DOMAINS, tokens=tokens)
    final = FinalRun(tokens=FINAL_TOKENS, max_epochs=max_epochs)
    problem = ProblemStatement(domains=domains, final=final)
    if not told:  # the cap alone
        problem = ProblemStatement(domains=domains.capped(FINAL_TOKENS, max_epochs))
    return best_mixture(law, problem).mixture.as_array(), law.repetition


ARMS: dict[str, Callable[[World, int], tuple[Array, Repetition]]] = {
    "ours": partial(chosen, repeated=True, told=True, max_epochs=UNLIMITED),
    "without passes, at most 4": partial(chosen, repeated=True, told=False, max_epochs=4.0),
    "without passes, no cap": partial(chosen, repeated=True, told=False, max_epochs=UNLIMITED),
    "R* by its prior, trials repeat nothing": partial(
        chosen, repeated=False, told=True, max_epochs=UNLIMITED
    ),
    "without passes, trials repeat nothing, at most 4": partial(
        chosen, repeated=False, told=False, max_epochs=4.0
    ),
    "without passes, trials repeat nothing, no cap": partial(
        chosen, repeated=False, told=False, max_epochs=UNLIMITED
    ),
}


def main() -> None:
    begin = time.process_time()
    claims, extra = [], {}
    for kind in ("law-like", "additive"):
        regrets: dict[str, list[float]] = {arm: [] for arm in ARMS}
        away: dict[str, list[float]] = {arm: [] for arm in ARMS}
        best_passes, inside = [], []
        for r_star in R_STARS:
            for number in range(WORLDS):
                seed = int(1000 * r_star) + number
                world = World.draw(kind, r_star, seed)
                best = world.best()[0][SCARCE] / world.unique[SCARCE]
                best_passes += best.tolist()
                for arm, choose in ARMS.items():
                    mixture, repetition = choose(world, seed)
                    if arm == "ours":
                        low, high = repetition.interval
                        inside.append(low <= r_star <= high)
                    passes = mixture[SCARCE] / world.unique[SCARCE]
                    regrets[arm].append(world.regret(mixture))
                    away[arm] += np.abs(passes / best - 1)[best > 1].tolist()
        label = f"{kind} worlds, {len(regrets['ours'])} of R* 5 to 40"
        within = float(np.mean(np.array(away["ours"]) <= 0.25))
        mean_regret = 100 * float(np.mean(regrets["ours"]))
        claims += [
            Claim(
                claim=f"mean distance of the chosen passes from the best, a fraction, {label}",
                goal="<= 0.25",
                value=float(np.mean(away["ours"])),
                spread=np.quantile(away["ours"], [0.05, 0.5, 0.95]).tolist(),
                holds=bool(np.mean(away["ours"]) <= 0.25),
            ),
            Claim(
                claim=f"scarce domains whose passes are within 25 % of the best, a fraction, {label}",
                goal=">= 0.9",
                value=within,
                holds=within >= 0.9,
            ),
            Claim(
                claim=f"mean regret, %, {label}",
                goal="<= 0.2",
                value=mean_regret,
                spread=(100 * np.quantile(regrets["ours"], [0.05, 0.5, 0.95])).tolist(),
                holds=mean_regret <= 0.2,
            ),
            Claim(
                claim=f"worlds whose R* is inside its 95 % interval, a fraction, {label}",
                goal=">= 0.85",
                value=float(np.mean(inside)),
                holds=bool(np.mean(inside) >= 0.85),
            ),
        ]
        extra[label] = {
            "best_passes": np.quantile(best_passes, [0, 0.25, 0.5, 0.75, 1]).tolist(),
            **{
                arm: {
                    "regret_percent": 100 * float(np.mean(regrets[arm])),
                    "largest_regret_percent": 100 * float(np.max(regrets[arm])),
                    "distance_of_passes": float(np.mean(away[arm])),
                    "within_a_quarter": float(np.mean(np.array(away[arm]) <= 0.25)),
                }
                for arm in ARMS
            },
        }
    record("repetition", claims, seconds=time.process_time() - begin, extra=extra)


if __name__ == "__main__":
    main()
