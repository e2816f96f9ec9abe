"""A real sweep on a real Ray head, looked at with what a user has: Prometheus, Ray's dashboard,
TensorBoard, optuna-dashboard.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from bimix_sweep.sweep.cluster.gauges import GAUGES
from bimix_sweep.sweep.views.optuna_dashboard import serve_study
from tests.support.browser import CHROMIUM, page
from tests.support.watched import (
    PROMETHEUS,
    REPOSITORY,
    Head,
    free_ports,
    get,
    prometheus,
    ray_head,
    stand_in_grafana,
    wait_until,
)

pytestmark = pytest.mark.cluster
BOARD = json.loads((REPOSITORY / "cluster_configs" / "grafana" / "bimix-sweep.json").read_text())
DOMAINS = {"web", "code", "books"}


@dataclass(frozen=True)
class Watched:
    head: Head
    grafana: str
    prometheus: str | None
    installed: str
    """What install.py printed."""
    out: Path
    """The sweep's folder."""


@pytest.fixture(scope="module")
def watched(ray_environment, tmp_path_factory):
    """A sweep that goes on for as long as the tests look at it."""
    folder = tmp_path_factory.mktemp("watched")
    grafana_port, prometheus_port = free_ports(2)
    with (
        stand_in_grafana(grafana_port) as grafana,
        ray_head(
            ray_environment,
            RAY_GRAFANA_HOST=grafana,
            RAY_PROMETHEUS_HOST=f"http://127.0.0.1:{prometheus_port}",
        ) as head,
    ):
        install = [
            sys.executable,
            str(REPOSITORY / "cluster_configs" / "grafana" / "install.py"),
            "--temp-dir",
            str(head.folder),
        ]
        installed = subprocess.run(
            install, env=head.environment, capture_output=True, text=True, check=True
        ).stdout
        command = [
            sys.executable,
            str(Path(__file__).resolve().parents[2] / "support" / "planted_sweep.py"),
            "run",
            str(folder / "sweep"),
            "--address",
            head.address,
            "--trials",
            "2000",
            "--pause",
            "0.3",
            "--tolerance",
            "1e-12",  # it never settles
        ]
        with (folder / "driver.log").open("w") as log:
            driver = subprocess.Popen(
                command, env=head.environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            if PROMETHEUS is None:
                yield Watched(head, grafana, None, installed, folder / "sweep")
            else:
                with prometheus(
                    folder, prometheus_port, head.folder / "prom_metrics_service_discovery.json"
                ) as url:
                    yield Watched(head, grafana, url, installed, folder / "sweep")
            assert driver.poll() is None, (folder / "driver.log").read_text()[-2000:]
        finally:
            driver.send_signal(signal.SIGTERM)
            driver.wait(timeout=120)


@pytest.fixture
def ask(watched):
    """PromQL -> its series, as the dashboard's variables would have it asked."""
    if watched.prometheus is None:
        pytest.skip("no prometheus on this machine (Debian: apt-get install prometheus)")

    def query(expression):
        for name, value in {"$SessionName": ".+", "$sweep": ".+", "$since": "6h"}.items():
            expression = expression.replace(name, value)
        answer = get(f"{watched.prometheus}/api/v1/query?query={urllib.parse.quote(expression)}")
        return answer["data"]["result"]

    return query


def queries():
    return [
        (panel["title"], target["expr"])
        for panel in BOARD["panels"]
        for target in panel.get("targets", [])
    ]


def test_every_query_of_the_dashboard_returns_data_of_a_running_sweep(ask):
    missing = dict.fromkeys(queries())

    def all_there():
        for one in list(missing):
            if ask(one[1]):
                del missing[one]
        return not missing

    try:
        wait_until("data for every query", all_there, 300)
    except AssertionError:
        pytest.fail(f"no data for {list(missing)}")


def test_prometheus_holds_the_numbers_of_the_sweep(ask, watched):
    def optimum():
        return {
            one["metric"]["domain"]: float(one["value"][1])
            for one in ask("ray_bimix_optimum_proportion")
        }

    shares = wait_until("an optimum", optimum)
    assert shares.keys() == DOMAINS
    assert sum(shares.values()) == pytest.approx(
        1, abs=1e-3
    )  # three gauges may be scraped between two refits' settings
    states = {one["metric"]["state"]: float(one["value"][1]) for one in ask("ray_bimix_trials")}
    assert states.keys() == {"running", "finished", "failed"}
    assert 0 <= states["running"] <= 3
    [tolerance] = ask("ray_bimix_regret_tolerance")
    assert float(tolerance["value"][1]) == 1e-12
    assert tolerance["metric"]["sweep"] == "planted"
    assert tolerance["metric"]["folder"] == str(watched.out)


def test_rays_metrics_tab_frames_our_dashboard(watched):
    """What its page asks for, and what it frames: GRAFANA/d/UID of `data`, beside Ray's own."""
    health = watched.head.api("/api/grafana_health")["data"]
    assert health["grafanaHost"] == watched.grafana
    provisioning = watched.head.folder / "session_latest" / "metrics" / "grafana" / "provisioning"
    [provider] = yaml.safe_load((provisioning / "dashboards" / "default.yml").read_text())[
        "providers"
    ]
    boards = [
        json.loads(path.read_text()) for path in Path(provider["options"]["path"]).glob("*.json")
    ]
    framed = [board for board in boards if board["uid"] == health["dashboardUids"]["data"]]
    assert framed == [BOARD | {"uid": health["dashboardUids"]["data"]}]
    assert len({board["uid"] for board in boards}) == len(boards)  # Grafana refuses two of one uid
    [source] = yaml.safe_load((provisioning / "datasources" / "default.yml").read_text())[
        "datasources"
    ]
    assert (source["name"], source["type"]) == (health["dashboardDatasource"], "prometheus")
    assert "127.0.0.1" in watched.installed


@pytest.mark.skipif(
    CHROMIUM is None or PROMETHEUS is None,
    reason="no chromium or no prometheus here; Ray shows the tab only with both servers",
)
def test_the_metrics_tab_of_rays_dashboard_opens_our_dashboard_in_a_browser(watched):
    token = Path(watched.head.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    click = (
        "[...document.querySelectorAll('[role=tab]')].filter(tab => tab.textContent == 'Ray "
        "Data').map(tab => tab.click()).length"
    )
    with page(f"{watched.head.dashboard}/#/metrics", {"ray-authentication-token": token}) as tab:
        wait_until("the tab", lambda: tab.run(click))

        def framed():
            source = urllib.parse.urlsplit(tab.run("document.querySelector('iframe').src"))
            return source if "rayDataDashboard" in source.path else None

        source = wait_until("the frame", framed)
    assert f"{source.scheme}://{source.netloc}" == watched.grafana
    asked = urllib.parse.parse_qs(source.query)
    given = {name.removeprefix("var-") for name in asked if name.startswith("var-")}
    assert given <= {variable["name"] for variable in BOARD["templating"]["list"]}
    assert asked["var-datasource"] == ["Prometheus"]


@pytest.mark.parametrize("path", ["/api/grafana_health", "/api/v0/actors"])
def test_rays_dashboard_answers_nobody_without_the_token(watched, path):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        watched.head.api(path, token="")
    with pytest.raises(urllib.error.HTTPError, match=r"40[13]"):
        watched.head.api(path, token="0" * 64)


def test_without_grafana_rays_actors_page_names_the_sweep(watched):
    def alive():
        found = watched.head.api("/api/v0/actors?detail=1")["data"]["result"]["result"]
        return [
            actor
            for actor in found
            if actor["class_name"] == "LawActor" and actor["state"] == "ALIVE"
        ]

    [actor] = wait_until("the LawActor", alive)
    assert actor["repr_name"] == "LawActor(planted)"
    assert actor["name"].startswith("law-")


def test_tensorboard_reads_the_losses_of_a_running_sweep(watched):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def curve():
        for path in sorted(watched.out.glob("ray/t*/events.out.tfevents.*")):
            events = accumulator.EventAccumulator(str(path.parent))
            events.Reload()
            if (
                "ray/tune/loss_web" in events.Tags()["scalars"]
                and len(read := events.Scalars("ray/tune/loss_web")) == 5
            ):
                return path.parent.name, {one.step: one.value for one in read}
        return None

    trial, shown = wait_until("a whole curve", curve)
    recorded = {
        event["step"]: event["losses"]["web"]
        for path in sorted((watched.out / "journal").glob("*.jsonl"))
        for event in map(json.loads, path.read_text().splitlines())
        if event.get("kind") == "point" and event["trial"] == trial
    }
    assert shown == pytest.approx(recorded, rel=1e-6)  # its numbers are single precision


def test_optuna_dashboard_lists_the_trials_of_a_running_sweep(watched):
    pytest.importorskip("optuna_dashboard")
    wait_until("the journal", lambda: list((watched.out / "journal").glob("*.jsonl")))
    with serve_study(str(watched.out), port=0) as url:
        base = url.removesuffix("/dashboard/")

        def finished():
            [study] = get(f"{base}/api/studies")["study_summaries"]
            assert study["study_name"] == "planted"
            trials = get(f"{base}/api/studies/{study['study_id']}")["trials"]
            return [trial for trial in trials if trial["state"] == "Complete"], trials

        before = wait_until("a finished trial", lambda: finished() if finished()[0] else None)
        after = wait_until(
            "another one", lambda: finished() if len(finished()[0]) > len(before[0]) else None
        )
        complete, trials = after
        for trial in complete:
            attributes = {one["key"]: one["value"] for one in trial["user_attrs"]}
            assert attributes["trial"] == f"t{trial['number']:04d}"
            assert attributes["role"] == "sweep"
            assert trial["values"] == [
                pytest.approx(sum(float(attributes[f"loss_{name}"]) for name in DOMAINS) / 3)
            ]
            assert {one["name"] for one in trial["params"]} == DOMAINS
            assert [one["step"] for one in trial["intermediate_values"]] == [
                100,
                150,
                200,
                300,
                400,
            ]
        assert [trial["state"] for trial in trials if trial not in complete] == ["Running"] * (
            len(trials) - len(complete)
        )
        assert get(f"{base}/api/meta")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(f"{base}/api/studies", {"Host": "elsewhere.example:80"})


def test_no_gauge_is_set_that_the_dashboard_does_not_show(ask):
    shown = " ".join(expression for _, expression in queries())
    unseen = [name for name in GAUGES if f"ray_{name}{{" not in shown]
    assert unseen == ["bimix_points"]  # only their rate is worth a curve
    assert ask("ray_bimix_points")


def test_the_gauges_go_on_when_the_actor_is_killed(ask, watched):
    """Last: Ray reports the dead worker's values for a while beside the new one's, and the
    dashboard takes the larger.
    """

    def points():
        return {
            one["metric"]["WorkerId"]: float(one["value"][1]) for one in ask("ray_bimix_points")
        }

    [(worker, before)] = wait_until("points", points).items()
    [actor] = [
        one
        for one in watched.head.api("/api/v0/actors?detail=1")["data"]["result"]["result"]
        if one["class_name"] == "LawActor"
    ]
    os.kill(actor["pid"], signal.SIGKILL)
    after = wait_until(
        "another worker's gauges", lambda: points() if points().keys() - {worker} else None
    )
    assert all(value >= before for value in after.values())
    [shown] = ask("max by (sweep, folder) (ray_bimix_points)")
    assert float(shown["value"][1]) >= before
