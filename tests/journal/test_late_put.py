"""A PUT that a network holds back and delivers late, after later ones were acknowledged."""

import contextlib
import socket
import threading
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from bimix_sweep import locations
from bimix_sweep.journal.segments import read
from bimix_sweep.journal.writer import Journal

SECONDS = 60.0
"""Longest wait for what must happen."""


class HoldingProxy:
    """A TCP proxy on the loopback before an S3 server. It can hold one PUT of a segment and deliver
    it later; the client, which gets no answer meanwhile, gives that attempt up."""

    def __init__(self, server):
        self._server = server
        self._hold = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.held = []
        """Requests that were held, as bytes."""
        self.given_up = threading.Event()
        """The client closed the connection of the request that is held."""
        threading.Thread(target=self._accept, daemon=True).start()

    def hold_next_put(self):
        self._hold = True

    def deliver(self):
        """Send what was held to the server and wait for its answer."""
        for request in self.held:
            with socket.create_connection(self._server, timeout=SECONDS) as upstream:
                upstream.sendall(request)
                answer = b""
                while b"HTTP/1.1 200" not in answer:
                    more = upstream.recv(1 << 16)
                    assert more, answer
                    answer += more

    def close(self):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        upstream = socket.create_connection(self._server)
        threading.Thread(target=self._answer, args=(upstream, client), daemon=True).start()
        with contextlib.suppress(OSError), client, upstream:
            while data := client.recv(1 << 20):
                line = data.split(b"\r\n", 1)[0]
                if self._hold and line.startswith(b"PUT ") and b".jsonl" in line:
                    self._hold = False
                    self._keep(client, data)
                    return
                upstream.sendall(data)

    def _keep(self, client, data):
        if b"100-continue" in data:
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            data = data.replace(b"Expect: 100-continue\r\n", b"")
        with contextlib.suppress(OSError):
            while more := client.recv(1 << 20):
                data += more
        self.held.append(data)
        self.given_up.set()

    def _answer(self, upstream, client):
        with contextlib.suppress(OSError):
            while data := upstream.recv(1 << 20):
                client.sendall(data)


@pytest.fixture
def proxied(object_store):
    """A new bucket's URI straight to the server, the same through a proxy, and the proxy."""
    straight = object_store()
    endpoint = urlsplit(parse_qs(urlsplit(straight).query)["endpoint_override"][0])
    proxy = HoldingProxy((endpoint.hostname, endpoint.port))
    through = straight.replace(
        quote(f"{endpoint.hostname}:{endpoint.port}", safe=""),
        quote(f"127.0.0.1:{proxy.port}", safe=""),
    )
    assert through != straight
    yield straight, through, proxy
    proxy.close()


def values(place):
    return [event["value"] for event in read(place).events]


@pytest.mark.parametrize("before", [0, 2])
def test_a_put_that_arrives_late_takes_nothing_back_that_was_acknowledged(proxied, before):
    straight, through, proxy = proxied
    journal, _ = Journal.open(locations.join(through, "journal"))
    place = locations.join(straight, "journal")
    for value in range(before):
        journal.write({"kind": "point", "value": value})
    proxy.hold_next_put()
    for value in range(before, before + 4):
        journal.write({"kind": "point", "value": value})
    assert values(place) == list(range(before + 4))
    assert proxy.given_up.wait(SECONDS)
    proxy.deliver()
    assert values(place) == list(range(before + 4))
    journal.write({"kind": "point", "value": before + 4})
    journal.close()
    heir, events = Journal.open(place)
    heir.close()
    assert [event["value"] for event in events] == list(range(before + 5))
