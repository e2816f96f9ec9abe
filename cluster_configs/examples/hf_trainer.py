"""A Hugging Face `Trainer` as the trainer of a sweep: `trainer: hf_trainer:train`.

It trains a small Llama from random weights. Needs `pip install transformers accelerate`, and
`tokenizer: tokenizer.json` in sweep.yaml. Copy packed_text.py with it.
"""

import torch
from packed_text import mixed, read_tokenizer, split
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from bimix_sweep.errors import TryAgainError

LAYERS, HEAD = 2, 32


class Points(TrainerCallback):
    """Measures and saves at the steps of the sweep, and reports the losses of all targets."""

    def __init__(self, report, context):
        self.report, self.context, self.losses = report, context, {}

    def on_step_end(self, args, state, control, **_):
        gone = self.context.preempted.is_set()
        control.should_evaluate = state.global_step in self.context.eval_steps
        control.should_save = control.should_evaluate or gone
        control.should_training_stop |= gone

    def on_evaluate(self, args, state, control, metrics, **_):  # called once for each target
        for target in self.context.targets:
            if (loss := metrics.get(f"eval_{target}_loss")) is not None:
                self.losses[target] = loss
        if len(self.losses) == len(self.context.targets):
            self.report(state.global_step, self.losses)
            self.losses = {}


def train(mixture, report, context):
    seed, batch = context.seed % 2**32, context.proxy["batch"]
    tokenizer = read_tokenizer(context.tokenizer)
    length = context.proxy["context"] + 1  # the first token of a sequence is not predicted
    texts, held_out = split(context.domains, context.targets, tokenizer, length)
    rows = mixed(texts, mixture, context.steps * batch, context.seed)
    set_seed(seed)
    width = max(1, round((context.size / 12 / LAYERS) ** 0.5 / HEAD)) * HEAD
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.vocabulary,
            hidden_size=width,
            intermediate_size=width * 8 // 3,
            num_hidden_layers=LAYERS,
            num_attention_heads=width // HEAD,
            max_position_embeddings=length,
        )
    )
    trainer = Trainer(
        model,
        TrainingArguments(
            output_dir=str(context.checkpoint_dir),
            max_steps=context.steps,
            per_device_train_batch_size=batch,
            train_sampling_strategy="sequential",  # `rows` has the order and the proportions
            learning_rate=3e-3,
            lr_scheduler_type="constant_with_warmup",  # a point counts as the end of a trial
            warmup_steps=context.steps // 50,
            prediction_loss_only=True,
            save_total_limit=2,
            seed=seed,
            dataloader_pin_memory=torch.cuda.is_available(),
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=as_dataset(rows),
        eval_dataset={target: as_dataset(rows) for target, rows in held_out.items()},
        callbacks=[Points(report, context)],
    )
    # the Trainer writes trainer_state.json last: without it, a checkpoint is not whole
    whole = context.checkpoint_dir.glob("checkpoint-*/trainer_state.json")
    newest = max((path.parent for path in whole), key=lambda p: int(p.name[11:]), default=None)
    trainer.train(resume_from_checkpoint=newest and str(newest))
    if trainer.state.global_step < context.steps:
        raise TryAgainError("the node goes")


def as_dataset(rows):
    return [{"input_ids": row, "labels": row} for row in torch.from_numpy(rows)]
