"""Optuna study of a sweep for optuna-dashboard, made from the journal by the process that shows it.

The driver's own study exists only in the driver's memory, and nothing is written for this one: the
study is in the memory of the process that shows it, which reads new events of the journal when the
browser asks. So the study costs the sweep nothing, is correct after any crash, and a change or
deletion in the dashboard does not change the sweep.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.trial import TrialRecord
from bimix_sweep.errors import BimixSweepError, SweepError
from bimix_sweep.mixture.objective import weighted_loss
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.refits import last_with_optimum
from bimix_sweep.sweep.history.snapshot import phase_of
from bimix_sweep.sweep.sampler import PROPORTION
from bimix_sweep.sweep.views.follower import Follower
from bimix_sweep.sweep.views.web import LOOPBACK

REFRESH_SECONDS = 2.0
"""Seconds between two reads of the journal; optuna-dashboard reads its storage no more often."""


class OptunaView:
    """Optuna study in memory storage that follows a sweep."""

    def __init__(self, folder: str) -> None:
        self.storage = InMemoryStorage()
        self._follower = Follower(folder)
        self._lock = threading.Lock()
        self._next = 0.0
        self._spec: SweepSpec | None = None
        self._study = -1
        self._ids: dict[str, int] = {}  # Optuna's ids of running trials
        # Number of times that each trial had begun anew when the study last showed the trial.
        self._shown: dict[str, int] = {}
        self._points: dict[str, int] = {}

    def refresh(self) -> None:
        """Adds what happened since the last call to the study.

        Raises:
            JournalError: the journal is damaged.
            OSError: the journal cannot be read.
        """
        with self._lock:
            if time.monotonic() < self._next:
                return
            before = self._follower.num_events
            self._follower.poll()
            history = self._follower.history
            if history is not None and self._follower.num_events != before:
                self._take(history)
            self._next = time.monotonic() + REFRESH_SECONDS

    def _take(self, history: SweepHistory) -> None:
        # True at the first call, and when the sweep goes on with other domains or weights.
        if history.spec is not self._spec:
            if self._spec is not None:
                self.storage.delete_study(self._study)
            self._spec = history.spec
            self._study = self.storage.create_new_study(
                [StudyDirection.MINIMIZE], study_name=history.first.name
            )
            self._ids, self._shown, self._points = {}, {}, {}
        for name, record in history.state.trials.items():
            anew = history.begun_anew.get(name, 0)
            if self._shown.get(name) != anew:
                if name in self._ids:  # the trial failed and began anew between two calls
                    self.storage.set_trial_state_values(self._ids.pop(name), TrialState.FAIL)
                self._shown[name] = anew
                trial = self.storage.create_new_trial(
                    self._study, template_trial=_trial(history, name, record)
                )
                if record.state == "running":
                    self._ids[name], self._points[name] = trial, len(record.points)
            elif name in self._ids:
                self._go_on(history, name, record)
        last = last_with_optimum(history.refits)
        attributes: dict[str, Any] = {
            "phase": phase_of(history),
            "stop": history.decision.reason if history.decision else "",
        }
        if last is not None and last.optimum is not None:
            attributes |= {
                "predicted optimum": last.optimum.mixture,
                "predicted loss": last.optimum.objective,
            }
            attributes |= {
                key.replace("_", " "): getattr(last.decision, key)
                for key in ("regret_expected", "regret_upper95")
            }
        for key, value in attributes.items():
            self.storage.set_study_user_attr(self._study, key, value)

    def _go_on(self, history: SweepHistory, name: str, record: TrialRecord) -> None:
        trial = self._ids[name]
        if len(record.points) > self._points[name]:
            self._points[name] = len(record.points)
            for step, value in _curve(history, record).items():
                self.storage.set_trial_intermediate_value(trial, step, value)
        if record.state != "running":
            for key, value in _attributes(history, name, record).items():
                self.storage.set_trial_user_attr(trial, key, value)
            state, final = _end(history, name, record)
            self.storage.set_trial_state_values(trial, state, None if final is None else [final])
            del self._ids[name], self._points[name]


def _trial(history: SweepHistory, name: str, record: TrialRecord) -> FrozenTrial:
    state, value = _end(history, name, record)
    domains = history.spec.domains.names
    return create_trial(
        state=state,
        value=value,
        params=dict(zip(domains, record.mixture.as_array(domains).tolist(), strict=True)),
        distributions=dict.fromkeys(domains, PROPORTION),
        user_attrs=_attributes(history, name, record),
        intermediate_values=_curve(history, record),
    )


def _end(history: SweepHistory, name: str, record: TrialRecord) -> tuple[TrialState, float | None]:
    """Returns state and value of a trial; an ended trial without a point is FAIL for Optuna."""
    if record.state == "running":
        return TrialState.RUNNING, None
    value = history.objective(name) if record.state == "finished" else None
    return (TrialState.FAIL if value is None else TrialState.COMPLETE), value


def _curve(history: SweepHistory, record: TrialRecord) -> dict[int, float]:
    """Returns {step: weighted loss}."""
    return {
        step: weighted_loss(
            losses, history.spec.weights, history.spec.objective, history.spec.goals
        )
        for step, losses in record.points.items()
    }


def _attributes(history: SweepHistory, name: str, record: TrialRecord) -> dict[str, Any]:
    """Returns a trial's description, and its last losses or its reason of failure."""
    attributes: dict[str, Any] = {
        "trial": name,
        "role": record.role,
        "reason": history.proposals[name].reason,
    }
    if history.spec.smaller:
        attributes["size"] = record.size
    if history.spec.shorter:
        attributes["steps"] = record.steps
    if record.state == "failed":
        attributes["failed"] = record.failure
    if record.state == "finished" and record.points:
        attributes |= {
            f"loss_{target}": loss for target, loss in record.points[max(record.points)].items()
        }
    return attributes


Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def dashboard(view: OptunaView) -> Application:
    """Makes optuna-dashboard's web application for a view: read-only, for browsers on this machine.

    Raises:
        SweepError: optuna-dashboard is not installed.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise SweepError(
            "optuna-dashboard is not installed; install it with: pip install 'bimix-sweep[watch]'"
        ) from error
    shown = wsgi(view.storage)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        host = str(environ.get("HTTP_HOST", "")).rpartition(":")[0]
        status = None
        # A page elsewhere may let its own host name resolve to this machine (DNS rebinding).
        if host not in (LOOPBACK, "localhost"):
            status, words = "403 Forbidden", f"asked for {host!r}; need {LOOPBACK} or localhost"
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, words = (
                "405 Method Not Allowed",
                "this study is a view of a sweep; it is not changed from here",
            )
        else:
            try:
                view.refresh()
            except (BimixSweepError, OSError) as error:
                status, words = "500 Internal Server Error", str(error)
        if status is None:
            answer: Iterable[bytes] = shown(environ, start_response)
            return answer
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [words.encode()]

    return application


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Logs nothing, because a browser asks every few seconds."""


@contextlib.contextmanager
def serve_study(folder: str, *, port: int) -> Iterator[str]:
    """Serves optuna-dashboard on the loopback interface until the block ends; yields its URL.

    Args:
        port: port number; 0 takes any free port.

    Raises:
        SweepError: the port is taken, or optuna-dashboard is not installed.
        JournalError: the journal is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    view = OptunaView(folder)
    view.refresh()
    application = dashboard(view)
    try:
        server = make_server(
            LOOPBACK, port, application, server_class=_Server, handler_class=_Quiet
        )
    except OSError as error:
        raise SweepError(
            f"port {port} cannot be listened at ({error.strerror or error}); give another with "
            "--port, 0 for any"
        ) from error
    with server:
        thread = threading.Thread(target=server.serve_forever, name="optuna-dashboard", daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}/dashboard/"
        finally:
            server.shutdown()
            thread.join()
