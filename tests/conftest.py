import http.client
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    """Puts tests that start Ray first: they take longest, and short ones fill the end of a run in
    several processes.
    """
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None)


@pytest.fixture(scope="session")
def ray_environment():
    """Environment of every process that talks to the tests' Ray: a token of its own, one thread a
    process.
    """
    folder = Path(tempfile.mkdtemp(prefix="bimix-t-"))  # short: Ray's sockets lie below it
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "RAY_worker_niceness": "0",
        "TMPDIR": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
    }
    environment.pop("RAY_ADDRESS", None)
    yield environment
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def object_store():
    """Makes the URI of a new bucket on a real S3 server of this process; credentials are in the
    environment.
    """
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    secrets_of_it = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in secrets_of_it.items():
            patch.setenv(name, value)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()

        def bucket():
            name = f"b{secrets.token_hex(6)}"
            client = http.client.HTTPConnection(host, port, timeout=30)
            client.request("PUT", f"/{name}")
            assert client.getresponse().status == 200
            client.close()
            return (
                f"s3://{name}/sweep?endpoint_override=http%3A%2F%2F{host}%3A{port}"
                "&scheme=http&region=us-east-1"
            )

        yield bucket
        server.stop()


@pytest.fixture(scope="module")
def ray_address(ray_environment):
    """A real Ray of two cores that outlives the drivers connecting to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=ray_environment["TMPDIR"]))
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        f"--port={port}",
        "--num-cpus=2",
        "--include-dashboard=false",
        "--object-store-memory=100000000",
        f"--temp-dir={folder}",
        "--node-ip-address=127.0.0.1",
        "--disable-usage-stats",
    ]
    with (folder / "head.log").open("w") as log:
        head = subprocess.Popen(command, env=ray_environment, stdout=log, stderr=subprocess.STDOUT)
    _wait_for(port, head, folder / "head.log")
    yield f"127.0.0.1:{port}"
    head.send_signal(signal.SIGTERM)
    try:
        head.wait(timeout=60)
    except subprocess.TimeoutExpired:
        head.kill()
        pytest.fail(
            "Ray did not end in a minute after SIGTERM: "
            f"{(folder / 'head.log').read_text()[-2000:]}"
        )


def _wait_for(port, head, log):
    for _ in range(1800):
        if head.poll() is not None:
            pytest.fail(f"ray start ended with {head.returncode}: {log.read_text()[-2000:]}")
        if "Ray runtime started" in log.read_text():
            return
        try:
            head.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
    pytest.fail(f"ray did not start in three minutes: {log.read_text()[-2000:]}")
