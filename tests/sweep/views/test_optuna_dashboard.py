"""The Optuna study that is made from a sweep's journal, in this process; on a real cluster it is
looked at in test_watching.
"""

import io
import json
import sys

import pytest
from optuna.trial import TrialState

from bimix_sweep.errors import JournalError, SweepError
from bimix_sweep.sweep.views import optuna_dashboard
from bimix_sweep.sweep.views.optuna_dashboard import OptunaView, dashboard, serve_study
from tests.support.in_process import STEPS, config, losses, open_sweep, train


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(optuna_dashboard, "REFRESH_SECONDS", 0.0)


def trials_of(view):
    view.refresh()
    [found] = view.storage.get_all_studies()
    return view.storage.get_all_trials(found._study_id)


def test_the_study_goes_on_with_the_journal(tmp_path, at_once):
    view, actor = OptunaView(str(tmp_path)), open_sweep(tmp_path, config(trials=8))
    assert trials_of(view) == []
    first = actor.propose("t0000")
    actor.propose("t0001")
    actor.start("t0000", "here")
    actor.record("t0000", 100, losses(first.mixture, first.seed, 100))
    [running, _] = trials_of(view)
    assert (running.state, running.params) == (TrialState.RUNNING, first.mixture.as_dict())
    assert list(running.intermediate_values) == [100]
    train(actor, first)
    actor.start("t0001", "here")
    actor.abandon("t0001", "the loss of web is nan")
    done, failed = trials_of(view)
    last = losses(first.mixture, first.seed, 400)
    assert (done.state, done.value) == (TrialState.COMPLETE, pytest.approx(sum(last.values()) / 3))
    assert list(done.intermediate_values) == list(STEPS)
    assert done.user_attrs == {
        "trial": "t0000",
        "role": "sweep",
        "reason": first.reason,
        **{f"loss_{name}": loss for name, loss in last.items()},
    }
    assert (failed.state, failed.user_attrs["failed"]) == (
        TrialState.FAIL,
        "the loss of web is nan",
    )
    again = trials_of(OptunaView(str(tmp_path)))  # made at one go
    for one in ("state", "values", "params", "user_attrs", "intermediate_values"):
        assert [getattr(trial, one) for trial in again] == [
            getattr(done, one),
            getattr(failed, one),
        ]
    actor.close()


@pytest.mark.parametrize("looks", [True, False])
def test_a_failed_trial_that_runs_again_is_a_trial_anew(tmp_path, at_once, looks):
    view, actor = OptunaView(str(tmp_path)), open_sweep(tmp_path, config(trials=8))
    first = actor.propose("t0000")
    assert [trial.state for trial in trials_of(view)] == [TrialState.RUNNING]
    actor.abandon("t0000", "ImportError")
    if looks:
        assert [trial.state for trial in trials_of(view)] == [TrialState.FAIL]
    actor.retry(["t0000"])
    train(actor, first)
    found = trials_of(view)
    assert [trial.state for trial in found] == [TrialState.FAIL, TrialState.COMPLETE]
    assert list(found[1].intermediate_values) == list(STEPS)
    actor.close()


def test_a_domain_that_joins_is_a_parameter_of_every_trial(tmp_path, at_once):
    view, actor = OptunaView(str(tmp_path)), open_sweep(tmp_path, config(trials=8))
    train(actor, actor.propose("t0000"))
    assert trials_of(view)[0].params.keys() == {"web", "code", "books"}
    actor.close()
    given = config(
        trials=12,
        domains=("web", "code", "books", "math"),
        targets={name: {"domain": name} for name in ("web", "code", "books")},
    )
    actor = open_sweep(tmp_path, given)
    train(actor, actor.propose("t0001"))
    first, second = trials_of(view)
    assert first.params["math"] == 0.0
    assert second.params.keys() == {"web", "code", "books", "math"}
    actor.close()


def ask(application, path, method="GET", host="127.0.0.1:8042"):
    answer = {}

    def start_response(status, headers, _error=None):
        answer["status"] = int(status.split()[0])

    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "HTTP_HOST": host,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }
    body = b"".join(application(environ, start_response))
    return answer["status"], body


def test_the_dashboard_is_read_on_this_machine_and_changes_nothing(tmp_path, at_once):
    actor = open_sweep(tmp_path, config(trials=8))
    train(actor, actor.propose("t0000"))
    actor.close()
    application = dashboard(OptunaView(str(tmp_path)))
    status, body = ask(application, "/api/studies")
    assert status == 200
    [shown] = json.loads(body)["study_summaries"]
    for host in ("elsewhere.example:8042", "127.0.0.1.elsewhere.example:8042", ""):
        assert ask(application, "/api/studies", host=host)[0] == 403
    for method in ("DELETE", "POST", "PUT"):
        assert ask(application, f"/api/studies/{shown['study_id']}", method=method)[0] == 405
    assert (
        json.loads(ask(application, f"/api/studies/{shown['study_id']}")[1])["trials"][0]["state"]
        == "Complete"
    )
    [segment] = [path for path in (tmp_path / "journal").glob("*.jsonl") if path.stat().st_size]
    segment.write_bytes(segment.read_bytes()[:-20] + b"damaged and whole\n")
    status, body = ask(dashboard_of_damaged(tmp_path), "/api/studies")
    assert status == 500
    assert segment.name in body.decode()


def dashboard_of_damaged(folder):
    view = OptunaView(str(folder))
    with pytest.raises(JournalError):
        view.refresh()
    return dashboard(view)


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    actor = open_sweep(tmp_path, config(trials=8))
    actor.close()
    with (
        serve_study(str(tmp_path), port=0) as url,
        pytest.raises(SweepError, match="--port"),
        serve_study(str(tmp_path), port=int(url.split(":")[2].split("/")[0])),
    ):
        pass
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with (
        pytest.raises(SweepError, match=r"pip install 'bimix-sweep\[watch\]'"),
        serve_study(str(tmp_path), port=0),
    ):
        pass
