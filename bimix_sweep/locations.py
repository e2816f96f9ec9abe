"""Locations of folders and files, as text; nothing is read or written here.

A location is an absolute or relative local path, or a URI of a `pyarrow.fs` filesystem such as
`s3://bucket/sweeps/a?region=eu-central-1`. The part after the `?` says how to reach the filesystem,
and stays at the end of every location inside it.
"""

from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

SECRETS = (
    "secret",
    "password",
    "token",
    "access_key",
    "account_key",
    "credential",
    "sas",
    "signature",
)
"""Words in the name of a URI's option that mark the option as a secret."""


def is_uri(path: str | Path) -> bool:
    """True for `s3://bucket/x` and the like.

    Such a string must not pass through `pathlib`, which merges the two slashes.
    """
    return "://" in str(path)


def join(base: str | Path, *parts: str) -> str:
    """Returns `base/part/part` for a folder or a URI, whose options stay at its end.

    Args:
        base: folder or URI.
        parts: names, not yet quoted.
    """
    if not is_uri(base):
        return "/".join([str(base).rstrip("/"), *parts])
    place, mark, options = str(base).partition("?")
    return (
        "/".join([place.rstrip("/"), *(quote(part, safe="/") for part in parts)]) + mark + options
    )


def parent(path: str | Path) -> str:
    """Returns the folder that holds a file or folder."""
    if not is_uri(path):
        return str(Path(path).parent)
    place, mark, options = str(path).partition("?")
    return place.rstrip("/").rpartition("/")[0] + mark + options


def check_uri(uri: str) -> None:
    """Refuses a URI that carries a secret, because URIs are kept in records that people pass on.

    Raises:
        ValueError: the URI carries a secret; the message names the place without the secret.
    """
    try:
        parts = urlsplit(uri)
        keys = [key for key, _ in parse_qsl(parts.query, keep_blank_values=True)]
    except ValueError as error:
        raise ValueError(f"is no URI ({error})") from None
    user, at, host = parts.netloc.rpartition("@")
    found = [key for key in keys if any(word in key.lower() for word in SECRETS)]
    if at and (":" in user or parts.scheme == "s3"):
        found.append("user:password")
    if found:
        raise ValueError(
            f"({parts.scheme}://{host}{parts.path}) carries a secret ({', '.join(found)}), which "
            "would be kept in the sweep's records; leave it out and give it through the "
            "environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
        )
