"""Style sheet, scripts and security policy of the page.

The page contains all of its parts, so a browser can open it from a file. The policy of such a page
forbids all requests; the page of a running sweep may ask its own server for new data.
"""

from functools import cache
from importlib import resources

from bimix_sweep.report.packing import pack

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
"""Content-Security-Policy of the page in a file: the browser fetches nothing."""
LIVE_POLICY = f"{POLICY}; connect-src 'self'"
"""Content-Security-Policy of the page of a running sweep: the browser asks its server alone."""


def asset(name: str) -> str:
    """Text of a file in `report/assets`."""
    return resources.files("bimix_sweep.report").joinpath("assets", name).read_text("utf-8")


@cache
def plotting_library() -> str:
    """Packed script of plotly."""
    from plotly.offline import get_plotlyjs

    return pack(get_plotlyjs())
