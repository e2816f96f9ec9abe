"""A training in its own process, to be killed: prints each point as it is reported, and waits for
ever after the third.
"""

import json
import sys
import time
from pathlib import Path

import torch

from bimix_sweep.data.store import TokenStore
from bimix_sweep.data.stream import MixtureStream
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.proxy.train import train


def main(store_path: str, folder: str, spec_json: str, mixture_json: str, dtype: str) -> None:
    torch.set_num_threads(1)
    store, spec = TokenStore.open(store_path), ProxySpec(**json.loads(spec_json))
    mixture = Mixture.from_mapping(json.loads(mixture_json))
    seen: list[int] = []

    def report(step: int, losses: dict[str, float]) -> None:
        seen.append(step)
        print(json.dumps({"step": step, "losses": losses}), flush=True)

    def wait_for_the_kill() -> bool:
        while len(seen) == 3 and spec.eval_steps()[2] in seen:
            time.sleep(0.01)
        return False

    train(
        spec,
        MixtureStream(store, mixture, batch=spec.batch, context=spec.context, seed=3),
        {name: store.validation_rows(name, spec.context) for name in store.domains},
        seed=5,
        report=report,
        precision={"dtype": dtype},
        checkpoint_dir=Path(folder),
        checkpoint_seconds=0.0,
        should_stop=wait_for_the_kill,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
