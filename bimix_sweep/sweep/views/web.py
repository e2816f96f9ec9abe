"""Web page of a running sweep for a browser on this machine, rendered as the journal grows.

The browser loads the page once and then asks for the part that changes.
"""

import contextlib
import gzip
import hashlib
import html
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bimix_sweep import locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import BimixSweepError, SweepError
from bimix_sweep.report.page import content, render
from bimix_sweep.sweep.sweep_page import page_data, progress_of
from bimix_sweep.sweep.views.follower import Follower
from bimix_sweep.sweep.workspace.driver_state import DriverState, driver_state
from bimix_sweep.sweep.workspace.paths import CONFIG

LOOPBACK = "127.0.0.1"
"""Only interface on which the page is served, because the page asks for no password."""
MAX_RENDER_LOAD = 0.2
"""Largest part of one core's time that rendering may take."""
REFRESH = "5"
"""Seconds after which the browser loads an address again that has no page yet."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
WAITING = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>bimix-sweep</title><p>{}</p></html>"
)
CONTENT = "/content"
"""Path of the part of the page that changes; the page asks for it again and again."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the server shows of a sweep."""

    page: bytes
    """The whole page."""
    content: bytes
    """Its part that changes, compressed by gzip; empty before the sweep has begun."""
    tag: str
    """ETag of `content`: another one for other content."""
    over: bool
    """Whether the sweep is complete."""


class Page:
    """Current page of a sweep, rendered again only where the journal grew or the driver's state
    changed."""

    def __init__(self, folder: str, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds
        self._follower = Follower(folder)
        self._lock = threading.Lock()
        self._key: tuple[int, DriverState] | None = None
        self._next = 0.0
        self._shown = Shown(b"", b"", "", False)

    def shown(self) -> Shown:
        """Returns the page as it is now.

        Raises:
            BimixSweepError, OSError: the sweep cannot be read.
        """
        with self._lock:
            if time.monotonic() >= self._next:
                self._renew()
            return self._shown

    def _renew(self) -> None:
        began = time.monotonic()
        snapshot = self._follower.poll()
        history = self._follower.history
        key = (self._follower.num_events, driver_state(self._folder))
        if history is None or snapshot is None:
            text = f"{self._folder}: the sweep has not begun"
            self._shown = Shown(WAITING.format(html.escape(text)).encode(), b"", "", False)
        elif key != self._key:
            config = SweepConfig.load(locations.join(self._folder, CONFIG))
            progress = progress_of(history, self._folder, seconds_left=snapshot.seconds_left)
            data = page_data(history, config, progress)
            inside = content(data)
            part = inside.encode()
            self._shown = Shown(
                page=render(data, live=max(2.0, self._seconds), inside=inside).encode(),
                content=gzip.compress(part, 6, mtime=0),
                tag=f'"{hashlib.blake2b(part, digest_size=12).hexdigest()}"',
                over=self._follower.complete,
            )
            self._key = key
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
        server = ThreadingHTTPServer((LOOPBACK, port), _handler(Page(folder, seconds)))
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


def _handler(page_of_sweep: Page) -> type[BaseHTTPRequestHandler]:
    """Makes the class that answers the browser's requests."""

    class Handler(BaseHTTPRequestHandler):
        server_version = "bimix-sweep"
        sys_version = ""

        def do_GET(self) -> None:
            """Answers with the page, or refuses a request for another host or path."""
            host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
            # A page elsewhere may let its own host name resolve to this machine (DNS rebinding).
            if host not in (LOOPBACK, "localhost"):
                return self._refuse(HTTPStatus.FORBIDDEN, "this page is for 127.0.0.1 only")
            path = self.path.partition("?")[0]
            if path not in ("/", "/report.html", CONTENT):
                return self._refuse(HTTPStatus.NOT_FOUND, "there is only /")
            try:
                shown = page_of_sweep.shown()
            except (BimixSweepError, OSError) as error:
                again = path != CONTENT
                return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error), again=again)
            if path == CONTENT and shown.content:
                return self._content(shown)
            begun = {} if shown.content else {"Refresh": REFRESH}
            return self._answer(HTTPStatus.OK, shown.page, "text/html; charset=utf-8", begun)

        do_HEAD = do_GET

        def _content(self, shown: Shown) -> None:
            """Answers with the part that changes, or that it has not changed."""
            headers = {"ETag": shown.tag, "X-Sweep-Over": "yes" if shown.over else "no"}
            kind = "text/html; charset=utf-8"
            if self.headers.get("If-None-Match") == shown.tag and not shown.over:
                return self._answer(HTTPStatus.NOT_MODIFIED, b"", kind, headers)
            headers["Content-Encoding"] = "gzip"
            return self._answer(HTTPStatus.OK, shown.content, kind, headers)

        def _refuse(self, status: HTTPStatus, line: str, *, again: bool = False) -> None:
            more = {"Refresh": REFRESH} if again else {}
            self._answer(status, f"{line}\n".encode(), "text/plain; charset=utf-8", more)

        def _answer(
            self, status: HTTPStatus, body: bytes, kind: str, more: Mapping[str, str]
        ) -> None:
            self.send_response(status)
            headers = {"Content-Type": kind, "Content-Length": str(len(body)), **HEADERS, **more}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing: requests of a browser are not worth a line."""

    return Handler
