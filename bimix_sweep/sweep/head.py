"""The head of a Ray cluster as seen from elsewhere: its dashboard's address, its version, the token that opens it."""

import contextlib
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bimix_sweep.errors import SweepError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

ANSWER_SECONDS = 10
"""A dashboard may take to answer."""
OLDEST = (2, 60)
"""Version of Ray that jobs of ours need."""
OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Environment variables that Ray's client would rather follow than the address it is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A head whose dashboard answers and takes our token."""

    address: str
    """`http://host:8265`."""
    ray_version: str
    """That it runs."""

    @classmethod
    def reach(cls, address: str) -> Self:
        """Ask who is there.

        Raises:
            SweepError: nobody, somebody else, or one who does not take our token; with what to do.
        """
        address = cls.normal(address)
        request = urllib.request.Request(f"{address}/api/version", headers=auth_headers())  # noqa: S310 - `normal` lets http(s) through
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
                version = json.loads(answer.read(10_000))["ray_version"]
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise SweepError(_refused(address, error.code)) from error
            raise SweepError(_stranger(address)) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ConnectionResetError):
                raise SweepError(_stranger(address)) from error
            raise SweepError(
                f"nothing answers at {address} ({error.reason}); need the address of the head's dashboard, usually http://HEAD:8265; where it "
                "listens on the head's loopback only, forward it first: ssh -L 8265:127.0.0.1:8265 HEAD"
            ) from error
        except (http.client.HTTPException, ConnectionError, ValueError, LookupError, TypeError) as error:
            raise SweepError(_stranger(address)) from error
        except OSError as error:
            raise SweepError(f"{address} does not answer ({error}); is the head up, and nothing between that swallows requests?") from error
        numbers = re.match(r"(\d+)\.(\d+)", str(version))
        if numbers is None or tuple(map(int, numbers.groups())) < OLDEST:
            raise SweepError(f"{address} runs Ray {version}; need {'.'.join(map(str, OLDEST))} or later on every node")
        return cls(address=address, ray_version=str(version))

    @staticmethod
    def normal(address: str) -> str:
        """The address with its scheme.

        Raises:
            SweepError: it is none of a dashboard.
        """
        if address.startswith("ray://") or address == "auto":
            raise SweepError(f"address {address!r} is not of a dashboard; need one such as http://HEAD:8265")
        full = (address if "://" in address else f"http://{address}").rstrip("/")
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", full):
            raise SweepError(f"address {address!r} is not of a dashboard; need one such as http://HEAD:8265")
        return full

    def resources(self) -> dict[str, float]:
        """{"CPU": all of the cluster's now, "GPU": ...}; empty where the dashboard does not tell."""
        request = urllib.request.Request(f"{self.address}/api/cluster_status", headers=auth_headers())  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
                usage = json.loads(answer.read(10_000_000))["data"]["clusterStatus"]["loadMetricsReport"]["usage"]
            return {name: float(pair[1]) for name, pair in usage.items()}
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError):
            return {}

    def jobs(self) -> "JobSubmissionClient":
        """Ray's client for its jobs."""
        import logging

        from ray.job_submission import JobSubmissionClient

        for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
            logging.getLogger(name).setLevel(logging.WARNING)  # what it uploads is nobody's news
        with _without(OVERRIDES):
            return JobSubmissionClient(self.address, headers=auth_headers())


def auth_token() -> str | None:
    """The user's token for Ray, found where Ray 2.60 looks for it; None without one, or with authentication switched off."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    path = token_file()
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        if os.environ.get("RAY_AUTH_TOKEN_PATH"):
            raise SweepError(f"RAY_AUTH_TOKEN_PATH names {path}, which is not there; need the file with the cluster's token") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SweepError(f"the token file {path} cannot be read ({error}); need the cluster's token in it") from error


def token_file() -> Path:
    """Where the token lies unless RAY_AUTH_TOKEN holds it."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    return Path(named) if named else Path.home() / ".ray" / "auth_token"


def auth_headers() -> dict[str, str]:
    """What a request to a head carries."""
    token = auth_token()
    if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise SweepError(
            "the token for Ray holds white space or other characters no header can carry; make one with: ray get-auth-token --generate"
        )
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _refused(address: str, code: int) -> str:
    how = "put the cluster's token into RAY_AUTH_TOKEN, or the path of its file into RAY_AUTH_TOKEN_PATH (default ~/.ray/auth_token)"
    if os.environ.get("RAY_AUTH_MODE", "token").lower() == "disabled":
        return f"{address} asks for a token and RAY_AUTH_MODE is disabled here; unset it and {how}"
    return f"{address} {'asks for a token and none was found here' if code == 401 else 'refuses the token found here'}; {how}"


def _stranger(address: str) -> str:
    return f"{address} answers, but not as a Ray dashboard; need its address, usually http://HEAD:8265 (port 6379 is for run --address)"


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Hide environment variables."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
