"""Claim: on this project's own proxies the law predicts mixtures left out closer than rivals do, and a whole curve tells at least what its end tells.

80 proxies of 98304 parameters, 400 steps of 1024 tokens at a constant rate, on random mixtures of five real domains of this machine: the three of the
demo, type stubs and packages' metadata. Trials are drawn, a law is fitted to their points from step 100 on, and the loss of the others at
step 400 is predicted; ten draws. Beside it: log-linear and LightGBM from the same trials' last losses, the law from their last losses alone, and, for
the cost of 12 whole trials, fewer whole ones with shorter ones.
"""

import sysconfig
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from bimix_sweep.data.demo import demo_texts
from bimix_sweep.data.prepare import prepare
from bimix_sweep.data.sources import Source
from bimix_sweep.data.store import TokenStore
from bimix_sweep.data.stream import MixtureStream
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.proxy.precision import choose_precision
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.proxy.train import train
from bimix_sweep.seeding import rng
from tests.benchmarks.recording import Claim, record
from tests.benchmarks.rivals import lightgbm, log_linear

TRAININGS, STEPS, DRAWS, COST = 80, 400, 10, 12
FIRST = 100
SETTINGS = {"steps": STEPS, "first_evaluation": 0.1, "num_evaluations": 12}
MIXED = {
    "11 to step 213": (6, 11, 213),
    "17 to step 140": (6, 17, 140),
    "26 to step 92": (6, 26, 92),
}
"""Whole trials, shorter ones, and their last step: each for the cost of COST whole ones."""


def installed(pattern: str, limit: int = 2_000_000) -> Source:
    """Text of the files of installed packages that match."""
    documents, size = [], 0
    for path in sorted(Path(sysconfig.get_paths()["purelib"]).rglob(pattern)):
        text = path.read_text(errors="ignore")
        if len(text) >= 400 and size < limit:
            documents.append(text)
            size += len(text)
    return Source(documents=tuple(documents))


def curve(job: tuple[str, list[float]]) -> dict[int, list[float]]:
    """Step -> loss of each domain's validation text, of a proxy trained on these proportions."""
    torch.set_num_threads(1)
    folder, shares = job
    store = TokenStore.open(folder)
    spec = ProxySpec.for_size(1e5, vocabulary=store.vocabulary, **SETTINGS)
    points: dict[int, dict[str, float]] = {}
    stream = MixtureStream(
        store,
        Mixture.from_array(store.domains, shares),
        batch=spec.batch,
        context=spec.context,
        seed=0,
    )
    precision = {**choose_precision(spec), "compile": False}
    validation = {name: store.validation_rows(name, spec.context) for name in store.domains}
    train(spec, stream, validation, seed=0, report=points.__setitem__, precision=precision)
    return {step: [losses[name] for name in store.domains] for step, losses in points.items()}


def table_of(
    names: tuple[str, ...],
    mixtures: Array,
    curves: list[dict[int, list[float]]],
    parts: list[tuple[int, int, int]],
) -> LossTable:
    """Points of some trials: (trial, first step, last step)."""
    rows = [
        (t, step) for t, first, last in parts for step in sorted(curves[t]) if first <= step <= last
    ]
    return LossTable(
        domains=names,
        targets=names,
        trials=tuple(f"t{t}" for t, _ in rows),
        steps=np.array([float(step) for _, step in rows]),
        sizes=np.full(len(rows), np.nan),
        seeds=np.full(len(rows), np.nan),
        proportions=mixtures[[t for t, _ in rows]],
        losses=np.array([curves[t][step] for t, step in rows]),
    )


def judged(predicted: Array, measured: Array) -> dict[str, float]:
    """Error over targets, rank correlation and error of the mean loss; errors in percent."""
    mean, truth = predicted.mean(axis=1), measured.mean(axis=1)
    return {
        "mre": 100 * float(np.abs(predicted / measured - 1).mean()),
        "rho": float(spearmanr(mean, truth)[0]),
        "mean loss": 100 * float(np.abs(mean / truth - 1).mean()),
    }


