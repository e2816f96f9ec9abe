"""Web page of a running sweep for a browser on this machine, rendered as the journal grows."""

import contextlib
import html
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bimix_sweep import locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import BimixSweepError, SweepError
from bimix_sweep.report.page import render
from bimix_sweep.sweep.sweep_page import page_data, progress_of
from bimix_sweep.sweep.views.follower import Follower
from bimix_sweep.sweep.workspace.paths import CONFIG

LOOPBACK = "127.0.0.1"
"""Only interface on which the page is served, because the page asks for no password."""
MAX_RENDER_LOAD = 0.2
"""Largest part of one core's time that rendering may take."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
WAITING = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>bimix-sweep</title><p>{}</p></html>"
)


class Page:
    """Current page of a sweep, rendered again only where the journal grew."""

    def __init__(self, folder: str, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds
        self._follower = Follower(folder)
        self._lock = threading.Lock()
        self._shown = -1
        self._next = 0.0
        self._body = b""

    def body(self) -> tuple[bytes, bool]:
        """Returns the HTML, and whether the sweep goes on.

        Raises:
            BimixSweepError, OSError: the sweep cannot be read.
        """
        with self._lock:
            if time.monotonic() >= self._next:
                self._renew()
            return self._body, not self._follower.complete

    def _renew(self) -> None:
        began = time.monotonic()
        self._follower.poll()
        if self._follower.history is None:
            self._body = WAITING.format(
                html.escape(f"{self._folder}: the sweep has not begun")
            ).encode()
        elif self._follower.num_events != self._shown:
            config = SweepConfig.load(locations.join(self._folder, CONFIG))
            history = self._follower.history
            self._body = render(
                page_data(history, config, progress_of(history, self._folder))
            ).encode()
            self._shown = self._follower.num_events
        self._next = time.monotonic() + max(
            self._seconds, (time.monotonic() - began) / MAX_RENDER_LOAD
        )


@contextlib.contextmanager
def serve(folder: str, *, port: int, seconds: float) -> Iterator[str]:
    """Serves the page on the loopback interface until the block ends; yields its URL.

    Args:
        folder: folder or URI of the sweep.
        port: port number; 0 takes any free port.
        seconds: minimum time between two renderings.

    Raises:
        SweepError: the port is taken.
    """
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), _handler(Page(folder, seconds), seconds))
    except OSError as error:
        raise SweepError(
            f"port {port} cannot be served on {LOOPBACK} ({error.strerror}); take another with "
            "--port, or 0 for any"
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="page", daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def _handler(page_of_sweep: Page, seconds: float) -> type[BaseHTTPRequestHandler]:
    """Makes the class that answers the browser's requests.

    Args:
        page_of_sweep: the page.
        seconds: minimum time after which the browser asks again while the sweep goes on.
    """

    class Handler(BaseHTTPRequestHandler):
        server_version = "bimix-sweep"
        sys_version = ""

        def do_GET(self) -> None:
            """Answers with the page, or refuses a request for another host or path."""
            host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
            # A page elsewhere may let its own host name resolve to this machine (DNS rebinding).
            if host not in (LOOPBACK, "localhost"):
                return self._refuse(HTTPStatus.FORBIDDEN, "this page is for 127.0.0.1 only")
            if self.path.partition("?")[0] not in ("/", "/report.html"):
                return self._refuse(HTTPStatus.NOT_FOUND, "there is only /")
            try:
                body, more = page_of_sweep.body()
            except (BimixSweepError, OSError) as error:
                return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error), again=True)
            return self._answer(HTTPStatus.OK, body, "text/html; charset=utf-8", again=more)

        do_HEAD = do_GET

        def _refuse(self, status: HTTPStatus, line: str, *, again: bool = False) -> None:
            self._answer(status, f"{line}\n".encode(), "text/plain; charset=utf-8", again=again)

        def _answer(self, status: HTTPStatus, body: bytes, kind: str, *, again: bool) -> None:
            self.send_response(status)
            headers = {"Content-Type": kind, "Content-Length": str(len(body)), **HEADERS}
            if again:
                headers["Refresh"] = str(max(5, round(seconds)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing: requests of a browser are not worth a line."""

    return Handler
