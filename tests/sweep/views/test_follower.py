"""Looking on from the journal: read on, whoever writes, and a page for this machine alone."""

import http.client
import json
from io import StringIO
from urllib.parse import urlsplit

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bimix_sweep import files, locations
from bimix_sweep.cli import app
from bimix_sweep.errors import JournalError
from bimix_sweep.journal.writer import Journal
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.views.follower import Follower
from bimix_sweep.sweep.views.status import state_line, watch_in_terminal
from bimix_sweep.sweep.views.terminal import Progress
from bimix_sweep.sweep.views.web import serve
from tests.support.in_process import config, open_sweep, run


def bytes_read(monkeypatch):
    """Counts lines that are decoded."""
    from bimix_sweep.sweep.views import follower

    lines = []
    decode = follower.decode
    monkeypatch.setattr(follower, "decode", lambda line: lines.append(line) or decode(line))
    return lines


def test_what_a_journal_says_reaches_the_terminal_without_characters_that_it_obeys(tmp_path):
    folder = tmp_path / "sweep"
    open_sweep(folder, config()).close()
    journal, _ = Journal.open(folder / "journal")
    evil = "\x1b[2J\x1b]0;owned\x07 [/red] [blink]\nerror: all is lost\u202e"
    shares = {"web": 0.5, "code": 0.25, "books": 0.25}
    journal.write(
        {
            "kind": "proposal",
            "trial": "t0000",
            "role": "sweep",
            "mixture": shares,
            "reason": evil,
            "seed": 1,
            "num_points": 0,
            "fit": {},
        }
    )
    journal.write({"kind": "end", "trial": "t0000", "state": "failed", "reason": evil})
    journal.write({"kind": "decision", "decision": {"stop": True, "reason": evil}})
    journal.close()
    logged = StringIO()
    Progress(Console(file=logged, width=200)).show(Follower(str(folder)).poll())
    for said in (CliRunner().invoke(app, ["status", str(folder)]).output, logged.getvalue()):
        assert "[/red] [blink] error: all is lost" in said
        assert all(character.isprintable() or character == "\n" for character in said)


def test_an_error_reaches_the_terminal_without_characters_that_it_obeys(tmp_path):
    (tmp_path / "sweep.yaml").write_text(
        '{domains: {a: {}, b: {}}, "\\e[2Jx": 1, trainer: "train:run"}'
    )
    said = CliRunner().invoke(app, ["plan", str(tmp_path / "sweep.yaml")])
    assert (said.exit_code, said.output.count("\n")) == (1, 1)
    assert "[2Jx is not a known key" in said.output
    assert said.output.strip().isprintable()


def test_a_look_reads_only_what_came_since_the_last_and_tells_what_a_replay_tells(
    tmp_path, monkeypatch
):
    folder = tmp_path / "sweep"
    followed = Follower(str(folder))
    assert followed.poll() is None  # nothing is there yet
    actor = open_sweep(folder, config())
    run(actor, most=3)
    followed.poll()
    followed.poll()
    lines = bytes_read(monkeypatch)
    assert followed.poll() is not None
    assert lines == []
    before = followed.num_events
    run(actor, most=1)
    seen = followed.poll()
    num_events = sum(b'"seq"' in line for line in lines)
    assert num_events == followed.num_events - before > 0
    run(actor)
    actor.close()
    seen = followed.poll()
    assert followed.complete
    told = replay(folder)
    assert {row.trial: row.state for row in seen.trials} == {
        name: record.state
        for name, record in told.state.trials.items()
        if name in {row.trial for row in seen.trials}
    }
    assert seen.phase == "done"
    assert followed.history.refits == told.refits
    assert any(line.startswith("refit ") and "optimum" in line for line in seen.lines)
    assert state_line(str(folder), followed) == f"complete; its results are in {folder}"


def test_a_new_writer_and_a_torn_line_are_followed(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config())
    run(actor, most=2)
    followed = Follower(str(folder))
    followed.poll()
    actor.close()
    last = sorted((folder / "journal").glob("*.jsonl"))[-1]
    whole = followed.num_events
    with last.open("ab") as stream:
        stream.write(b'{"seq":')  # a writer killed in the middle of a line
    assert followed.poll() is not None
    assert followed.num_events == whole
    actor = open_sweep(folder)
    run(actor)
    actor.close()
    followed.poll()
    assert followed.complete
    assert followed.history.refits == replay(folder).refits


def test_a_damaged_journal_is_named(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config())
    run(actor, most=1)
    followed = Follower(str(folder))
    followed.poll()
    run(actor, most=1)
    actor.close()
    path = sorted((folder / "journal").glob("*.jsonl"))[-1]
    data = path.read_bytes()
    path.write_bytes(data[:-40] + b"x" + data[-39:])
    with pytest.raises(JournalError, match="does not match its checksum"):
        followed.poll()


def test_watch_ends_when_the_sweep_is_complete_and_status_tells_it_in_both_forms(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config(trials=6))
    run(actor)
    actor.close()
    screen = StringIO()
    watch_in_terminal(
        Follower(str(folder)),
        str(folder),
        seconds=0.01,
        progress=Progress(Console(file=screen, width=200)),
    )
    assert screen.getvalue().rstrip().endswith(f"complete; its results are in {folder}")
    told = json.loads(CliRunner().invoke(app, ["status", str(folder), "--json"]).output)
    assert told["complete"]
    assert told["trials"]["sweep"] == {"running": 0, "finished": 6, "failed": 0}
    assert sum(told["optimum"].values()) == pytest.approx(1)
    assert told["job"] is None
    as_uri = json.loads(CliRunner().invoke(app, ["status", folder.as_uri(), "--json"]).output)
    assert as_uri | {"dir": ""} == told | {"dir": ""}
    assert "predicted optimum" in CliRunner().invoke(app, ["status", str(folder)]).output


def asked(url, path, method="GET", host=None):
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_page_is_served_to_this_machine_alone_and_grows_with_the_journal(tmp_path):
    folder = tmp_path / "sweep"
    with serve(str(folder), port=0, seconds=0.0) as url:
        assert urlsplit(url).hostname == "127.0.0.1"
        answer, body = asked(url, "/")
        assert answer.status == 200
        assert b"has not begun" in body
        actor = open_sweep(folder, config(trials=6))
        run(actor)
        actor.close()
        while b"Recommended mixture" not in body:
            answer, body = asked(url, "/")
        assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Cache-Control") == "no-store"
        assert int(answer.getheader("Content-Length")) == len(body)
        assert answer.getheader("Refresh") is None  # the page asks for its content itself
        while b'data-over="yes"' not in body:  # until the look that finds it complete
            answer, body = asked(url, "/report.html")
        assert asked(url, "/", "HEAD")[1] == b""
        for path in ("/journal/", "/config.yaml", "/../config.yaml", "/%2e%2e/config.yaml", "/x"):
            assert asked(url, path)[0].status == 404
        assert asked(url, "/", host="evil.example:80")[0].status == 403
        assert asked(url, "/", "POST")[0].status == 501
        taken = CliRunner().invoke(
            app, ["watch", str(folder), "--web", "--port", str(urlsplit(url).port)]
        )
        assert "take another with --port" in taken.output
    assert not files.exists(locations.join(str(folder), "report.html"))
