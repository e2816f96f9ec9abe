"""The page of a running sweep in a browser: only data travel, and what the reader did stays."""

import contextlib
import gzip
import http.client
import json
import time
from urllib.parse import urlsplit

import pytest

from bimix_sweep.sweep.views.web import serve
from tests.support.browser import CHROMIUM, page
from tests.support.in_process import config, open_sweep, run


def asked(url, path, **headers):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def until(tab, script):
    """The value of an expression as soon as it is true."""
    end = time.monotonic() + 60
    while not (value := tab.run(script)):
        assert time.monotonic() < end, script
    return value


def test_content_that_did_not_change_is_not_sent_again(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config(trials=6))
    run(actor, most=5)
    actor.close()
    with serve(str(folder), port=0, seconds=0.0) as url:
        status, headers, body = asked(url, "/content")
        text = gzip.decompress(body).decode()
        assert status == 200
        assert text.startswith('<header id="bar">')
        assert len(body) < 50_000
        assert '<strong class="state stopped">stopped</strong><span>no driver works on it' in text
        assert "bimix-sweep resume " in text
        assert asked(url, "/content", **{"If-None-Match": headers["ETag"]})[::2] == (304, b"")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; the server is tested without it")
def test_a_live_page_takes_new_data_and_keeps_folds_zoom_and_the_mixture_being_tried(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config(trials=7))
    run(actor, most=5)
    with serve(str(folder), port=0, seconds=0.0) as url, page(url, {}) as tab:
        until(tab, "document.body.dataset.drawn")
        tab.run(
            "window.loadedOnce = true; document.querySelector('#answer details').open = true; "
            "document.querySelector('[data-preset=uniform]').click(); "
            "Plotly.relayout('curves', {'yaxis.range': [2, 3]}); null"
        )
        assert "5 trials" in tab.run("document.querySelector('.meta').textContent")
        run(actor)
        actor.close()
        until(tab, "document.querySelector('.state').textContent === 'complete'")
        until(tab, "document.body.dataset.updates")
        assert "7 trials" in tab.run("document.querySelector('.meta').textContent")
        until(tab, "document.querySelector('#confirmation .main-svg') !== null")
        tab.run(
            "const form = document.getElementById('form'); form.value = 'json'; "
            "form.dispatchEvent(new Event('change', {bubbles: true})); null"
        )
        until(tab, "document.getElementById('form-text').textContent.includes('\"domains\"')")
        assert tab.run("window.loadedOnce")
        assert tab.run("document.querySelector('#answer details').open")
        assert tab.run("tryout.proportions") == pytest.approx([1 / 3] * 3)
        assert tab.run("JSON.stringify(document.getElementById('curves').layout.yaxis.range)") == (
            json.dumps([2, 3], separators=(",", ":"))
        )
        assert tab.run("document.getElementById('updated').textContent").startswith("updated ")
