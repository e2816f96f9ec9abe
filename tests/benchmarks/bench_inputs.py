"""Claims: text as teams have it becomes the right tokens or one clear line, in bounded memory, and after a kill -9 no finished part is done twice.

Real-life inputs: the formats and the broken files of tests/data/reading go through `prepare`. An input passes if its tokens decode to exactly the documents that were written, or if
one line names the file and nothing is left behind.

Memory: `prepare` of 200 MB and of 2 GB, all tokens kept, each in a process of its own; peak of the resident memory as the kernel counts it.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from bimix_sweep.data.prepare import prepare
from bimix_sweep.data.sampling.held_out import HeldOut
from bimix_sweep.data.sampling.identity import identify
from bimix_sweep.data.sampling.sample import DocumentSample
from bimix_sweep.data.sampling.training import training_documents
from bimix_sweep.data.sampling.work_folder import WorkFolder
from bimix_sweep.data.sources import Source
from bimix_sweep.data.tokenizing import BATCH_CHARACTERS, Encoder, train_tokenizer
from bimix_sweep.errors import DataError
from tests.benchmarks.recording import Claim, record
from tests.support.real_inputs import BROKEN, FORMATS, TEXTS

SMALL, LARGE = 200_000_000, 2_000_000_000
"""Bytes of text whose preparations are compared."""
SHARDS = 16
"""Files whose proportions in the sample are compared with their sizes."""


def invented(seed: int, words: int) -> Iterator[str]:
    """Documents of words with Zipf's frequencies, about `words` each."""
    draw = np.random.default_rng(seed)
    known = ["".join(draw.choice([*"etaoinshrdlu"], size=n)) for n in draw.integers(2, 9, 20_000)]
    while True:
        yield " ".join(known[i] for i in np.minimum(draw.zipf(1.3, words), 20_000) - 1)


def write_text(path: Path, seed: int, size: int) -> None:
    """About `size` bytes of JSON lines; blocks of lines are shuffled so that each line is another document."""
    texts, chosen, left = invented(seed, 300), random.Random(seed), size
    pieces = [next(texts) for _ in range(2_000)]
    with path.open("w") as file:
        while left > 0:
            text = " ".join(chosen.sample(pieces, 3)[k][k * 400 : k * 400 + 700] for k in range(3))
            left -= file.write(json.dumps({"text": text}) + "\n")


def run_inputs(folder: Path) -> tuple[int, int, list[str]]:
    """(inputs that ended well, inputs, names of the others)."""
    wrong = []
    more = folder / "more.jsonl"
    others = _first(invented(1, 40), 200)
    more.write_text("".join(json.dumps({"text": text}) + "\n" for text in others))
    (folder / "in").mkdir()
    for name, content in FORMATS.items():
        place = folder / "in" / name
        place.write_bytes(content)
        store = prepare(
            {"web": Source(path=[place, more])},
            out=folder / "store",
            vocabulary=300,
            context=15,
            validation_tokens=150,
        )
        tokenizer = Tokenizer.from_file(str(store.path / "tokenizer.json"))
        ends = store.documents("web")[1:-1]
        parts = [tokenizer.decode(part.tolist()) for part in np.split(store.train("web"), ends)]
        held = {int(key, 16) for key in store.manifest["notes"]["held_out"][0]["web"]}
        expected = [text for text in (*TEXTS, *others) if identify(text).key not in held]
        if sorted(parts) != sorted(expected) or not {*TEXTS} & {*parts}:
            wrong.append(name)
        place.unlink()
    for name, (content, _) in BROKEN.items():
        place = folder / "in" / name
        place.write_bytes(content)
        try:
            prepare({"web": Source(path=place)}, out=folder / "broken", vocabulary=300)
            wrong.append(name)
        except DataError as error:
            left = {path.name for path in folder.iterdir()} - {"in", "store", "more.jsonl"}
            if "\n" in str(error) or name not in str(error) or left:
                wrong.append(name)
        place.unlink()
    return len(FORMATS) + len(BROKEN) - len(wrong), len(FORMATS) + len(BROKEN), wrong


def worst_shard(folder: Path) -> float:
    """Largest relative difference between the proportion of a shard in a capped sample and that of its size."""
    (folder / "shards").mkdir()
    sizes = np.linspace(5.0, 12.0, SHARDS)
    for shard, size in enumerate(sizes):
        words = next(invented(shard, 200_000)).split()
        chosen = random.Random(shard)
        with (folder / "shards" / f"{shard:02d}.jsonl").open("w") as file:
            left = size * 1e6
            while left > 0:
                first = chosen.randrange(len(words) - 40)
                text = " ".join([f"shard{shard:02d}word", *words[first : first + 40]])
                left -= file.write(json.dumps({"text": text}) + "\n")
    store = prepare(
        {"web": Source(path=folder / "shards")},
        out=folder / "shards-store",
        vocabulary=600,
        max_tokens=4_000_000,
    )
    tokenizer = Tokenizer.from_file(str(store.path / "tokenizer.json"))
    found = np.zeros(SHARDS)
    for part in np.split(store.train("web"), store.documents("web")[1:-1]):
        text = tokenizer.decode(part.tolist())
        found[int(text[5:7])] += len(text)
    return float(np.abs(found / found.sum() / (sizes / sizes.sum()) - 1).max())


def _first(texts: Iterator[str], count: int) -> list[str]:
    return [next(texts) for _ in range(count)]


