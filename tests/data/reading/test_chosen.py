"""Files without random access are divided into blocks as others are."""

import bz2
import csv
import gzip
import io
import json
import random
import tarfile

import pyarrow as pa
import pyarrow.ipc
import pytest

from bimix_sweep.data.sources import Source


def packed(kind, texts):
    target = io.BytesIO()
    if kind == "csv":
        writer = csv.writer(lines := io.StringIO())
        writer.writerows([["text"], *([text] for text in texts)])
        return lines.getvalue().encode()
    if kind == "tar.gz":
        with tarfile.open(fileobj=target, mode="w:gz", compresslevel=1) as archive:
            for number, text in enumerate(texts):
                member = tarfile.TarInfo(f"{number:05}.txt")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
    elif kind == "arrow":
        with pa.ipc.new_file(target, pa.schema({"text": pa.string()})) as writer:
            writer.write_table(pa.table({"text": texts}), max_chunksize=50)
    else:
        data = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
        return bz2.compress(data, 1) if kind == "jsonl.bz2" else gzip.compress(data, 1)
    return target.getvalue()


@pytest.mark.parametrize("kind", ["csv", "tar.gz", "arrow", "jsonl.bz2", "jsonl"])
def test_blocks_of_a_file_without_random_access_hold_every_document_once(tmp_path, kind):
    chosen = random.Random(5)
    texts = [f"{n} {chosen.randbytes(500).hex()}" for n in range(4_000)]
    (tmp_path / f"a.{kind}").write_bytes(packed(kind, texts))
    (tmp_path / f"b.{kind}").write_bytes(packed(kind, texts[:9]))
    opened = Source(path=tmp_path).open()
    total = opened.blocks.total
    assert total > 6
    parts = [opened.blocks.portions(first, count) for first, count in ((0, 2), (2, 1), (3, total))]
    found = [[*opened.texts(portions)] for portions in parts]
    assert sorted(text for part in found for text in part) == sorted([*texts, *texts[:9]])
    assert sum(len(part) > 0 for part in found) > 1
