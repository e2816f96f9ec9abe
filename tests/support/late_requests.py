"""A network before an object store that loses a request and delivers it late."""

import contextlib
import re
import socket
import threading
from urllib.parse import parse_qs, quote, urlsplit

SECONDS = 60.0
"""Longest wait for what must happen."""


class LosingProxy:
    """A TCP proxy on the loopback before an HTTP server.

    It keeps one request, breaks the client's connection, and delivers the request when told to. The
    client, which gets no answer, repeats the request.
    """

    def __init__(self, host, port):
        self._server = (host, port)
        self._wanted = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.lines = []
        """First lines of all requests."""
        self.lost = []
        """Requests that were kept, as bytes."""
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, pattern):
        """Keep the next request whose first line matches the regular expression."""
        self._wanted = re.compile(pattern)

    def deliver(self):
        """Send the kept requests to the server; returns the status of each answer."""
        statuses = []
        for request in self.lost:
            with socket.create_connection(self._server, timeout=SECONDS) as upstream:
                upstream.sendall(request)
                answer = b""
                while not (found := re.search(rb"HTTP/1\.[01] ([2-5]\d\d)", answer)):
                    answer += _more(upstream)
            statuses.append(int(found[1]))
        return statuses

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
                line = data.split(b"\r\n", 1)[0].decode(errors="replace")
                if line.endswith(("HTTP/1.1", "HTTP/1.0")):
                    self.lines.append(line)
                    if self._wanted is not None and self._wanted.match(line):
                        self._wanted = None
                        self.lost.append(self._whole(client, data))
                        return
                upstream.sendall(data)

    @staticmethod
    def _whole(client, data):
        """The whole request that begins with `data`."""
        while b"\r\n\r\n" not in data:
            data += _more(client)
        head, _, body = data.partition(b"\r\n\r\n")
        if expects := re.search(rb"(?i)\r\nexpect: *100-continue", head):
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = head.replace(expects[0], b"")
        if length := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head):
            while len(body) < int(length[1]):
                body += _more(client)
        elif re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
            while not body.endswith(b"\r\n0\r\n\r\n"):
                body += _more(client)
        return head + b"\r\n\r\n" + body

    def _answer(self, upstream, client):
        with contextlib.suppress(OSError):
            while data := upstream.recv(1 << 20):
                client.sendall(data)


def _more(stream):
    data = stream.recv(1 << 20)
    assert data, "the connection was closed"
    return data


@contextlib.contextmanager
def losing(uri):
    """The URI of the same place through a new LosingProxy, and the proxy."""
    endpoint = parse_qs(urlsplit(uri).query)["endpoint_override"][0]
    host, _, port = endpoint.rpartition("/")[2].rpartition(":")
    proxy = LosingProxy(host, int(port))
    through = uri.replace(
        quote(f"{host}:{port}", safe=""), quote(f"127.0.0.1:{proxy.port}", safe="")
    )
    assert through != uri
    try:
        yield through, proxy
    finally:
        proxy.close()
