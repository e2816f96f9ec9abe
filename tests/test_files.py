"""What is written where: files whole or not at all, streams as they come."""

import os
import stat
import threading

import pyarrow as pa
import pytest

from bimix_sweep import files
from bimix_sweep.mixture.columns import write_columns


def test_a_pipe_is_written_into_and_stays_a_pipe(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_columns(pipe, {"trial": pa.array(["t0000"])})
    reader.join(timeout=20)
    assert read == [b'"trial"\n"t0000"\n']
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_terminal_is_written_into():
    ours, theirs = os.openpty()
    files.write_text(os.ttyname(theirs), "losses")
    assert os.read(ours, 100) == b"losses"
    os.close(ours)
    os.close(theirs)


def test_a_link_in_a_folder_is_replaced_and_not_followed(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    files.write_text(link, "losses")
    assert link.read_text() == "losses"
    assert stat.S_ISREG(link.lstat().st_mode)


def test_what_must_be_a_file_does_not_replace_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="need a file to write to"):
        files.write_local(tmp_path / "pipe", lambda beside: beside.write_bytes(b"x"))
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)
