"""A real Chromium on a page, asked through its DevTools protocol."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import aiohttp

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
    "--window-size=1400,900",
)


@contextlib.contextmanager
def page(url: str, cookies: dict[str, str]) -> Iterator["Page"]:
    """A tab on `url`, opened with cookies of its host."""
    folder = tempfile.mkdtemp(prefix="chromium-")
    browser = subprocess.Popen(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert browser.stderr is not None
        listening = next(
            line for line in browser.stderr if line.startswith("DevTools listening on ")
        )
        yield Page(listening.split()[-1].split("/")[2], url, cookies)
    finally:
        browser.kill()
        browser.communicate()
        shutil.rmtree(folder, ignore_errors=True)


class Page:
    """Each problem opens the tab's connection anew, so that no event loop is left open."""

    def __init__(self, devtools: str, url: str, cookies: dict[str, str]) -> None:
        self._devtools = devtools
        for name, value in cookies.items():
            self._call("Network.setCookie", url=url, name=name, value=value)
        self._call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self._call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get(
            "value"
        )

    def _call(self, method: str, **params: Any) -> Any:
        return asyncio.run(self._ask(method, params))

    async def _ask(self, method: str, params: dict[str, Any]) -> Any:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{self._devtools}/json/list") as answer:
                [tab] = [one for one in json.loads(await answer.text()) if one["type"] == "page"]
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                await socket.send_json({"id": 1, "method": method, "params": params})
                async for message in socket:
                    said = json.loads(message.data)
                    if said.get("id") == 1:
                        return said["result"]
        raise AssertionError(f"the browser went away during {method}")
