"""Puts the dashboard of running sweeps into Ray's Metrics tab.

Run it on the head, once after each start of the head:

    python cluster_configs/grafana/install.py [--temp-dir /tmp/ray]

Ray writes a configuration for Grafana into its session's folder when the head starts, and its
Metrics tab frames two of the dashboards in it: `Core` and `Ray Data`. Sweeps do not use Ray Data,
so the dashboard of sweeps takes the place of the second one, under the identifier that Ray frames.
Nothing need be set before Ray starts, and a Grafana that already runs sees the change in seconds.
The script needs nothing but Python.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

DASHBOARD = Path(__file__).with_name("bimix-sweep.json")
FRAMED = "data_grafana_dashboard.json"
"""Ray's file of the second framed dashboard."""
ELSEWHERE = "RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR"
"""Ray's variable for another folder of dashboards."""


def install(dashboards: Path, wait_seconds: float) -> str:
    """Replaces the framed dashboard in Ray's folder of dashboards.

    Args:
        dashboards: Ray's folder of dashboards.
        wait_seconds: seconds to wait until Ray has written its own dashboard, which it does some
            seconds after `ray start` returned.

    Returns:
        The identifier that the Metrics tab frames.

    Raises:
        SystemExit: Ray wrote no dashboard there.
    """
    framed = dashboards / FRAMED
    until = time.monotonic() + wait_seconds
    while (uid := _uid(framed)) is None:
        if time.monotonic() > until:
            sys.exit(
                f"error: {framed} is not there; start Ray's head with its dashboard (ray start "
                "--head) on this machine first, and give --temp-dir where it has one. Where Ray "
                f"was started with {ELSEWHERE}, set it for this command too"
            )
        time.sleep(0.2)
    content = json.loads(DASHBOARD.read_text(encoding="utf-8")) | {"uid": uid}
    handle, part = tempfile.mkstemp(dir=dashboards, prefix=".", suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(content, stream, ensure_ascii=False, indent=2)
    Path(part).chmod(0o644)  # Grafana may run as another user
    Path(part).replace(framed)
    return uid


def _uid(path: Path) -> str | None:
    """Identifier in a dashboard's file; None while the file is missing or half written."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["uid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        description="Put the dashboard of running sweeps into Ray's Metrics tab."
    )
    parser.add_argument(
        "--temp-dir",
        type=Path,
        default=Path("/tmp/ray"),  # noqa: S108
        help="Ray's temporary folder (default: /tmp/ray)",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="for a head that is just starting (default: 30)",
    )
    options = parser.parse_args()
    metrics = options.temp_dir / "session_latest" / "metrics"
    given = os.environ.get(ELSEWHERE)
    dashboards = Path(given) if given else metrics / "grafana" / "dashboards"
    uid = install(dashboards, options.wait)
    print(  # noqa: T201
        f"{dashboards / FRAMED}: the dashboard of sweeps, framed by Ray's Metrics tab under the "
        f"name of Ray Data ({uid})"
    )
    print(  # noqa: T201
        "Prometheus and Grafana, each on this machine alone, where they don't run yet:"
    )
    discovery = options.temp_dir / "prom_metrics_service_discovery.json"
    config = Path(__file__).resolve().parents[1] / "prometheus" / "prometheus.yml"
    print(  # noqa: T201
        f"  prometheus --config.file={config} --web.listen-address=127.0.0.1:9090   "
        f"# its file list: {discovery}"
    )
    print(  # noqa: T201
        "  GF_SERVER_HTTP_ADDR=127.0.0.1 grafana server --config "
        f"{metrics / 'grafana' / 'grafana.ini'} --homepath GRAFANA_HOME"
    )


if __name__ == "__main__":
    main()
