import json
import os
import re
import shutil
import subprocess

import pytest

from bimix_sweep.report.page import render

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here; the page's HTML is tested without it"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=8000",
)


@pytest.fixture(scope="module")
def folder(sweep, tmp_path_factory):
    """Holds the page, and one that does what the page must not."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "report.html").write_text(render(sweep))
    (folder / "talks.html").write_text(
        '<img src="http://elsewhere.invalid/a.png">'
        '<script>fetch("http://elsewhere.invalid/b")</script>'
    )
    return folder


@pytest.fixture(scope="module")
def browse(folder, tmp_path_factory):
    """Opens a page in a new browser that can resolve no host; answers its standard output and
    error.
    """

    def go(name, *arguments):
        profile = tmp_path_factory.mktemp("profile")
        done = subprocess.run(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *arguments, (folder / name).as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            cwd=folder,
            env=os.environ | {"HOME": str(profile)},
        )
        return done.stdout, done.stderr

    return go


@pytest.fixture(scope="module")
def opened(browse, tmp_path_factory):
    """The drawn page, its console and its network log."""
    log = tmp_path_factory.mktemp("net") / "net.json"
    dom, console = browse(
        "report.html", "--dump-dom", "--enable-logging=stderr", "--v=0", f"--log-net-log={log}"
    )
    return dom, console, log.read_text()


def asked_by_the_page(log):
    """Addresses a page asked for; the browser's own requests have no origin. The log is JSON, one
    event a line.
    """
    events = [
        json.loads(line.rstrip(",")) for line in log.splitlines() if line.startswith('{"params"')
    ]
    asked = {
        event["params"]["url"]
        for event in events
        if event["params"].get("initiator", "not an origin") != "not an origin"
    }
    return sorted(url for url in asked if not url.startswith(("file:", "data:", "blob:")))


def test_every_figure_is_drawn_without_a_console_error(opened):
    dom, console, _ = opened
    drawn = re.findall(
        r'<div class="plot[^"]*" id="(\w+)"[^>]*>(.*?)<script type="text/plain"',
        dom,
        re.DOTALL,
    )
    assert [name for name, _ in drawn] == [
        "ternary",
        "confirmation",
        "path",
        "regret",
        "law",
        "curves",
        "residuals",
    ]
    for name, inside in drawn:
        assert "main-svg" in inside, name
        assert inside.count("<path") > 5, name
    assert [line for line in console.splitlines() if "CONSOLE" in line] == []


def test_the_page_asks_nothing_of_any_network(opened, browse, tmp_path):
    assert "report.html" in opened[2]
    assert asked_by_the_page(opened[2]) == []
    browse("talks.html", "--dump-dom", f"--log-net-log={tmp_path / 'net.json'}")
    assert asked_by_the_page((tmp_path / "net.json").read_text()) == [
        "http://elsewhere.invalid/a.png",
        "http://elsewhere.invalid/b",
    ]


@pytest.mark.parametrize("width", [520, 1280])
def test_the_page_is_no_wider_than_its_window(folder, browse, width):
    measure = (
        "<script>document.body.dataset.width = document.documentElement.scrollWidth + ' in ' + "
        "innerWidth</script></body>"
    )
    (folder / "measured.html").write_text(
        (folder / "report.html").read_text().replace("</body>", measure)
    )
    dom, _ = browse("measured.html", f"--window-size={width},1400", "--dump-dom")
    assert re.findall(r'data-width="([^"]*)"', dom) == [f"{width} in {width}"]