def child(folder: str, name: str) -> None:
    """Prepares FOLDER/NAME.jsonl; the last line printed is the peak of the memory in MB, and the seconds."""
    began = time.perf_counter()
    prepare(
        {"web": Source(path=Path(folder) / f"{name}.jsonl")},
        out=Path(folder) / f"{name}-store",
        progress=lambda line: print(line, flush=True),
    )
    status = Path("/proc/self/status").read_text()  # `ru_maxrss` would count the parent, too
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1.024e-3
    print(json.dumps([peak, time.perf_counter() - began]))


def measured(folder: Path, name: str) -> tuple[float, float, str]:
    """(peak of memory in MB, seconds, output) of `child`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bench_inputs", str(folder), name],
        check=True,
        capture_output=True,
        text=True,
    )
    peak, seconds = json.loads(done.stdout.splitlines()[-1])
    return peak, seconds, done.stdout


def killed(folder: Path) -> tuple[int, int]:
    """(finished parts made again, finished parts at the kill) after a kill -9 in the middle of the 200 MB."""
    work = folder / ".killed-store.work"
    (folder / "killed.jsonl").symlink_to(folder / "small.jsonl")
    command = [sys.executable, "-m", "tests.benchmarks.bench_inputs", str(folder), "killed"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while first.poll() is None and len([*work.glob("*.index")]) < 4:
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    before = {path.name: path.stat().st_ino for path in work.iterdir() if path.name[0] != "."}
    seen: dict[str, int] = {}
    second = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while second.poll() is None:
        for path in work.glob("[!.]*"):
            try:
                seen[path.name] = path.stat().st_ino
            except FileNotFoundError:
                break
        time.sleep(0.1)
    if second.returncode:
        raise RuntimeError("the second preparation failed")
    return sum(seen.get(name, inode) != inode for name, inode in before.items()), len(before) - 2


def tokenising_speed(folder: Path) -> tuple[float, list[float]]:
    """Speed of the tokenising pass, which reads, hashes and spools, over plain `encode_batch_fast` of the same texts in memory: (median, all)."""
    path = folder / "speed.jsonl"
    write_text(path, 5, 24_000_000)
    source = Source(path=path)
    texts = [*source.texts()]
    trained = train_tokenizer(texts[:3_000], 2048)
    tokenizer = Tokenizer.from_str(trained.content)
    ratios = []
    for turn in range(5):
        work = folder / f"speed-{turn}"
        work.mkdir()
        sample = DocumentSample("web", source, WorkFolder(work, lambda line: None), "web")
        begun = time.perf_counter()
        batch, size = list[str](), 0
        for text in texts:
            batch.append(text)
            size += len(text)
            if size >= BATCH_CHARACTERS:
                tokenizer.encode_batch_fast(batch, add_special_tokens=False)
                batch, size = [], 0
        tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        plain = time.perf_counter() - begun
        begun = time.perf_counter()
        training_documents(sample, Encoder(trained), HeldOut(), own=set(), max_tokens=None)
        ratios.append(plain / (time.perf_counter() - begun))
    return float(np.median(ratios)), sorted(ratios)


def main() -> None:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        well, inputs, wrong = run_inputs(folder)
        print(f"{well} of {inputs} inputs; not: {wrong}", flush=True)
        shard = worst_shard(folder)
        print(f"shards {shard:.3f}", flush=True)
        speed, speeds = tokenising_speed(folder)
        print(f"tokenising {speed:.3f} of {speeds}", flush=True)
        write_text(folder / "small.jsonl", 2, SMALL)
        small, small_seconds, _ = measured(folder, "small")
        print(f"200 MB: {small:.0f} MB, {small_seconds:.0f} s", flush=True)
        again, finished = killed(folder)
        print(f"{again} of {finished} parts made again", flush=True)
        write_text(folder / "large.jsonl", 3, LARGE)
        large, large_seconds, _ = measured(folder, "large")
        print(f"2 GB: {large:.0f} MB, {large_seconds:.0f} s", flush=True)
    record(
        "inputs",
        [
            Claim(
                claim=f"of {inputs} real-life inputs, those that end in the right documents, or in one line that names them with nothing left behind",
                goal=f"{inputs}, at least 40",
                value=well,
                holds=well == inputs >= 40,
            ),
            Claim(
                claim=f"proportion of a shard in a capped sample, largest relative difference to that of its size, {SHARDS} shards",
                goal="<= 0.1",
                value=shard,
                holds=shard <= 0.1,
            ),
            Claim(
                claim="peak memory of preparing 2 GB, all tokens kept, over that of 200 MB",
                goal="<= 1.5",
                value=large / small,
                holds=large <= 1.5 * small,
            ),
            Claim(
                claim="peak memory of preparing 2 GB, MB",
                goal="<= 600",
                value=large,
                holds=large <= 600,
            ),
            Claim(
                claim="speed of tokenising with reading, hashing and spooling, over plain encode_batch_fast (median of 5)",
                goal=">= 0.95",
                value=speed,
                spread=[speeds[0], speeds[-1]],
                holds=speed >= 0.95,
            ),
            Claim(
                claim=f"finished parts done again after a kill -9, of {finished}",
                goal="0",
                value=again,
                holds=again == 0 and finished >= 5,
            ),
        ],
        seconds=time.perf_counter() - started,
        extra={"wrong": wrong, "prepare_seconds": {"200 MB": small_seconds, "2 GB": large_seconds}},
    )


if __name__ == "__main__":
    child(*sys.argv[1:]) if len(sys.argv) == 3 else main()
