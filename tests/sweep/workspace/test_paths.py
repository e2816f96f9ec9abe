import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import DataError, JournalError, SweepError
from bimix_sweep.journal.codec import encode, header, segment_name
from bimix_sweep.journal.writer import Journal
from bimix_sweep.sweep.api import resume_sweep, run_sweep
from bimix_sweep.sweep.views.follower import Follower
from bimix_sweep.sweep.views.status import state_line
from bimix_sweep.sweep.views.terminal import Progress
from bimix_sweep.sweep.workspace.archive import Checkpoint
from bimix_sweep.sweep.workspace.paths import begun, held

WRITER = "000001-0123abcd"
SEGMENT = segment_name(WRITER, 1)
HEADER = header(WRITER, 1, None, 0)
EVENT = encode({"seq": 1, "epoch": 1, "kind": "sweep"})


def config(**changes):
    return SweepConfig.parse(
        {"domains": {"a": {"path": "/none/a"}, "b": {"path": "/none/b"}}} | changes
    )


class Prepared(Exception):
    """The driver came as far as the data."""


def stop_there(config, folder, say):
    raise Prepared


def no_text(config, folder, say):
    Path(folder, "store").mkdir()
    raise DataError("no text")


def run(folder, prepare, asked=None):
    return run_sweep(
        asked or config(),
        out=folder,
        prepare=prepare,
        progress=Progress(Console(file=io.StringIO())),
    )


def resume(folder, prepare):
    return resume_sweep(folder, prepare=prepare, progress=Progress(Console(file=io.StringIO())))


def left_by_a_driver(folder, segment):
    """What a driver leaves that ended after its data were prepared; `segment`: the journal's, if it
    came so far.
    """
    folder.mkdir()
    (folder / "config.yaml").write_text(config(out=str(folder)).to_yaml())
    if segment is not None:
        (folder / "journal").mkdir()
        (folder / "journal" / SEGMENT).write_bytes(segment)


def test_a_second_driver_is_refused_at_once_and_takes_nothing_away(tmp_path):
    folder = tmp_path / "sweep"
    with held(folder):
        left = sorted(folder.iterdir())
        said = (
            rf"sweep is used by another driver \(process {os.getpid()} on {socket.gethostname()}\)"
        )
        with pytest.raises(SweepError, match=said):
            run(folder, no_text)
        (folder / "config.yaml").write_text(config().to_yaml())
        with pytest.raises(SweepError, match=said):
            resume(folder, no_text)
        (folder / "config.yaml").unlink()
        assert sorted(folder.iterdir()) == left


def test_a_killed_driver_does_not_stand_in_the_way(tmp_path):
    code = (
        "import sys, os, pathlib; from bimix_sweep.sweep.workspace.paths import held\nwith "
        "held(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert (tmp_path / "driver.lock").exists()
    with held(tmp_path):
        pass
    assert not any(tmp_path.iterdir())


def test_a_run_without_its_data_removes_the_folder_it_made_and_no_other(tmp_path):
    with pytest.raises(DataError):
        run(tmp_path / "new" / "sweep", no_text)
    assert not any(tmp_path.iterdir())
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(DataError):
        run(tmp_path, no_text)
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("lock", ["driver.lock", "journal/lock"])
def test_a_lock_that_is_a_link_or_a_pipe_is_refused_and_what_it_leads_to_left_alone(tmp_path, lock):
    letter, folder = tmp_path / "letter", tmp_path / "sweep"
    letter.write_text("dear")
    (folder / "journal").mkdir(parents=True)
    words = rf"{Path(lock).name} is a link or no file; look where it leads, then remove it"
    for make in (lambda: (folder / lock).symlink_to(letter), lambda: os.mkfifo(folder / lock)):
        make()
        with pytest.raises((SweepError, JournalError), match=words):
            held(folder).__enter__() if lock == "driver.lock" else Journal.open(folder / "journal")
        (folder / lock).unlink()
    assert letter.read_text() == "dear"


def test_checkpoints_and_a_journal_behind_a_link_are_refused_and_never_removed(tmp_path):
    home, folder = tmp_path / "home", tmp_path / "sweep"
    (home / "Documents").mkdir(parents=True)
    folder.mkdir()
    (folder / "checkpoints").symlink_to(home)
    with (
        pytest.raises(
            SweepError, match="checkpoints is a link, and what lies there would be removed"
        ),
        held(folder),
    ):
        pass
    (folder / "journal").symlink_to(home)
    Checkpoint(str(folder / "checkpoints"), "Documents").drop()
    assert (home / "Documents").is_dir()
    (folder / "checkpoints").unlink()
    with (
        pytest.raises(
            SweepError, match="journal is a link, and what lies there would be written to"
        ),
        held(folder),
    ):
        pass


@pytest.mark.parametrize(
    "said",
    [
        b"\xff\xfe\0",
        "process \u00b2 on HOST".encode(),
        b"process " + b"9" * 5000 + b" on HOST",
        b"process 0 on HOST",
        b"process 1 on \x1b[2J",
    ],
)
def test_a_lock_that_says_nothing_of_a_driver_is_no_driver(tmp_path, said):
    (tmp_path / "driver.lock").write_bytes(said.replace(b"HOST", socket.gethostname().encode()))
    assert "no driver works on it" in state_line(str(tmp_path), Follower(str(tmp_path)))
    (tmp_path / "driver.lock").unlink()
    os.mkfifo(tmp_path / "driver.lock")
    assert "no driver works on it" in state_line(str(tmp_path), Follower(str(tmp_path)))


def test_what_another_driver_wrote_meanwhile_stays_when_preparing_fails(tmp_path):
    def begun_elsewhere(config, folder, say):
        journal, _ = Journal.open(Path(folder, "journal"))
        journal.write({"kind": "sweep"})
        journal.close()
        raise DataError("no text")

    with pytest.raises(DataError):
        run(tmp_path / "sweep", begun_elsewhere)
    assert begun(tmp_path / "sweep")


@pytest.mark.parametrize("segment", [None, b"", HEADER[:20], HEADER, HEADER + EVENT[:20]])
@pytest.mark.parametrize("go", [run, resume])
def test_a_folder_without_an_event_is_no_sweep_yet_run_and_resume_both_begin(tmp_path, segment, go):
    folder = tmp_path / "sweep"
    left_by_a_driver(folder, segment)
    assert not begun(folder)
    with pytest.raises(Prepared):
        go(folder, stop_there)
    assert Journal.open(folder / "journal")[1] == []
    assert (folder / "config.yaml").exists()


def test_a_folder_with_an_event_is_a_sweep(tmp_path):
    folder = tmp_path / "sweep"
    left_by_a_driver(folder, HEADER + EVENT)
    with pytest.raises(
        SweepError, match=rf"holds a sweep already; go on with: bimix-sweep resume {folder}"
    ):
        run(folder, stop_there)


@pytest.mark.parametrize("text", ["domains: {}\n", config().to_yaml()])
def test_a_configuration_of_the_users_is_not_overwritten(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(SweepError, match=r"config\.yaml is not of a sweep in this folder"):
        run(tmp_path, stop_there)
    assert (tmp_path / "config.yaml").read_text() == text


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SweepError, match=r"file/sweep cannot be used .* need a folder to write to"):
        run(tmp_path / "file" / "sweep", stop_there)
