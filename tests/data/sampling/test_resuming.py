"""A preparation that is killed goes on where it was, and what is broken or copied stays out."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bimix_sweep.data.extend import extend
from bimix_sweep.data.prepare import prepare
from bimix_sweep.data.sampling import sample, scan, training
from bimix_sweep.data.sources import Source
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import DataError

LETTERS = "abcdefghijklmnop"


def documents(seed, count, words=40):
    chosen = random.Random(seed)
    known = ["".join(chosen.choices(LETTERS, k=4)) for _ in range(200)]
    return [" ".join([*chosen.choices(known, k=words), f"{n}"]) for n in range(count)]


def written(folder, name, texts):
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def quick(domains, out, **settings):
    settings = {"vocabulary": 300, "validation_tokens": 512, "context": 31, **settings}
    return prepare(domains, out=out, **settings)


def in_small_parts(monkeypatch):
    monkeypatch.setattr(sample, "SCAN_BYTES", 400_000)
    monkeypatch.setattr(scan, "POOL_BYTES", 50_000)
    monkeypatch.setattr(training, "PART_BYTES", 200_000)


class Stop(BaseException):
    """What a test raises in the middle of a preparation; nothing is cleaned up after it."""


@pytest.mark.parametrize("cap", [None, 100_000])
@pytest.mark.parametrize("stop_after", [1, 4])
def test_no_finished_part_is_made_twice_and_the_store_is_the_same(
    tmp_path, monkeypatch, cap, stop_after
):
    in_small_parts(monkeypatch)
    texts = documents(1, 6_000)
    sources = {
        "web": Source(path=written(tmp_path, "web", [*texts, *texts[:100]])),
        "books": Source(path=written(tmp_path, "books", documents(2, 600))),
    }
    whole = quick(sources, tmp_path / "whole", max_tokens=cap)
    made = []
    for module, original in ((training, training.write_part), (sample, sample.write_scan)):

        def counted(*words, original=original, **options):
            if len(made) == stop_after and "stopped" not in made:
                made.append("stopped")
                raise Stop
            result = original(*words, **options)
            made.append(str(words[1] if original.__name__ == "write_part" else words[0].name[1:16]))
            return result

        monkeypatch.setattr(module, original.__name__, counted)
    with pytest.raises(Stop):
        quick(sources, tmp_path / "store", max_tokens=cap)
    said = []
    store = quick(sources, tmp_path / "store", max_tokens=cap, progress=said.append)
    assert "finished parts of an interrupted preparation are used again" in said[0]
    assert len(made) == len({*made}) > 4
    assert store.digest == whole.digest
    assert store.manifest["notes"] == whole.manifest["notes"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "store",
        "whole",
        "web.jsonl",
        "books.jsonl",
    }


def test_parts_of_other_inputs_are_not_used(tmp_path, monkeypatch):
    path = written(tmp_path, "web", documents(1, 600))
    monkeypatch.setattr(training, "write_part", lambda *_, **__: (_ for _ in ()).throw(Stop))
    with pytest.raises(Stop):
        quick({"web": Source(path=path)}, tmp_path / "store")
    monkeypatch.undo()
    written(tmp_path, "web", documents(3, 700))
    store = quick({"web": Source(path=path)}, tmp_path / "store")
    assert store.digest == quick({"web": Source(path=path)}, tmp_path / "other").digest


def test_kill_9_leaves_what_the_next_preparation_uses(tmp_path):
    for name in ("web", "books"):
        written(tmp_path, name, documents(name, 2_000, words=200))
    code = (
        "import sys\n"
        "from bimix_sweep.data.prepare import prepare\n"
        "from bimix_sweep.data.sources import Source\n"
        "prepare({n: Source(path=n + '.jsonl') for n in ('web', 'books')}, out='store',\n"
        "        vocabulary=300, progress=lambda line: print(line, flush=True))\n"
    )
    command = [sys.executable, "-c", code]
    first = subprocess.Popen(command, cwd=tmp_path)
    until = time.monotonic() + 100
    while not (tmp_path / ".store.work" / "tokenizer.json").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    said = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert "finished parts of an interrupted preparation are used again" in said
    assert "training a tokenizer" not in said
    assert TokenStore.open(tmp_path / "store").num_train_tokens("web") > 500_000
    assert not (tmp_path / ".store.work").exists()


def test_what_is_nearly_a_held_out_document_is_not_trained_on_and_told(tmp_path):
    exam = documents(4, 30, words=80)
    near = [  # other line breaks, and one word in each half
        "\n".join(["other", *text.split()[1:45], "changed", *text.split()[46:]]) for text in exam
    ]
    web = documents(5, 600)
    said = []
    sources = {
        "web": Source(documents=(*web, *near)),
        "books": Source(documents=(*web[:50], *exam)),
    }
    store = quick(
        sources,
        tmp_path / "store",
        targets={"exam": Source(documents=tuple(exam))},
        validation_tokens=100_000 // 31 * 31 // 20,
        progress=said.append,
    )
    held = len(store.manifest["notes"]["held_out"][0]["exam"])
    assert held > 20
    facts = store.manifest["notes"]["domains"]
    own = store.manifest["notes"]["held_out"][1]
    assert held - len(own["web"]) <= facts["web"]["near_duplicates"] <= 30
    assert facts["books"]["held_out_elsewhere"] >= held - len(own["books"])
    assert "documents left out that are nearly the same as one that is validated on" in "\n".join(
        said
    )
    more = extend(
        store, {"late": Source(documents=(*documents(6, 300), *near))}, out=tmp_path / "b"
    )
    assert more.manifest["notes"]["domains"]["late"]["near_duplicates"] >= held - 20


def test_a_broken_line_is_an_error_or_left_out_and_told(tmp_path):
    texts = documents(7, 400)
    path = written(tmp_path / "text", "a", texts)
    with path.open("a") as file:
        file.write('{"text": 5}\n{"text": "cut\n{"text": "the last document of all"}\n')
    (tmp_path / "text" / "b.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(DataError, match=r"a\.jsonl line 401: field 'text' is int; need text"):
        quick({"web": Source(path=tmp_path / "text")}, tmp_path / "store")
    assert [one.name for one in tmp_path.iterdir()] == ["text"]
    with pytest.raises(DataError, match=r"more documents and files are broken than the 2 that"):
        quick({"web": Source(path=tmp_path / "text", max_bad=2)}, tmp_path / "store")
    assert [one.name for one in tmp_path.iterdir()] == ["text"]
    said = []
    source = Source(path=tmp_path / "text", max_bad=3)
    store = quick({"web": source}, tmp_path / "store", progress=said.append)
    facts = store.manifest["notes"]["domains"]["web"]
    assert (facts["documents"], facts["bad_documents"]) == (401, 3)
    assert "3 broken documents or files left out, the first: " in "\n".join(said)
    clean = {"web": Source(documents=(*texts, "the last document of all"))}
    assert quick(clean, tmp_path / "clean").digest == store.digest


def test_rows_of_a_long_context_come_from_one_document_each(tmp_path):
    long = [" ".join([letter * 3] * 3_000) for letter in LETTERS]
    source = Source(documents=tuple(long))
    store = quick({"web": source}, tmp_path / "store", context=1_023, validation_tokens=4_096)
    rows = store.validation_rows("web", 1_023)
    assert rows.shape == (4, 1_024)
    assert (np.diff(store.documents("web", "validation")) == 1_024).all()
    assert min(np.unique(row, return_counts=True)[1].max() for row in rows) > 300


def test_tokens_beyond_the_cap_are_estimated_and_those_below_it_counted(tmp_path):
    sources = {
        "web": Source(documents=tuple(documents(9, 3_000))),
        "books": Source(documents=tuple(documents(10, 200))),
    }
    counted = quick(sources, tmp_path / "all")
    some = quick(sources, tmp_path / "some", max_tokens=30_000)
    exact, known = counted.available_tokens("web")
    assert known
    assert exact == counted.num_train_tokens("web")
    estimate, known = some.available_tokens("web")
    assert not known
    assert estimate == pytest.approx(exact, rel=0.03)
    assert some.available_tokens("books") == (counted.num_train_tokens("books"), True)
