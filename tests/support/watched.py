"""What a user watches a sweep with, for the tests: a Ray head with its dashboard, Prometheus, and a
stand-in for Grafana.

No Grafana server can be installed where these tests run, so what Ray asks of one (`/api/health`) is
answered by a few lines of our own, and what Grafana would read (its configuration, the dashboards'
files, queries to Prometheus) is read by the tests.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PROMETHEUS = shutil.which("prometheus")


@dataclass(frozen=True, kw_only=True)
class Head:
    """A running Ray head."""

    address: str
    dashboard: str
    """http://127.0.0.1:port"""
    folder: Path
    """Its temporary folder."""
    environment: dict[str, str]

    def api(self, path: str, token: str | None = None) -> Any:
        """A JSON answer of Ray's dashboard, asked with the cluster's token, or another one."""
        key = Path(self.environment["RAY_AUTH_TOKEN_PATH"]).read_text() if token is None else token
        return get(f"{self.dashboard}{path}", {"Authorization": f"Bearer {key}"} if key else {})


def get(url: str, headers: dict[str, str] | None = None) -> Any:
    with urllib.request.urlopen(  # noqa: S310
        urllib.request.Request(url, headers=headers or {}),  # noqa: S310
        timeout=30,
    ) as answer:
        return json.loads(answer.read())


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_until(what: str, asked: Callable[[], Any], seconds: float = 180.0) -> Any:
    """The first answer of `asked` that is true."""
    until, last = time.monotonic() + seconds, "nothing"
    while time.monotonic() < until:
        try:
            if answer := asked():
                return answer
        except (OSError, ValueError, KeyError, urllib.error.URLError) as error:
            last = str(error)
        time.sleep(0.25)
    raise AssertionError(f"{what} did not happen in {seconds:g} seconds ({last})")


@contextlib.contextmanager
def ray_head(environment: dict[str, str], **settings: str) -> Iterator[Head]:
    """`ray start --head` with its dashboard, on the loopback interface alone; `settings` are
    further environment.
    """
    port, dashboard, listen, grpc, export, own = free_ports(6)
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=environment["TMPDIR"]))
    # Ray forgets a gauge after two reports; a sweep sets its own every 5 s
    environment = (
        environment
        | {"DASHBOARD_METRIC_PORT": str(own), "RAY_metrics_report_interval_ms": "5000"}
        | settings
    )
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        f"--port={port}",
        "--num-cpus=2",
        "--node-ip-address=127.0.0.1",
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={listen}",
        f"--dashboard-agent-grpc-port={grpc}",
        f"--metrics-export-port={export}",
        "--object-store-memory=100000000",
        f"--temp-dir={folder}",
        "--disable-usage-stats",
    ]
    log = folder / "head.log"
    with log.open("w") as stream:
        head = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    try:
        wait_until(
            "the start of Ray",
            lambda: head.poll() is not None or "Ray runtime started" in log.read_text(),
            180,
        )
        assert head.poll() is None, log.read_text()[-2000:]
        yield Head(
            address=f"127.0.0.1:{port}",
            dashboard=f"http://127.0.0.1:{dashboard}",
            folder=folder,
            environment=environment,
        )
    finally:
        _end(head)


@contextlib.contextmanager
def prometheus(folder: Path, port: int, discovery: Path) -> Iterator[str]:
    """A real Prometheus under our configuration, with the list of nodes at `discovery`."""
    text = (REPOSITORY / "cluster_configs" / "prometheus" / "prometheus.yml").read_text()
    assert text.count("[/tmp/ray/prom_metrics_service_discovery.json]") == 1
    config = folder / "prometheus.yml"
    config.write_text(text.replace("/tmp/ray/prom_metrics_service_discovery.json", str(discovery)))
    command = [
        str(PROMETHEUS),
        f"--config.file={config}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


@contextlib.contextmanager
def stand_in_grafana(port: int) -> Iterator[str]:
    """Says that it is well, as Grafana does, and nothing else."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/api/health"
            body = json.dumps({"database": "ok", "version": "10.1.0"} if found else {}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.shutdown()
            thread.join()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
