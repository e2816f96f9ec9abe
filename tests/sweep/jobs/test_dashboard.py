"""Heads that are not what they should be, played by servers of this process: what they are sent,
and what is said of them.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from bimix_sweep.cli import app

TOKEN = "0123456789abcdef" * 4
CONFIG = """
domains: {web: {}, code: {}}
proxy: {steps: 40}
trainer: "planted_losses:train"
"""


@pytest.fixture(autouse=True)
def user(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def server():
    """Makes servers: `answer(path, token)` is (code, body); returns the address and (path, token)
    of each request.
    """
    running = []

    def start(answer):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked.append((self.path, self.headers.get("Authorization") or None))
                code, body = answer(*asked[-1])
                self.send_response(code)
                if 300 <= code < 400:
                    self.send_header("Location", body)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_POST = do_PUT = do_GET

            def log_message(self, *args):
                pass

        running.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_address[1]}", asked

    yield start
    for one in running:
        one.shutdown()
        one.server_close()


def call(*words, code=0):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.output


def dashboard(path, token):
    """A cluster of ours, whose jobs end at once."""
    if token != f"Bearer {TOKEN}":
        return 401, "who are you"
    if path == "/api/jobs/":
        return 200, json.dumps({"submission_id": "x", "job_id": "x"})
    if path.startswith("/api/jobs/"):
        return 200, json.dumps(
            {"type": "SUBMISSION", "submission_id": "x", "status": "SUCCEEDED", "entrypoint": "x"}
        )
    return 200, '{"ray_version": "2.60.0"}'


def foreign(folder, address, submission_id="bimix-sweep-0-1"):
    folder.mkdir(exist_ok=True)
    (folder / "job.json").write_text(
        json.dumps({"submission_id": submission_id, "address": address, "attempt": 1})
    )
    return folder


def job(said):
    return json.loads(said)["job"]


def test_an_address_that_only_the_folder_names_is_not_sent_the_token(tmp_path, server):
    address, asked = server(dashboard)
    folder = foreign(tmp_path / "sweep", address)
    found = job(call("status", folder, "--json"))
    assert found["state"] == "unreachable"
    assert f"say so with: --address {address}" in found["message"]
    assert f"say so with: --address {address}" in call("stop", folder, code=1)
    assert {token for _, token in asked} == {None}
    assert job(call("status", folder, "--address", address, "--json"))["state"] == "SUCCEEDED"
    assert asked[-1][1] == f"Bearer {TOKEN}"


def test_an_open_head_that_only_the_folder_names_is_asked_without_the_token(tmp_path, server):
    address, asked = server(lambda path, _: dashboard(path, f"Bearer {TOKEN}"))
    assert (
        job(call("status", foreign(tmp_path / "sweep", address), "--json"))["state"] == "SUCCEEDED"
    )
    assert {token for _, token in asked} == {None}
    assert len(asked) >= 2


def test_an_address_that_was_submitted_to_is_remembered_for_this_user_alone(tmp_path, server):
    address, _ = server(dashboard)
    (tmp_path / "sweep.yaml").write_text(CONFIG)
    call("submit", tmp_path / "sweep.yaml", "--address", address, "--out", tmp_path / "sweep")
    assert job(call("status", tmp_path / "sweep", "--json"))["state"] == "SUCCEEDED"
    kept = tmp_path / "state" / "bimix-sweep" / "heads"
    assert kept.read_text() == f"{address}\n"
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("where", ["/api/version", "/api/jobs/"])
def test_a_redirect_is_not_followed(tmp_path, server, where):
    elsewhere, asked = server(dashboard)
    address, _ = server(
        lambda path, token: (
            (307, elsewhere + path) if path.startswith(where) else dashboard(path, token)
        )
    )
    found = job(
        call("status", foreign(tmp_path / "sweep", address), "--address", address, "--json")
    )
    assert found["state"] == "unreachable"
    assert asked == []


@pytest.mark.parametrize(
    "answer",
    [
        "[" * 9000,
        '{"ray_version": "' + "9" * 5000 + '.1"}',
        '{"ray_version": "2.60.0"}',
        "[]",
        '{"ray_version": "\x1b[2J2.60"}',
    ],
)
def test_whatever_a_stranger_answers_is_one_line_and_submit_leaves_nothing(
    tmp_path, server, answer
):
    address, _ = server(lambda *_: (200, answer))
    (tmp_path / "sweep.yaml").write_text(CONFIG)
    said = call(
        "submit", tmp_path / "sweep.yaml", "--address", address, "--out", tmp_path / "sweep", code=1
    )
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert len(said) < 400
    assert not (tmp_path / "sweep").exists()
    assert not (tmp_path / "state").exists()
    assert (
        job(call("status", foreign(tmp_path / "sweep", address), "--json"))["state"]
        == "unreachable"
    )


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://HEAD:99999999", "http://:8265", "http://a b"]
)
def test_what_is_no_address_is_one_line(tmp_path, address):
    (tmp_path / "sweep.yaml").write_text(CONFIG)
    said = call(
        "submit", tmp_path / "sweep.yaml", "--address", address, "--out", tmp_path / "sweep", code=1
    )
    assert "is not of a dashboard; need one such as http://HEAD:8265" in said


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\0",
        b"{}",
        b'{"submission_id": "../../x", "address": "http://a:1", "attempt": 1}',
        b"[" * 9000,
    ],
)
def test_a_damaged_record_of_the_job_is_one_line(tmp_path, content):
    (tmp_path / "job.json").write_bytes(content)
    said = call("status", tmp_path, code=1)
    assert "is not what submit writes" in said
    assert said.count("\n") == 1
