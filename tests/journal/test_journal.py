import contextlib
import json
import os
import shutil
import threading

import pytest

from bimix_sweep.errors import JournalError
from bimix_sweep.journal import backends, codec, segments
from bimix_sweep.journal.codec import decode, encode, header
from bimix_sweep.journal.segments import read
from bimix_sweep.journal.writer import Journal


def point(step):
    return {"kind": "point", "trial": "t0000", "step": step, "losses": {"web": 3.5, "größe": 2.25}}


def written(folder, count):
    journal, _ = Journal.open(folder)
    for step in range(1, count + 1):
        journal.write(point(step))
    journal.close()


def killed(folder, count):
    """As `written` leaves it when its process is killed instead of closing."""
    living = folder.with_name(folder.name + "-living")
    if folder.exists():
        shutil.copytree(folder, living)
    journal, _ = Journal.open(living)
    for step in range(1, count + 1):
        journal.write(point(step))
    shutil.copytree(living, folder, dirs_exist_ok=True)
    journal.close()


def steps(folder):
    return [event["step"] for event in read(folder).events]


def segment(folder, number):
    """The segment at a place in the order of their names."""
    return sorted(folder.glob("*.jsonl"))[number]


def test_what_was_written_is_read_back_in_order_through_several_writers(tmp_path):
    for _ in range(3):
        written(tmp_path, 4)
    reading = read(tmp_path)
    assert [event["step"] for event in reading.events] == [1, 2, 3, 4] * 3
    assert [event["seq"] for event in reading.events] == list(range(1, 13))
    assert (reading.epoch, len(reading.segments)) == (3, 3)
    assert reading.events[0]["losses"] == {"web": 3.5, "größe": 2.25}


@pytest.mark.parametrize("value", [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0])
def test_a_float_comes_back_to_the_last_bit(value):
    assert decode(encode({"kind": "x", "value": value})[:-1])["value"].hex() == value.hex()


def test_an_acknowledged_event_is_in_the_file_before_the_call_returns(tmp_path):
    journal, _ = Journal.open(tmp_path)
    for step in (1, 2, 3):
        journal.write(point(step))
        assert steps(tmp_path)[-1] == step
    journal.close()


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_tail_is_passed_over_and_said_and_writing_goes_on(tmp_path, cut):
    killed(tmp_path, 3)
    path = segment(tmp_path, 0)
    os.truncate(path, path.stat().st_size - cut)
    assert steps(tmp_path) == [1, 2]
    journal, events = Journal.open(tmp_path)
    assert [event["step"] for event in events] == [1, 2]
    assert "partial line" in journal.notes[0]
    journal.write(point(9))
    journal.close()
    assert steps(tmp_path) == [1, 2, 9]


@pytest.mark.parametrize("left", [0, 10])
def test_a_writer_killed_before_its_header_was_whole_leaves_nothing_to_repair(tmp_path, left):
    written(tmp_path, 2)
    (tmp_path / "000002-00000000-000001.jsonl").write_bytes(
        b'{"format":"bimix-sweep journal"'[:left]
    )
    written(tmp_path, 1)
    assert steps(tmp_path) == [1, 2, 1]
    assert read(tmp_path).epoch == 3


def test_damage_in_the_middle_names_file_and_line(tmp_path):
    written(tmp_path, 5)
    path = segment(tmp_path, 0)
    path.write_bytes(path.read_bytes().replace(b'"step":2', b'"step":7'))
    with pytest.raises(JournalError, match=r"-000001\.jsonl line 4: does not match its checksum"):
        Journal.open(tmp_path)


def test_a_missing_line_or_segment_is_an_error(tmp_path):
    written(tmp_path, 3)
    written(tmp_path, 3)
    first, second = segment(tmp_path, 0), segment(tmp_path, 1)
    lines = second.read_bytes().splitlines(keepends=True)
    assert b'"seq":5' in lines[3]
    second.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    with pytest.raises(JournalError, match=rf"{second.name} line 4: begins after event 5; need 4"):
        read(tmp_path)
    second.write_bytes(b"".join(lines))
    kept = first.read_bytes()
    first.write_bytes(b"".join(kept.splitlines(keepends=True)[:4]))
    with pytest.raises(
        JournalError,
        match=rf"{first.name} ends with event 2 and the next writer had read 3: lines are missing",
    ):
        read(tmp_path)
    first.unlink()
    with pytest.raises(
        JournalError, match=rf"{second.name} line 1: continues {first.name}, which is missing"
    ):
        read(tmp_path)


def test_a_missing_part_of_a_writer_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "DISK_BYTES", 400)
    written(tmp_path, 20)
    segment(tmp_path, 1).unlink()
    with pytest.raises(JournalError, match="comes after 1 parts; a segment is missing"):
        read(tmp_path)


def test_a_partial_line_in_an_earlier_part_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "DISK_BYTES", 400)
    written(tmp_path, 20)
    first = segment(tmp_path, 0)
    os.truncate(first, first.stat().st_size - 5)
    with pytest.raises(JournalError, match=rf"{first.name} line \d+: ends in a partial line"):
        read(tmp_path)


