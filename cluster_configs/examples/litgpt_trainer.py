"""LitGPT's pretraining as the trainer of a sweep:

    trainer: {command: [python, litgpt_trainer.py, "{job}"]}

Needs `pip install litgpt`, and `tokenizer: tokenizer.json` in sweep.yaml. Copy packed_text.py with
it. Tried with LitGPT 0.5.13.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import torch

if not torch.cuda.is_available():
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # to compile on a CPU takes longer than a small trial

from litgpt import pretrain
from litgpt.args import EvalArgs, TrainArgs
from litgpt.config import Config
from litgpt.data import DataModule
from litgpt.utils import chunked_cross_entropy
from packed_text import mixed, read_tokenizer, split
from torch.utils.data import DataLoader

LAYERS, HEAD = 2, 32

job = json.loads(Path(sys.argv[1]).read_text())
out, batch, context = Path(job["checkpoint_dir"]), job["proxy"]["batch"], job["proxy"]["context"]
tokenizer = read_tokenizer(job["tokenizer"])
texts, held_out = split(job["domains"], job["targets"], tokenizer, context + 1)
width = max(1, round((job["size"] / 12 / LAYERS) ** 0.5 / HEAD)) * HEAD


def saved():
    """The folders that earlier steps, also those of an interrupted attempt, have saved to."""
    return sorted(out.glob("step-*"))


class Packed(DataModule):
    def connect(self, **_):
        pass

    def train_dataloader(self):
        rows = mixed(texts, job["mixture"], job["steps"] * batch, job["seed"])
        done = max((int(folder.name[5:]) for folder in saved()), default=0)
        return DataLoader(torch.from_numpy(rows[done * batch :]), batch)

    def val_dataloader(self):  # LitGPT measures a mean; `save` measures each target
        return DataLoader(torch.from_numpy(next(iter(held_out.values()))), batch)


@torch.no_grad()
def loss(model, rows):
    model.eval()
    batches = torch.from_numpy(rows).to(next(model.parameters()).device).split(16)
    total = sum(chunked_cross_entropy(model(b[:, :-1]), b[:, 1:]) * len(b) for b in batches)
    model.train()
    return float(total / len(rows))


def save(fabric, state, tokenizer_dir, file):
    """Stands for LitGPT's `save_checkpoint`, after each step: saves and reports at those asked."""
    step = state["step_count"]
    if step not in job["eval_steps"] or file.parent.name == "final":
        return
    losses = {target: loss(state["model"], rows) for target, rows in held_out.items()}
    part = out / "part"  # renamed when whole: LitGPT resumes from the last folder step-*
    part.mkdir(exist_ok=True)
    fabric.save(part / file.name, {**state, "train_dataloader": None})
    part.rename(file.parent)
    for older in saved()[:-1]:
        shutil.rmtree(older)
    print(json.dumps({"step": step, "losses": losses}), flush=True)  # noqa: T201


pretrain.save_checkpoint = save
pretrain.setup(
    model_name="llama",
    model_config=Config(
        name="llama",
        block_size=context,
        vocab_size=tokenizer.vocabulary,
        padded_vocab_size=tokenizer.vocabulary,
        n_layer=LAYERS,
        n_head=width // HEAD,
        n_embd=width,
        intermediate_size=width * 8 // 3,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
    ),
    out_dir=out,
    precision=None if torch.cuda.is_available() else "32-true",
    resume="auto",
    data=Packed(),
    train=TrainArgs(
        save_interval=1,
        log_interval=job["steps"],
        global_batch_size=batch,
        micro_batch_size=batch,
        lr_warmup_steps=job["steps"] // 50,
        max_tokens=job["steps"] * batch * context,
        max_norm=1.0,
        min_lr=3e-3,  # as high as lr: a point counts as the end of a trial
    ),
    eval=EvalArgs(interval=job["steps"] + 1, max_iters=1, final_validation=False),
    optimizer={"class_path": "torch.optim.AdamW", "init_args": {"lr": 3e-3}},
    logger_name="csv",
    seed=job["seed"] % 2**32,
)