def main() -> None:
    started = time.perf_counter()
    generator = rng(0, "own proxies")
    mixtures = np.concatenate(
        [generator.dirichlet(np.full(5, k), TRAININGS // 4) for k in (0.3, 0.7, 1.5, 4.0)]
    )
    mixtures = mixtures[generator.permutation(TRAININGS)]
    with tempfile.TemporaryDirectory() as folder:
        texts = {name: text.source for name, text in demo_texts().items()} | {
            "stubs": installed("*.pyi"),
            "metadata": installed("METADATA"),
        }
        store = prepare(texts, out=Path(folder) / "store", max_tokens=450_000)
        names = store.domains
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
            curves = list(
                workers.map(
                    curve, [(str(Path(folder) / "store"), row.tolist()) for row in mixtures]
                )
            )
    trained = time.perf_counter() - started
    rows: dict[str, list[dict[str, float]]] = {}
    for draw in range(DRAWS):
        order = [int(t) for t in rng(draw, "own proxies drawn").permutation(TRAININGS)]
        rest = order[40:]
        asked, measured = mixtures[rest], np.array([curves[t][STEPS] for t in rest])
        at = np.full(len(rest), float(STEPS))

        def law(
            parts: list[tuple[int, int, int]], asked: Array = asked, at: Array = at
        ) -> tuple[Array, Array]:
            return fit_law(table_of(names, mixtures, curves, parts)).predict_with_sd(
                asked, at, noise=True
            )

        for count in (8, COST, 20, 40):
            seen = order[:count]
            ends = np.array([curves[t][STEPS] for t in seen])
            whole, sd = law([(t, FIRST, STEPS) for t in seen])
            found = judged(whole, measured) | {
                "inside": float((np.abs(whole - measured) < 1.96 * sd).mean())
            }
            rows.setdefault(f"law, {count}", []).append(found)
            rows.setdefault(f"law, ends alone, {count}", []).append(
                judged(law([(t, STEPS, STEPS) for t in seen])[0], measured)
            )
            rows.setdefault(f"log-linear, {count}", []).append(
                judged(log_linear(mixtures[seen], ends, asked), measured)
            )
            rows.setdefault(f"LightGBM, {count}", []).append(
                judged(lightgbm(mixtures[seen], ends, asked), measured)
            )
        for name, (many, more, last) in MIXED.items():
            parts = [(t, FIRST, STEPS) for t in order[:many]] + [
                (t, last // 4, last) for t in order[many : many + more]
            ]
            rows.setdefault(f"law, {many} whole, {name}", []).append(
                judged(law(parts)[0], measured)
            )
    mean = {
        name: {key: float(np.mean([one[key] for one in found])) for key in found[0]}
        for name, found in rows.items()
    }
    for name, found in mean.items():
        print(name, {key: round(value, 3) for key, value in found.items()})
    best = {
        count: min(
            (f"{name}, {count}" for name in ("log-linear", "LightGBM")),
            key=lambda one: mean[one]["mre"],
        )
        for count in (COST, 40)
    }
    claims = [
        Claim(
            claim=f"error on mixtures left out from {count} trials, % ({best[against].split(',')[0]} from {against}: {mean[best[against]]['mre']:.2f})",
            goal="< the rival's",
            value=mean[f"law, {count}"]["mre"],
            spread=[
                min(r["mre"] for r in rows[f"law, {count}"]),
                max(r["mre"] for r in rows[f"law, {count}"]),
            ],
            holds=mean[f"law, {count}"]["mre"] < mean[best[against]]["mre"],
        )
        for count, against in ((8, 40), (COST, COST), (40, 40))
    ]
    gain = {
        count: mean[f"law, {count}"]["mean loss"] / mean[f"law, ends alone, {count}"]["mean loss"]
        for count in (8, COST, 20, 40)
    }
    inside = float(np.mean([mean[f"law, {count}"]["inside"] for count in (COST, 20, 40)]))
    claims += [
        Claim(
            claim="error of the mean loss from whole curves over that from their ends alone, mean over 8, 12, 20, 40 trials",
            goal="<= 1",
            value=float(np.mean(list(gain.values()))),
            spread={str(k): v for k, v in gain.items()},
            holds=float(np.mean(list(gain.values()))) <= 1,
        ),
        Claim(
            claim="fraction of losses inside the 95 % interval, 12 to 40 trials",
            goal=".90 to .98",
            value=inside,
            holds=0.9 <= inside <= 0.98,
        ),
    ]
    told = "; ".join(
        f"{many} whole and {name}: {mean[f'law, {many} whole, {name}']['mean loss']:.3f} %"
        for name, (many, _, _) in MIXED.items()
    )
    notes = [
        f"Several numbers of steps for the cost of {COST} whole trials, error of the mean loss ({COST} whole: {mean[f'law, {COST}']['mean loss']:.3f} %): {told}.",
        f"{trained:.0f} s of training in two processes. The texts are those of this machine's packages.",
    ]
    record(
        "own", claims, seconds=time.perf_counter() - started, extra={"methods": mean}, notes=notes
    )


if __name__ == "__main__":
    main()