def test_a_foreign_file_is_an_error(tmp_path):
    written(tmp_path, 1)
    (tmp_path / "copy.jsonl").write_bytes(segment(tmp_path, 0).read_bytes())
    with pytest.raises(JournalError, match=r"copy\.jsonl is not a segment's name"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("version", "advice"), [(99, "update bimix-sweep"), (2, "go on with the program that wrote it")]
)
def test_another_version_is_refused(tmp_path, version, advice):
    name = "000001-00000000-000001.jsonl"
    tmp_path.joinpath(name).write_bytes(
        encode({"format": codec.FORMAT, "version": version, "epoch": 1, "segment": 1})
    )
    with pytest.raises(
        JournalError,
        match=rf"{name} line 1: is of version {version}, this program reads 3; .*{advice}",
    ):
        read(tmp_path)


def test_a_second_live_writer_is_refused_and_a_gone_one_does_not_stand_in_the_way(tmp_path):
    journal, _ = Journal.open(tmp_path)
    with pytest.raises(JournalError, match=rf"being written by process {os.getpid()} on"):
        Journal.open(tmp_path)
    journal.close()
    written(tmp_path, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_values_that_are_not_plain_and_finite_are_not_written(tmp_path, value):
    journal, _ = Journal.open(tmp_path)
    with pytest.raises(JournalError, match="need plain finite values"):
        journal.append({"kind": "point", "loss": value})
    journal.write(point(1))
    journal.close()
    assert steps(tmp_path) == [1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"seq":1,"epoch":1,"kind":"point","loss":NaN}', "holds NaN"),
        ('{"seq":1,"epoch":1,"kind":"point","loss":1e999}', "holds 1e999"),
        ('{"seq":1,"epoch":1,"kind":"point","step":' + "9" * 5000 + "}", "number of 5000 digits"),
        ('{"seq":1,"epoch":1,"kind":7}', "has no kind"),
        (
            '{"seq":1,"epoch":1,"kind":"x","deep":' + "[" * 200_000 + "]" * 200_000 + "}",
            "recursion",
        ),
    ],
)
def test_hostile_lines_are_refused_even_with_a_good_checksum(tmp_path, body, reason):
    name = "000001-00000000-000001.jsonl"
    line = f'{body[:-1]},"check":"{codec._checksum(body)}"}}\n'.encode()
    (tmp_path / name).write_bytes(header("000001-00000000", 1, None, 0) + line)
    with pytest.raises(JournalError, match=rf"{name} line 2: .*{reason}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("parent", "after", "reason"),
    [
        ("000001-00000000", 0, "need one before 000001-00000000"),
        ("000002-00000000", 0, "need one before 000001-00000000"),
        ("../../etc/passwd", 0, "which is missing"),
        (7, 0, "continues writer '7'"),
        (None, 5, "begins after event 5 of nobody"),
        (None, -1, "does not say what it continues"),
        (None, 1e3, "does not say what it continues"),
    ],
)
def test_a_hostile_header_is_refused(tmp_path, parent, after, reason):
    (tmp_path / "000001-00000000-000001.jsonl").write_bytes(
        header("000001-00000000", 1, parent, after)
    )
    with pytest.raises(JournalError, match=rf"line 1: .*{reason}"):
        read(tmp_path)


def test_a_huge_segment_is_refused_unread(tmp_path):
    with (tmp_path / "000001-00000000-000001.jsonl").open("wb") as stream:
        stream.truncate(1 << 30)  # a sparse file: one line of a GB
    with pytest.raises(JournalError, match=r"has 1073741824 bytes; need at most 268435456"):
        read(tmp_path)


def test_a_line_too_long_to_be_read_again_is_not_written(tmp_path):
    journal, _ = Journal.open(tmp_path)
    with pytest.raises(
        JournalError, match=r"a point event of 170000\d\d bytes is too long; need at most 16 MB"
    ):
        journal.append({"kind": "point", "trial": "x" * 17_000_000})
    journal.close()


def test_a_full_segment_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "DISK_BYTES", 400)
    written(tmp_path, 20)
    assert steps(tmp_path) == list(range(1, 21))
    assert len(read(tmp_path).segments) > 3
    assert read(tmp_path).epoch == 1


def test_many_threads_lose_nothing_and_each_keeps_its_order(tmp_path):
    journal, _ = Journal.open(tmp_path)

    def work(worker):
        for step in range(50):
            journal.write({"kind": "point", "trial": f"t{worker}", "step": step})

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    events = read(tmp_path).events
    assert sorted((event["trial"], event["step"]) for event in events) == sorted(
        (f"t{w}", s) for w in range(8) for s in range(50)
    )
    for worker in range(8):
        assert [event["step"] for event in events if event["trial"] == f"t{worker}"] == list(
            range(50)
        )


