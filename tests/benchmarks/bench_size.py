"""Claim: curves at 70M and 160M predict every checkpoint at 305M, with intervals that know two sizes leave the size law open.

The size law's prior is a published one (arXiv:2203.15556), not fitted here. For scale: the rank correlation of the measured losses of the
same mixtures between 160M and 305M, what a person would have who trained all of them at 160M and carried the order over.
"""

import time

import numpy as np
from published import OWN, curves, stacked
from recording import Claim, record
from scipy.stats import spearmanr

from bimix_sweep.law.selection import fit_law
from bimix_sweep.mixture.table import LossTable


def ends(table: LossTable) -> dict[bytes, np.ndarray]:
    """{mixture: (targets,) losses at the last step}."""
    return {np.round(table.proportions[row], 6).tobytes(): table.losses[row] for row in table.last_rows()}


def main() -> None:
    started = time.perf_counter()
    small, middle, large = (curves(size, with_size=True) for size in ("70M", "160M", "305M"))
    law = fit_law(stacked(small, middle), own=OWN)
    loss, sd = law.predict_with_sd(large.proportions, large.steps, large.sizes, noise=True)
    by_target = np.abs(loss / large.losses - 1).mean(axis=0) * 100
    last = large.last_rows()
    rho = np.array([spearmanr(loss[last, k], large.losses[last, k])[0] for k in range(len(large.targets))])
    here, there = ends(middle), ends(large)
    both = [key for key in here if key in there]
    raw = np.array([spearmanr([here[m][k] for m in both], [there[m][k] for m in both])[0] for k in range(len(large.targets))])
    cover = float(np.mean(np.abs(loss - large.losses) < 1.96 * sd))
    claims = [
        Claim(
            claim="error at 305M from 70M + 160M, %", goal="<= .8", value=float(by_target.mean()), holds=bool(by_target.mean() <= 0.8),
            spread={"median over targets": float(np.median(by_target)), "worst target": float(by_target.max())},
        ),
        Claim(
            claim=f"rank correlation over mixtures, mean over targets (measured losses, 160M against 305M: {raw.mean():.3f})", goal=">= .95",
            value=float(rho.mean()), holds=bool(rho.mean() >= 0.95), spread={"median over targets": float(np.median(rho)), "worst target": float(rho.min())},
        ),
        Claim(
            claim=f"the same, median over targets (measured losses: {np.median(raw):.3f})", goal=">= .95", value=float(np.median(rho)),
            holds=bool(np.median(rho) >= 0.95),
        ),
        Claim(claim="share of losses inside the 95 % interval", goal=">= .90", value=cover, holds=cover >= 0.90),
        Claim(
            claim="notes that say two sizes do not determine the size law", goal=">= 1", value=float(sum("two sizes" in n for n in law.notes)),
            holds=any("two sizes" in n for n in law.notes),
        ),
    ]  # fmt: skip
    targets = {
        name: {"error %": float(e), "rho": float(r), "raw": float(w)}
        for name, e, r, w in zip(large.targets, by_target, rho, raw, strict=True)
    }
    record("size", claims, seconds=time.perf_counter() - started, extra={"targets": targets})


if __name__ == "__main__":
    main()
