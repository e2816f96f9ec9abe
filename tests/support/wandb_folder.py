"""Reads what W&B's client wrote offline, with W&B's own record format.

A `.wandb` file is a LevelDB log: a header of 7 bytes, then blocks of 32 KiB with chunks of a record,
each with a checksum of 4 bytes, its length of 2 bytes and its kind.
"""

import json
from dataclasses import dataclass, field

BLOCK = 32768
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    id: str = ""
    name: str = ""
    project: str = ""
    group: str = ""
    kind: str = ""
    exit_code: int | None = None
    config: dict = field(default_factory=dict)
    summary: dict = field(default_factory=dict)
    rows: list = field(default_factory=list)
    """Metrics of each row, with `_step` and `_timestamp`."""
    files: dict = field(default_factory=dict)
    """{artifact: names of its files}."""


def offline_runs(folder):
    """{name of a run: the run} of the offline folders in `folder`; a name that two have fails."""
    runs = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        run = read_run(path)
        assert run.name not in runs, f"{run.name} is there twice"
        runs[run.name] = run
    return runs


def read_run(path):
    from wandb.proto.wandb_internal_pb2 import Record

    run = OfflineRun()
    for data in _records(path.read_bytes()):
        record = Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            given = record.run
            run.id, run.name, run.project = given.run_id, given.display_name, given.project
            run.group, run.kind = given.run_group, given.job_type
            run.config |= _items(given.config.update)
        elif kind == "config":
            run.config |= _items(record.config.update)
        elif kind == "summary":
            run.summary |= _items(record.summary.update)
        elif kind == "history":
            run.rows.append(_items(record.history.item))
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
        elif kind == "artifact":
            contents = record.artifact.manifest.contents
            run.files[record.artifact.name] = sorted(entry.path for entry in contents)
    return run


def _items(items):
    return {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for item in items
        if (item.key or item.nested_key[0]) != "_wandb"
    }


def _records(data):
    at, parts = 7, b""
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if kind not in (WHOLE, FIRST, MIDDLE, LAST):
            return
        parts = (
            data[at + 7 : at + 7 + length]
            if kind in (WHOLE, FIRST)
            else parts + data[at + 7 : at + 7 + length]
        )
        at += 7 + length
        if kind in (WHOLE, LAST):
            yield parts
