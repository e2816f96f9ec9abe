"""A trainer of one's own as a command:

    trainer: {command: [torchrun, --standalone, --nproc-per-node=2, torchrun_trainer.py, "{job}"]}

A bigram model of bytes under DistributedDataParallel stands for your training; it runs on GPUs
(nccl) or CPUs (gloo).
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

job = json.loads(Path(sys.argv[1]).read_text())
on_gpu = torch.cuda.is_available()
dist.init_process_group("nccl" if on_gpu else "gloo")
rank, local = dist.get_rank(), int(os.environ["LOCAL_RANK"])
device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
texts = {
    name: torch.frombuffer(bytearray(Path(d["path"]).read_bytes()), dtype=torch.uint8).long()
    for name, d in job["domains"].items()
}

torch.manual_seed(job["seed"])
model = DistributedDataParallel(torch.nn.Embedding(256, 256, device=device))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
checkpoint, done = Path(job["checkpoint_dir"]) / "state.pt", 0
if checkpoint.exists():  # an interrupted attempt left it
    state = torch.load(checkpoint, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    done = state["step"]


def loss(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(model(rows[:-1].to(device)), rows[1:].to(device))


names, shares = list(job["mixture"]), torch.tensor(list(job["mixture"].values()))
for step in range(done + 1, job["steps"] + 1):
    generator = torch.Generator().manual_seed(
        job["seed"] % 2**31 + step * dist.get_world_size() + rank
    )
    text = texts[names[int(torch.multinomial(shares, 1, generator=generator))]]
    start = int(torch.randint(len(text) * 9 // 10 - 512, (1,), generator=generator))
    optimizer.zero_grad()
    loss(text[start : start + 512]).backward()
    optimizer.step()
    if step in job["eval_steps"] and rank == 0:
        torch.save(
            {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step},
            checkpoint.with_suffix(".part"),
        )
        checkpoint.with_suffix(".part").replace(checkpoint)
        with torch.no_grad():
            losses = {
                target: float(loss(texts[of["domain"]][-4096:]))
                for target, of in job["targets"].items()
            }
        print(json.dumps({"step": step, "losses": losses}), flush=True)  # noqa: T201
dist.barrier()  # torchrun ends all ranks where one ends badly, and rank 0 evaluates longest
dist.destroy_process_group()
# gloo's threads outlive the group under DistributedDataParallel, and at times abort Python while it
# ends (pytorch pull 179291).
os._exit(0)
