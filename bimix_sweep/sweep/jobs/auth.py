"""The user's token for Ray, and the heads that it may be sent to."""

import contextlib
import os
import re
from pathlib import Path

from bimix_sweep.errors import SweepError


def submitted_to(address: str) -> bool:
    """Returns whether a job was submitted to this head from here.

    Such a head may get the user's token again.
    """
    try:
        return address in _heads_file().read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return False


def remember(address: str) -> None:
    """Notes that a job was submitted to this head.

    If the note cannot be written, the user has to name the address again.
    """
    if submitted_to(address):
        return
    path = _heads_file()
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(kept, f"{address}\n".encode())
        finally:
            os.close(kept)


def _heads_file() -> Path:
    """Returns the path of the user's own file of heads."""
    given = os.environ.get("XDG_STATE_HOME", "")
    return (
        (Path(given) if given.startswith("/") else Path.home() / ".local" / "state")
        / "bimix-sweep"
        / "heads"
    )


def auth_token() -> str | None:
    """Returns the user's token for Ray from the places where Ray 2.60 looks for it.

    Returns:
        the token; None without one, or where authentication is switched off.

    Raises:
        SweepError: the file that RAY_AUTH_TOKEN_PATH names is missing, or a token file is
            unreadable.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    path = token_file()
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        if os.environ.get("RAY_AUTH_TOKEN_PATH"):
            raise SweepError(
                f"RAY_AUTH_TOKEN_PATH names {path}, which is not there; need the file with the "
                "cluster's token"
            ) from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SweepError(
            f"the token file {path} cannot be read ({error}); need the cluster's token in it"
        ) from error


def token_file() -> Path:
    """Returns the path of the token file, which is used unless RAY_AUTH_TOKEN holds the token."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    return Path(named) if named else Path.home() / ".ray" / "auth_token"


def auth_headers() -> dict[str, str]:
    """Returns the HTTP headers for a request to a head: the token, if there is one.

    Raises:
        SweepError: the token cannot be read, or holds characters that no header can carry.
    """
    token = auth_token()
    if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise SweepError(
            "the token for Ray holds white space or other characters no header can carry; make "
            "one with: ray get-auth-token --generate"
        )
    return {} if token is None else {"Authorization": f"Bearer {token}"}
