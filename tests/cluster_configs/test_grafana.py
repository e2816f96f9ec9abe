"""The dashboard's file, and putting it into Ray's folder; with a running sweep it is looked at in
tests/sweep/test_watching.py.
"""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bimix_sweep.sweep.cluster.gauges import GAUGES

FOLDER = Path(__file__).resolve().parents[2] / "cluster_configs"
BOARD = json.loads((FOLDER / "grafana" / "bimix-sweep.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def test_the_committed_dashboard_is_what_its_script_builds():
    built = subprocess.run(
        [sys.executable, "-c", "import build; print(build.as_json(), end='')"],
        cwd=FOLDER / "grafana",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    committed = (FOLDER / "grafana" / "bimix-sweep.json").read_text()
    assert committed == built, "run: python cluster_configs/grafana/build.py"


def test_every_query_asks_for_a_gauge_there_is_by_labels_it_has():
    for panel in PANELS:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            for labels, gauge in re.findall(r"max by \(([^)]*)\) \(ray_(\w+)\{", target["expr"]):
                own = GAUGES[gauge][1]
                assert labels == ", ".join(["sweep", "folder", *([own] if own else [])])
            assert target["expr"].count("ray_") == len(re.findall(r"max by", target["expr"]))


def test_panels_fill_the_grid_without_overlap_and_each_says_what_it_shows():
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for at in [panel["gridPos"]]
        for x, y in itertools.product(
            range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        )
    ]
    assert len(set(cells)) == len(cells)
    assert {x for x, _ in cells} == set(range(24))
    assert len(cells) == 24 * (1 + max(y for _, y in cells))
    assert all(panel["description"] for panel in PANELS)
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_prometheus_and_its_command_stay_on_this_machine():
    text = (FOLDER / "prometheus" / "prometheus.yml").read_text()
    assert "--web.listen-address=127.0.0.1:" in text
    [job] = yaml.safe_load(text)["scrape_configs"]
    assert job["file_sd_configs"][0]["files"] == ["/tmp/ray/prom_metrics_service_discovery.json"]


def install(temp_dir, **environment):
    command = [
        sys.executable,
        "-I",
        str(FOLDER / "grafana" / "install.py"),
        "--temp-dir",
        str(temp_dir),
        "--wait",
        "0.3",
    ]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_where_no_head_runs_the_installer_says_what_to_start(tmp_path):
    done = install(tmp_path)
    assert done.returncode == 1
    assert "start Ray's head" in done.stderr
    assert "--temp-dir" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uid", ["rayDataDashboard", "bimixSweep"])
def test_the_installer_takes_the_uid_that_ray_frames_wherever_its_dashboards_are(tmp_path, uid):
    elsewhere = tmp_path / "elsewhere"
    default = tmp_path / "session_latest" / "metrics" / "grafana" / "dashboards"
    for folder, environment in (
        (default, {}),
        (elsewhere, {"RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR": str(elsewhere)}),
    ):
        folder.mkdir(parents=True)
        (folder / "data_grafana_dashboard.json").write_text(
            json.dumps({"uid": uid, "title": "Data Dashboard"})
        )
        done = install(tmp_path, **environment)
        assert done.returncode == 0, done.stderr
        assert [path.name for path in folder.iterdir()] == ["data_grafana_dashboard.json"]
        assert json.loads((folder / "data_grafana_dashboard.json").read_text()) == BOARD | {
            "uid": uid
        }
        assert install(tmp_path, **environment).returncode == 0  # again, over our own
