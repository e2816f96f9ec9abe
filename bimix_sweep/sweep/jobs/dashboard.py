"""The head of a Ray cluster, reached from another machine: dashboard address, version and token."""

import contextlib
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.jobs.auth import auth_headers
from bimix_sweep.text import printable

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

ANSWER_SECONDS = 10
"""Seconds that a dashboard may take to answer."""
MIN_RAY_VERSION = (2, 60)
"""Oldest version of Ray that can run a sweep's job."""
MAX_RESOURCES = 1e9
"""Upper limit of plausible numbers of CPUs or GPUs; a larger answer is ignored."""
OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Environment variables that Ray's client prefers to the address that it is given."""


class UnreachableError(SweepError):
    """Error for a head that does not answer any more.

    Example: `http://head:8265 does not answer any more (Connection refused)`.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A head whose dashboard answers and accepts the user's token."""

    address: str
    """Address of the dashboard, `http://host:8265`."""
    ray_version: str
    """Version of Ray that the head runs."""
    trusted: bool = True
    """Whether requests to the head carry the user's token."""

    @classmethod
    def reach(cls, address: str, *, trusted: bool = True) -> Self:
        """Asks the dashboard at the address for its version, and returns the head.

        Args:
            address: address of the dashboard, with or without scheme.
            trusted: whether the user named the address or submitted a job to it; an address that
                only a folder names gets no token.

        Raises:
            SweepError: nothing answers, the server is not a Ray dashboard, its Ray is too old, or
                the token is not accepted; the message says what to do.
        """
        address = cls.normal(address)
        try:
            version = printable(
                str(json.loads(_get(f"{address}/api/version", trusted, 10_000))["ray_version"])[:40]
            )
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (401, 403):
                raise SweepError(
                    _refused(address, error.code) if trusted else _needs_token(address)
                ) from error
            raise SweepError(_no_dashboard(address)) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ConnectionResetError):
                raise SweepError(_no_dashboard(address)) from error
            raise SweepError(
                f"nothing answers at {address} ({error.reason}); need the address of the head's "
                "dashboard, usually http://HEAD:8265; where it "
                "listens on the head's loopback only, forward it first: ssh -L "
                "8265:127.0.0.1:8265 HEAD"
            ) from error
        except (
            http.client.HTTPException,
            ConnectionError,
            ValueError,
            LookupError,
            TypeError,
            RecursionError,
        ) as error:
            raise SweepError(_no_dashboard(address)) from error
        except OSError as error:
            raise SweepError(
                f"{address} does not answer ({error}); is the head up, and nothing between that "
                "swallows requests?"
            ) from error
        numbers = re.match(r"([0-9]{1,9})\.([0-9]{1,9})", version)
        if numbers is None or tuple(map(int, numbers.groups())) < MIN_RAY_VERSION:
            raise SweepError(
                f"{address} runs Ray {version}; need {'.'.join(map(str, MIN_RAY_VERSION))} or later "
                "on every node"
            )
        return cls(address=address, ray_version=version, trusted=trusted)

    @staticmethod
    def normal(address: str) -> str:
        """Returns the address with its scheme.

        Raises:
            SweepError: the text is not the address of a dashboard.
        """
        if address.startswith("ray://") or address == "auto":
            raise SweepError(
                f"address {address!r} is not of a dashboard; need one such as http://HEAD:8265"
            )
        full = (address if "://" in address else f"http://{address}").rstrip("/")
        try:
            parts = urlsplit(full)
            fits = (
                bool(parts.hostname)
                and parts.port != 0
                and re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", full)
            )
        except ValueError:
            fits = False
        if not fits:
            raise SweepError(
                f"address {address[:200]!r} is not of a dashboard; need one such as "
                "http://HEAD:8265"
            )
        return full

    def resources(self) -> dict[str, float]:
        """Returns the resources that the cluster has now.

        Returns:
            {"CPU": number, "GPU": number, ...}; {} if the dashboard does not tell them.
        """
        try:
            content = json.loads(
                _get(f"{self.address}/api/cluster_status", self.trusted, 10_000_000)
            )
            resources = {
                name: float(pair[1])
                for name, pair in content["data"]["clusterStatus"]["loadMetricsReport"][
                    "usage"
                ].items()
            }
        except (
            OSError,
            http.client.HTTPException,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ):
            return {}
        return {name: number for name, number in resources.items() if 0 <= number < MAX_RESOURCES}

    def jobs(self) -> "JobSubmissionClient":
        """Returns Ray's client for the jobs of this head.

        Raises:
            SweepError: the head does not answer, or not as a Ray dashboard.
        """
        import logging

        from ray.job_submission import JobSubmissionClient

        for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
            logging.getLogger(name).setLevel(logging.WARNING)  # no messages about uploads
        headers = auth_headers() if self.trusted else {}

        class Client(JobSubmissionClient):  # type: ignore[misc]
            """Client that follows no redirect and sends no token but the given one.

            Ray's own client adds the user's token to every request.
            """

            def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
                self._headers = headers
                return super()._do_request(method, endpoint, allow_redirects=False, **options)

        with _without(OVERRIDES), understood(self.address):
            return Client(self.address, headers=dict(headers))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, because the token is only for the address that was named."""

    def redirect_request(self, *_: Any) -> None:
        """Returns None, which makes a redirect an error."""
        return None


def _get(url: str, trusted: bool, max_bytes: int) -> bytes:
    """Returns the first `max_bytes` bytes of the answer; a head's address is http or https."""
    request = urllib.request.Request(url, headers=auth_headers() if trusted else {})  # noqa: S310
    with urllib.request.build_opener(_NoRedirects).open(request, timeout=ANSWER_SECONDS) as answer:
        return bytes(answer.read(max_bytes))


@contextlib.contextmanager
def understood(address: str) -> Iterator[None]:
    """Turns errors of Ray's client into errors of this package.

    A RuntimeError, by which the client tells that the head refused the request, is passed on.

    Raises:
        UnreachableError: the head does not answer.
        SweepError: the answer is not that of a Ray dashboard, or the token is refused.
    """
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise SweepError(_refused(address, 403)) from error
    except (RecursionError, TypeError, LookupError, AttributeError, ValueError) as error:
        raise SweepError(_no_dashboard(address)) from error
    except (requests.RequestException, ConnectionError) as error:
        raise UnreachableError(
            f"{address} does not answer any more ({' '.join(str(error).split())[:300]})"
        ) from error


def _refused(address: str, code: int) -> str:
    """Returns the message for a token that is missing (401) or refused."""
    how = (
        "put the cluster's token into RAY_AUTH_TOKEN, or the path of its file into "
        "RAY_AUTH_TOKEN_PATH (default ~/.ray/auth_token)"
    )
    if os.environ.get("RAY_AUTH_MODE", "token").lower() == "disabled":
        return f"{address} asks for a token and RAY_AUTH_MODE is disabled here; unset it and {how}"
    answer = (
        "asks for a token and none was found here"
        if code == 401
        else "refuses the token found here"
    )
    return f"{address} {answer}; {how}"


def _needs_token(address: str) -> str:
    """Returns the message for a head that needs a token, but was not sent the user's."""
    return (
        f"{address} asks for a token and was not sent yours: the sweep's folder names it, and "
        "nothing was submitted to it from here; if the "
        f"head is yours, say so with: --address {address}"
    )


def _no_dashboard(address: str) -> str:
    """Returns the message for a server that is not a Ray dashboard."""
    return (
        f"{address} answers, but not as a Ray dashboard; need its address, usually "
        "http://HEAD:8265 (port 6379 is for run --address)"
    )


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Hides environment variables inside the context."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
