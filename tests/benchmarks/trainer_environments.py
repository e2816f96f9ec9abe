"""Environments of the trainers: a venv each, which takes torch and numpy from the environment of the benchmark."""

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600
"""Longest time of one step of a proof."""


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """A trainer, what its data loading needs, and the forms that it reads."""

    proof: str
    """Module in tests/benchmarks/proofs."""
    forms: tuple[str, ...]
    """Names of its forms."""
    proved: tuple[str, ...]
    """Packages that are proved; the newest release of each is installed."""
    needs: tuple[str, ...] = ()
    """Further packages that its data loading imports, without their own requirements."""


HUB = ("transformers", "safetensors", "regex")
"""What reading the tokenizers of the Hugging Face hub needs."""
TRAINERS = (
    Trainer(
        proof="megatron",
        forms=("megatron-lm", "megatron-bridge"),
        proved=("megatron-core",),
        needs=("triton",),
    ),
    Trainer(
        proof="automodel",
        forms=("nemo-automodel",),
        proved=("nemo-automodel",),
        needs=(*HUB, "torchdata"),
    ),
    Trainer(
        proof="axolotl",
        forms=("axolotl",),
        proved=("axolotl",),
        needs=(*HUB, "accelerate", "numba", "llvmlite", "trl"),
    ),
    Trainer(proof="veomni", forms=("veomni",), proved=("veomni",)),
    Trainer(proof="hf_datasets", forms=("hf-datasets",), proved=("datasets",)),
    Trainer(
        proof="mosaic",
        forms=("mosaic-streaming", "mosaic-streaming-documents"),
        proved=("mosaicml-streaming",),
        needs=(*HUB, "brotli", "python-snappy", "cramjam", "zstd", "catalogue"),
    ),
    Trainer(
        proof="litgpt",
        forms=("litgpt",),
        proved=("litgpt", "litdata"),
        needs=("lightning", "lightning-utilities", "torchmetrics", "safetensors", "psutil"),
    ),
    Trainer(
        proof="olmo_core",
        forms=("olmo-core", "olmo-core-composable"),
        proved=("ai2-olmo-core",),
        needs=(
            "cached-path",
            "google-cloud-storage",
            "google-cloud-core",
            "google-resumable-media",
            "google-crc32c",
            "dataclass-extensions",
            "bettermap",
        ),
    ),
    Trainer(
        proof="torchtitan",
        forms=("torchtitan",),
        proved=("torchtitan",),
        needs=("tyro", "docstring-parser", "torchdata", "spmd-types"),
    ),
    Trainer(
        proof="energon",
        forms=("energon", "energon-documents"),
        proved=("megatron-energon",),
        needs=("webdataset", "multi-storage-client", "rapidyaml", "deprecation", "filetype"),
    ),
)


def interpreter(trainer: Trainer, folder: Path) -> tuple[Path, str]:
    """The Python of a trainer's environment, made where it is missing, and what went wrong.

    Requirements of the packages are not followed: whole trees are gigabytes, and torch is that of
    constraints.txt. A release that asks for a newer Python is installed all the same.
    """
    home = folder.expanduser().absolute() / trainer.proof
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    inside = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    Path(inside, "zz_benchmark.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    words = ["--disable-pip-version-check", "--ignore-requires-python", "--upgrade"]
    done = subprocess.run(
        [*pip, *words, *trainer.proved, *trainer.needs], check=False, capture_output=True, text=True
    )
    return python, _last(done.stderr, "ERROR") if done.returncode else ""


def run(python: Path, mode: str, job: dict[str, Any], folder: Path) -> tuple[dict[str, Any], str]:
    """Run one step of a proof: what it found, and what went wrong."""
    result, path = folder / f"{mode}-result.json", folder / f"{mode}.json"
    path.write_text(json.dumps({**job, "result": str(result)}))
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "TMPDIR": str(folder)}
    try:
        done = subprocess.run(
            [python, "-m", "tests.benchmarks.proofs.job", mode, path],
            cwd=ROOT,
            env={**kept, **offline, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {}, f"took longer than {SECONDS} s"
    (folder / f"{mode}.log").write_text(done.stdout + done.stderr)
    print(done.stderr[-3000:], file=sys.stderr)
    if not result.exists():
        return {}, _last(done.stderr, "Error")
    found: dict[str, Any] = json.loads(result.read_text())
    return found, ""


def _last(text: str, word: str) -> str:
    """The last line with a word, or the last line."""
    lines = [line for line in text.splitlines() if line.strip()] or ["no message"]
    return ([line for line in lines if word in line] or lines)[-1][:300]