def test_a_full_disk_ends_the_writer_and_leaves_whole_lines(tmp_path, monkeypatch):
    journal, _ = Journal.open(tmp_path)
    journal.write(point(1))

    def full(_stream):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(JournalError, match="No space left on device"):
            journal.write(point(2))
    with pytest.raises(JournalError, match="make room"):
        journal.append(point(3))
    journal.close()
    assert steps(tmp_path) == [1]
    written(tmp_path, 1)


def test_the_lines_are_json(tmp_path):
    written(tmp_path, 2)
    lines = segment(tmp_path, 0).read_text().splitlines()
    assert [json.loads(line).get("kind") for line in lines] == [None, "point", None, "point"]


def together(folder, count):
    """Events that share one flush."""
    journal, _ = Journal.open(folder)
    numbers = [journal.append(point(step)) for step in range(1, count + 1)]
    journal.sync(numbers[-1])
    journal.close()


def test_a_missing_line_of_a_group_is_an_error(tmp_path):
    together(tmp_path, 3)
    path = segment(tmp_path, 0)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    with pytest.raises(JournalError, match=r"line 3: has number 3; need 2, so lines are missing"):
        read(tmp_path)


def test_a_torn_group_that_holds_whole_lines_is_passed_over_and_said(tmp_path):
    killed(tmp_path, 2)
    path = segment(tmp_path, 0)
    group = codec.group(2) + b"".join(
        encode({"seq": seq, "epoch": 1, "at": 1.5, **point(seq)}) for seq in (3, 4, 5)
    )
    path.write_bytes(path.read_bytes() + bytes(100) + group[100:])
    journal, events = Journal.open(tmp_path)
    assert [event["step"] for event in events] == [1, 2]
    assert "line 5 does not match its checksum: a write that did not end" in journal.notes[0]
    journal.write(point(3))
    journal.close()
    assert steps(tmp_path) == [1, 2, 3]


def test_a_damaged_last_group_of_a_journal_that_was_closed_is_an_error(tmp_path):
    together(tmp_path, 3)
    path = segment(tmp_path, 0)
    path.write_bytes(path.read_bytes().replace(b'"step":3', b'"step":7'))
    with pytest.raises(
        JournalError,
        match=r"holds 2 of 3 acknowledged events: .* line 4 does not match its checksum; restore",
    ):
        read(tmp_path)


@pytest.mark.parametrize("closed", [True, False])
def test_the_newest_segment_deleted_emptied_or_cut_is_an_error(tmp_path, closed):
    written(tmp_path, 2)
    (written if closed else killed)(tmp_path, 2)
    newest = segment(tmp_path, 1)
    data = newest.read_bytes()
    for lost in (b"", None, data[: data.index(b"\n") + 1], data[:40]):
        newest.unlink(missing_ok=True)
        if lost is not None:
            newest.write_bytes(lost)
        for act in (read, Journal.open):
            with pytest.raises(JournalError, match=r"missing|empty|acknowledged") as refused:
                act(tmp_path)
            assert str(tmp_path) in str(refused.value)
        assert len(list(tmp_path.glob("*.jsonl"))) == 1 + (lost is not None)
    newest.write_bytes(data)
    assert steps(tmp_path) == [1, 2, 1, 2]


@pytest.mark.parametrize("left", [b"", b"{"])
def test_an_emptied_older_segment_is_an_error_that_names_it(tmp_path, left):
    for _ in range(3):
        written(tmp_path, 1)
    old = segment(tmp_path, 1)
    old.write_bytes(left)
    with pytest.raises(JournalError, match=rf"continues {old.name}, which has lost its lines"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["[1", '{"a":1}\n', "\0\0\0\0"])
def test_a_damaged_statement_of_what_must_be_there_is_an_error(tmp_path, text):
    written(tmp_path, 1)
    (tmp_path / segments.LAST).write_text(text)
    with pytest.raises(JournalError, match=r"last\.json: has no checksum; restore the file"):
        read(tmp_path)


@pytest.mark.parametrize("late", [False, True])
def test_a_signal_in_any_flush_leaves_a_record_that_can_be_read_and_gone_on_with(
    tmp_path, monkeypatch, late
):
    """Ctrl-C before or after each flush of a writer, whose `close` runs as the exception passes."""
    fsync, interrupted, whole = os.fsync, 0, False
    while not whole:
        folder, left = tmp_path / str(interrupted), iter(range(100))
        written(folder, 1)

        def flush(descriptor, left=left, number=interrupted):
            if late:
                fsync(descriptor)
            if next(left) == number:
                raise KeyboardInterrupt
            if not late:
                fsync(descriptor)

        acknowledged = 1
        with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
            patched.setattr(os, "fsync", flush)
            journal, _ = Journal.open(folder)
            with contextlib.closing(journal):
                for step in (2, 3, 4):
                    journal.write(point(step))
                    acknowledged = step
            whole = True
        assert steps(folder) in ([1, 2, 3, 4][:acknowledged], [1, 2, 3, 4][: acknowledged + 1])
        written(folder, 1)
        assert steps(folder)[-1] == 1
        interrupted += 1
    assert interrupted > 4
