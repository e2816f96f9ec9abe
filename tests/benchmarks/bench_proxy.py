"""Claims: the smallest proxy trains and evaluates in 10 CPU-seconds a trial on one thread; its hand-made parts are at least
1.3 times as fast as the same model in plain PyTorch (autograd cross-entropy, torch.optim.AdamW, a weight at a time); what it
measures along the way costs less than a quarter of the trial; compiling has paid for itself by the amount of training from
which `choose_precision` asks for it.

Rival: the same equations, layer by layer, as one would write them with torch.nn.functional, in the same number format.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from bimix_sweep.data.demo import demo_texts
from bimix_sweep.data.prepare import prepare
from bimix_sweep.data.stream import MixtureStream
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.proxy import model
from bimix_sweep.proxy.precision import COMPILING_PAYS, choose_precision, dtype_of
from bimix_sweep.proxy.spec import HEAD_WIDTH, ProxySpec
from bimix_sweep.proxy.train import train
from tests.benchmarks.recording import Claim, record

REPEATS, STEPS = 3, 30


def plain_losses(
    spec: ProxySpec, batches: list[torch.Tensor], dtype: torch.dtype
) -> tuple[list[float], float]:
    """Losses of the rival and its CPU-seconds a step after the first five."""
    weights = {
        name: w.clone().requires_grad_()
        for name, w in model.views(
            model.initial(spec, torch.Generator().manual_seed(0)), spec
        ).items()
    }
    optimizer = torch.optim.AdamW(
        weights.values(),
        lr=spec.learning_rate,
        betas=(spec.beta1, spec.beta2),
        weight_decay=spec.weight_decay,
        fused=True,
    )
    position = model.rotary(spec, torch.device("cpu"), dtype)

    def norm(x: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x, x.shape[-1:], eps=model.EPSILON)

    losses = []
    for step, rows in enumerate(batches):
        if step == 5:
            start = time.process_time()
        cast = {name: w.to(dtype) for name, w in weights.items()}
        count, context = rows.shape[0], rows.shape[1] - 1
        x = norm(functional.embedding(rows[:, :-1], cast["embedding"]))
        for layer in range(spec.layers):
            q, k, v = (
                functional.linear(norm(x), cast[f"{layer}.qkv"])
                .view(count, context, 3, spec.heads, HEAD_WIDTH)
                .permute(2, 0, 3, 1, 4)
            )
            q, k = model.rotate(norm(q), position), model.rotate(norm(k), position)
            mixed = (
                functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                .transpose(1, 2)
                .reshape(count, context, spec.width)
            )
            x = x + functional.linear(mixed, cast[f"{layer}.out"])
            x = x + functional.linear(
                functional.linear(norm(x), cast[f"{layer}.up"]).relu().square(),
                cast[f"{layer}.down"],
            )
        logits = functional.linear(norm(x), cast["head"]).float()
        loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), spec.clip)
        for group in optimizer.param_groups:
            group["lr"] = spec.learning_rate * min(1.0, (step + 1) / spec.warmup)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, (time.process_time() - start) / (len(batches) - 5)


def cpu_seconds(run: Callable[[], None]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        store = prepare(
            {name: text.source for name, text in demo_texts().items()},
            out=Path(folder) / "store",
            max_tokens=450_000,
        )
        spec = ProxySpec.for_size(1e5, vocabulary=store.vocabulary)
        validation = {name: store.validation_rows(name, spec.context) for name in store.domains}
        stream = MixtureStream(
            store,
            Mixture.from_array(store.domains, [1 / 3] * 3),
            batch=spec.batch,
            context=spec.context,
            seed=0,
        )
        precision = choose_precision(spec)
        final: dict[int, dict[str, float]] = {}

        def trial(targets: dict, steps: int, *, compiled: bool = False) -> None:
            shortened = ProxySpec.for_size(1e5, vocabulary=store.vocabulary, steps=steps)
            train(
                shortened,
                stream,
                targets,
                seed=0,
                report=final.__setitem__,
                precision={**precision, "compile": compiled},
            )

        trial(validation, 5)  # the first trial of a process pays for imports
        whole = [cpu_seconds(lambda: trial(validation, spec.steps)) for _ in range(REPEATS)]
        losses = dict(final[spec.steps])
        alone = [cpu_seconds(lambda: trial({}, spec.steps)) for _ in range(REPEATS)]
        batches = [torch.from_numpy(stream.batch_at(step)) for step in range(STEPS + 5)]
        rival = [plain_losses(spec, batches, dtype_of(precision))[1] for _ in range(REPEATS)]
        start = time.perf_counter()
        trial({}, 5, compiled=True)
        compiling = time.perf_counter() - start
        compiled = [
            cpu_seconds(lambda: trial({}, spec.steps, compiled=True)) for _ in range(REPEATS)
        ]
        trial(validation, spec.steps, compiled=True)
        apart = max(abs(final[spec.steps][name] / loss - 1) for name, loss in losses.items())
        step_seconds = statistics.median(alone) / spec.steps
    share = 1 - statistics.median(alone) / statistics.median(whole)
    gain = 1 - statistics.median(compiled) / statistics.median(alone)
    pays = compiling / gain if gain > 0 else float("inf")
    claims = [
        Claim(
            claim=f"CPU-seconds of a trial of {spec.size} parameters, {spec.steps} steps of {spec.tokens_per_step} tokens, with its evaluations",
            goal="<= 10",
            value=statistics.median(whole),
            spread=[min(whole), max(whole)],
            holds=statistics.median(whole) <= 10,
        ),
        Claim(
            claim="times as fast as the same model in plain PyTorch",
            goal=">= 1.3",
            value=statistics.median(rival) / step_seconds,
            spread=[min(rival) / step_seconds, max(rival) / step_seconds],
            holds=statistics.median(rival) / step_seconds >= 1.3,
        ),
        Claim(
            claim="fraction of a trial spent on measuring three targets at eight steps",
            goal="<= .25",
            value=share,
            holds=share <= 0.25,
        ),
        Claim(
            claim="seconds of training after which compiling has paid for itself",
            goal=f"<= {COMPILING_PAYS:g}",
            value=pays,
            holds=pays <= COMPILING_PAYS,
        ),
        Claim(
            claim="largest relative difference of a final loss, compiled against not",
            goal="<= .005",
            value=apart,
            holds=apart <= 0.005,
        ),
    ]
    record(
        "proxy",
        claims,
        seconds=time.monotonic() - began,
        extra={
            "tokens_per_second": round(spec.tokens_per_step / step_seconds),
            "precision": precision,
            "losses": losses,
            "compiling_seconds": compiling,
            "compiled_gain": gain,
        },
    )


if __name__ == "__main__":
    main()
