"""Credentials of the environment do not appear in text that is kept."""

from bimix_sweep.sweep.workspace import redaction
from bimix_sweep.sweep.workspace.redaction import masked


def test_the_environment_is_searched_for_credentials_once_and_again_where_it_changed(monkeypatch):
    redaction._secrets.cache_clear()
    assert [masked(f"line {number}") for number in range(100)][-1] == "line 99"
    assert redaction._secrets.cache_info().misses == 1
    monkeypatch.setenv("LATER_TOKEN", "set-by-the-trainer")
    assert masked("set-by-the-trainer") == "***"


def test_credentials_are_masked_in_text():
    environment = {
        "MY_API_TOKEN": "s3cret/va+lue",
        "AWS_SECRET_ACCESS_KEY": "abcdef123456",
        "RAY_AUTH_TOKEN_PATH": "/home/me/token-file",
        "SSH_PRIVATE_KEY": "begin\nfirst-line-of-it\nend",
        "PASSWORD": "short",
        "HOME": "/home/me",
        "KEYBOARD": "",
    }
    text = (
        "s3cret/va+lue s3cret%2Fva%2Blue abcdef123456 /home/me/token-file first-line-of-it short "
        "postgres://me:hidden@host/db"
    )
    assert (
        masked(text, environment)
        == "*** *** *** /home/me/token-file *** short postgres://me:***@host/db"
    )
