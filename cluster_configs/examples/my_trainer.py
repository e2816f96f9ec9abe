"""A trainer of one's own as a Python function: `trainer: my_trainer:train`.

A bigram model of bytes stands for your training loop.
"""

from pathlib import Path

import numpy as np

from bimix_sweep.errors import TryAgainError


def train(mixture, report, context):
    generator = np.random.default_rng(context.seed)
    texts = {
        name: np.frombuffer(Path(domain["path"]).read_bytes(), np.uint8)
        for name, domain in context.domains.items()
    }
    counts, done = np.ones((256, 256)), 0
    checkpoint = context.checkpoint_dir / "counts.npz"
    if checkpoint.exists():  # an interrupted attempt left it
        saved = np.load(checkpoint)
        counts, done = saved["counts"], int(saved["step"])
    for step in range(1, context.steps + 1):
        name = generator.choice(list(mixture), p=list(mixture.values()))
        start = generator.integers(len(texts[name]) * 9 // 10 - 64)
        if step <= done:
            continue  # only the random numbers are drawn again
        rows = texts[name][start : start + 65]
        np.add.at(counts, (rows[:-1], rows[1:]), 1)
        if step in context.eval_steps or context.preempted.is_set():
            np.savez(checkpoint.with_suffix(".part.npz"), counts=counts, step=step)
            checkpoint.with_suffix(".part.npz").replace(checkpoint)
        if step in context.eval_steps:
            chance = counts / counts.sum(1, keepdims=True)
            held_out = {
                target: texts[of["domain"]][-len(texts[of["domain"]]) // 10 :]
                for target, of in context.targets.items()
            }
            report(
                step,
                {
                    target: -np.log(chance[rows[:-1], rows[1:]]).mean()
                    for target, rows in held_out.items()
                },
            )
        if context.preempted.is_set():
            raise TryAgainError("the node goes")
