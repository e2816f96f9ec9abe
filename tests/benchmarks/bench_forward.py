"""Claim: the law predicts later steps and larger sizes than it was fitted to, and its intervals hold there.

Published curves of two swarms (arXiv:2507.09404 as `slimpajama/`, RedPajama as `mixinglaws/`), whole curves and default options. Predicted are one trial's
losses, so the intervals include the noise of a trial. The learning rates of both swarms decay, so the second half of a curve falls faster than its first
half shows; no law that sees the first half alone can know that, and the intervals must say so.
"""

import time

import numpy as np
from scipy.stats import spearmanr

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.mixture.table import LossTable
from tests.benchmarks.published import PARAMETERS, changed, stacked, swarm
from tests.benchmarks.recording import Claim, record, shared

INSIDE = (0.90, 0.98)
"""Smallest and largest fraction of losses inside the 95 % interval that the goals allow."""
HALF = 0.505
"""Part of the largest step up to which the first half of a curve counts."""


def slimpajama(size: str) -> LossTable:
    """Whole curves of one size; steps are in millions of tokens."""
    return LossTable.read(shared("slimpajama", f"{size}.csv"))


def redpajama(size: str) -> LossTable:
    """Curves of one size up to step 30000, which all of its runs reached."""
    table = LossTable.read(shared("mixinglaws", f"redpajama_{size}.csv"))
    table = table.select(table.steps <= 30_000)
    return changed(table, sizes=np.full(len(table), PARAMETERS[size]))


def first_half(table: LossTable) -> LossTable:
    """The first half of the curves."""
    return table.select(table.steps <= HALF * table.steps.max())


def second_half(table: LossTable) -> LossTable:
    """The second half of the curves."""
    return table.select(table.steps > HALF * table.steps.max())


def ends(table: LossTable) -> LossTable:
    """The last point of each curve."""
    return table.select(table.last_rows())


def judged(fitted: LossTable, predicted: LossTable) -> dict[str, float]:
    """What a law fitted to one table predicts for another."""
    law = fit_law(fitted)
    loss, sd = law.predict_with_sd(
        predicted.proportions, predicted.steps, predicted.sizes, noise=True
    )
    there = ~np.isnan(predicted.losses)
    error = np.log(loss / predicted.losses)[there]
    inside = (np.abs(loss - predicted.losses) < 1.96 * sd)[there]
    rank = [
        spearmanr(loss[seen, k], predicted.losses[seen, k])[0] for k, seen in enumerate(there.T)
    ]
    return {
        "error": float(100 * np.abs(error).mean()),
        "bias": float(100 * error.mean()),
        "inside": float(inside.mean()),
        "stated sd": float(100 * (sd / loss)[there].mean()),
        "rank": float(np.mean(rank)),
    }


def claims_of(name: str, found: dict[str, float], error: float | None) -> list[Claim]:
    """The claims on one prediction: its error where a goal is set, and its intervals."""
    print(name, {what: round(value, 3) for what, value in found.items()}, flush=True)
    spread = {what: found[what] for what in ("bias", "stated sd", "rank")}
    low, high = INSIDE
    claims = [
        Claim(
            claim=f"{name}: fraction of losses inside the 95 % interval",
            goal=f"{low:.2f} to {high:.2f}",
            value=found["inside"],
            holds=low <= found["inside"] <= high,
        )
    ]
    if error is not None:
        claims.insert(
            0,
            Claim(
                claim=f"{name}: error, %",
                goal=f"<= {error:g}",
                value=found["error"],
                spread=spread,
                holds=found["error"] <= error,
            ),
        )
    return claims


def main() -> None:
    started = time.perf_counter()
    slim = {size: slimpajama(size) for size in ("122M", "310M", "680M")}
    red = {size: redpajama(size) for size in ("70M", "160M", "305M")}
    claims = claims_of(
        "slimpajama 122M + 310M -> ends of 680M",
        judged(stacked(slim["122M"], slim["310M"]), ends(slim["680M"])),
        0.6,
    )
    for size, table in slim.items():
        claims += claims_of(
            f"slimpajama {size}, first half -> second half",
            judged(first_half(table), second_half(table)),
            0.4,
        )
    claims += claims_of(
        "slimpajama, first halves of three sizes -> ends",
        judged(stacked(*map(first_half, slim.values())), stacked(*map(ends, slim.values()))),
        None,
    )
    claims += claims_of(
        "mixinglaws 70M + 160M -> ends of 305M",
        judged(stacked(red["70M"], red["160M"]), ends(red["305M"])),
        None,
    )
    for size, table in red.items():
        claims += claims_of(
            f"mixinglaws {size}, first half -> second half",
            judged(first_half(table), second_half(table)),
            None,
        )
    claims += claims_of(
        "mixinglaws, first halves of three sizes -> ends",
        judged(stacked(*map(first_half, red.values())), stacked(*map(ends, red.values()))),
        None,
    )
    small = swarm("train", "1m", with_size=True)
    claims += claims_of(
        "regmix 64 runs of 1M -> 60M",
        judged(small.select(np.arange(64)), swarm("test", "60m", with_size=True)),
        None,
    )
    record("forward", claims, seconds=time.perf_counter() - started)


if __name__ == "__main__":
    main()
