"""Claim: curves at 70M and 160M predict every checkpoint at 305M, with intervals that know two sizes leave the size law open.

The size term's prior is a published one (arXiv:2203.15556), not fitted here; what is expected of slopes and transfer weights at other sizes was chosen on these
curves, larger ones predicted from smaller ones and four of their own (law/model/priors.py). For scale: the rank correlation of the measured losses of the
same mixtures between 160M and 305M, what a person would have who trained all of them at 160M and carried the order over; that of the same 305M
runs between the checkpoint before the last and the last; and that of the law fitted to the 305M runs themselves.
"""

import time

import numpy as np
from scipy.stats import spearmanr

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.table import LossTable
from tests.benchmarks.published import OWN, curves, stacked
from tests.benchmarks.recording import Claim, record


def ends(table: LossTable) -> dict[bytes, np.ndarray]:
    """{mixture: (targets,) losses at the last step}."""
    return {
        np.round(table.proportions[row], 6).tobytes(): table.losses[row]
        for row in table.last_rows()
    }


def rank(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(targets,) rank correlation over mixtures of two (mixtures, targets)."""
    return np.array([spearmanr(a, b)[0] for a, b in zip(first.T, second.T, strict=True)])


def steadiness(table: LossTable) -> np.ndarray:
    """(targets,) rank correlation of each run's loss at the checkpoint before its last with that at its last."""
    last = table.last_rows()
    before = [
        max(
            (r for r in range(len(table)) if table.trials[r] == table.trials[row] and r != row),
            key=lambda r: table.steps[r],
        )
        for row in last
    ]
    return rank(table.losses[before], table.losses[last])


def echo(law: FittedLaw, small: LossTable, large: LossTable) -> np.ndarray:
    """(rows, targets) measured over predicted loss of each row's mixture and step at the smaller size; 1 where that was not measured."""
    ratio = small.losses / law.predict(small.proportions, small.steps, small.sizes)
    found = {
        (np.round(r, 6).tobytes(), step): row
        for r, step, row in zip(small.proportions, small.steps, ratio, strict=True)
    }
    return np.array(
        [
            found.get((np.round(r, 6).tobytes(), s), np.ones(len(small.targets)))
            for r, s in zip(large.proportions, large.steps, strict=True)
        ]
    )


def main() -> None:
    started = time.perf_counter()
    small, middle, large = (curves(size, with_size=True) for size in ("70M", "160M", "305M"))
    law = fit_law(stacked(small, middle), own=OWN)
    loss, sd = law.predict_with_sd(large.proportions, large.steps, large.sizes, noise=True)
    by_target = np.abs(loss / large.losses - 1).mean(axis=0) * 100
    last = large.last_rows()
    rho = rank(loss[last], large.losses[last])
    here, there = ends(middle), ends(large)
    both = [key for key in here if key in there]
    raw = rank(np.array([here[m] for m in both]), np.array([there[m] for m in both]))
    itself = rank(
        fit_law(large, own=OWN).predict(large.proportions, large.steps, large.sizes)[last],
        large.losses[last],
    )
    steady = steadiness(large)
    carried = rank(loss[last] * echo(law, middle, large)[last], large.losses[last])
    cover = float(np.mean(np.abs(loss - large.losses) < 1.96 * sd))
    claims = [
        Claim(
            claim="error at 305M from 70M + 160M, %",
            goal="<= .8",
            value=float(by_target.mean()),
            holds=bool(by_target.mean() <= 0.8),
            spread={
                "median over targets": float(np.median(by_target)),
                "worst target": float(by_target.max()),
            },
        ),
        Claim(
            claim=f"rank correlation over mixtures, mean over targets (measured losses, 160M against 305M: {raw.mean():.3f})",
            goal=">= .95",
            value=float(rho.mean()),
            holds=bool(rho.mean() >= 0.95),
            spread={"median over targets": float(np.median(rho)), "worst target": float(rho.min())},
        ),
        Claim(
            claim=f"the same, median over targets (measured losses: {np.median(raw):.3f})",
            goal=">= .95",
            value=float(np.median(rho)),
            holds=bool(np.median(rho) >= 0.95),
        ),
        Claim(
            claim="fraction of losses inside the 95 % interval",
            goal=">= .90",
            value=cover,
            holds=cover >= 0.90,
        ),
        Claim(
            claim="notes that say two sizes do not determine the size law",
            goal=">= 1",
            value=float(sum("two sizes" in n for n in law.notes)),
            holds=any("two sizes" in n for n in law.notes),
        ),
    ]
    unsteady = steady < 0.8
    notes = [
        f"Limit: over the {len(last)} mixtures the losses of the same 305M runs at the checkpoint before the last rank those at the last at {steady.mean():.3f} "
        f"(mean over targets), and the law fitted to all 305M runs ranks them at {itself.mean():.3f}. What drags the mean are "
        + " and ".join(
            f"{large.targets[k]} ({steady[k]:.2f} between those checkpoints, ours {rho[k]:.2f})"
            for k in np.flatnonzero(unsteady)
        )
        + f": their order over mixtures changes from one checkpoint to the next. Without them the mean is {rho[~unsteady].mean():.3f}, that of the law fitted to the 305M "
        f"runs {itself[~unsteady].mean():.3f}. Carrying over what the law missed on the same "
        f"mixture and step at 160M, in full (the share that is best in hindsight), gives {carried.mean():.3f}: also short of the goal, so the law stays without it.",
    ]
    names = ("error %", "rho", "raw", "checkpoint before", "fitted to 305M")
    targets = {
        name: dict(zip(names, map(float, values), strict=True))
        for name, *values in zip(large.targets, by_target, rho, raw, steady, itself, strict=True)
    }
    record(
        "size",
        claims,
        seconds=time.perf_counter() - started,
        extra={"targets": targets},
        notes=notes,
    )


if __name__ == "__main__":
    main()
