"""The driver: runs a sweep from the state in its journal to the results.

A first start, a restart after a crash or a stop, and a resume take the same path. The journal is
the only record. A driver opens the data, reads the journal through the LawActor, and gives Tune a
new experiment. The experiment's searcher first asks for the unfinished trials, which go on from
their checkpoints; finished trials are not run again. The driver deliberately does not use
`Tuner.restore`, because its snapshots lag behind, nor Optuna storage as a record, because the study
is computed from the journal.
"""

import contextlib
import hashlib
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bimix_sweep.design.initial_design import moved_references, too_few
from bimix_sweep.errors import BimixSweepError, SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.sweep.cluster.actor_start import close_actor, start_actor
from bimix_sweep.sweep.cluster.signals import Interrupt
from bimix_sweep.sweep.cluster.tune_run import PreparedSweep, run_tune
from bimix_sweep.sweep.config_change import Change
from bimix_sweep.sweep.config_staging import settle
from bimix_sweep.sweep.history.attempts import AttemptLimits
from bimix_sweep.sweep.history.retries import RetryFailed
from bimix_sweep.sweep.history.spec import first_event
from bimix_sweep.sweep.results import write_results
from bimix_sweep.sweep.views.terminal import Progress

if TYPE_CHECKING:
    from bimix_sweep.sweep.cluster.connection import Cluster
    from bimix_sweep.sweep.cluster.lifeline import Lifeline
    from bimix_sweep.sweep.cluster.slots import Slots

SNAPSHOT_SECONDS = 1.0
"""Seconds between two snapshots of the sweep for the progress view."""
ANSWER_SECONDS = 10.0
"""Seconds that the LawActor may take for a snapshot."""
NOTE_SECONDS = 60.0
"""Seconds after which the user is told what the sweep waits for."""


def drive(
    sweep: PreparedSweep,
    address: str | None,
    progress: Progress,
    interrupt: Interrupt,
    change: Change | None = None,
    retry_failed: RetryFailed = None,
) -> Recipe:
    """Runs a sweep from the state of its journal to the results, and returns the recipe.

    Args:
        sweep: the sweep, with its trainer already prepared.
        address: address of the Ray cluster; None for embedded Ray.
        progress: the progress view, which also shows messages.
        interrupt: the handler of Ctrl-C and SIGTERM.
        change: a change of the sweep, which is made first; None without one.
        retry_failed: which failed trials to try again, as `resume_sweep` takes it.

    Raises:
        KeyboardInterrupt: a signal stopped the sweep.
        BimixSweepError: the sweep could not start or go on; the message says why.
    """
    from bimix_sweep.sweep.cluster.connection import cluster
    from bimix_sweep.sweep.cluster.lifeline import lifeline
    from bimix_sweep.sweep.cluster.worker_check import check_loadable

    spec, resources = sweep.spec, sweep.config.resources
    if warning := too_few(len(spec.domains), len(spec.fidelities), spec.max_trials):
        progress.say(f"warning: {warning}")
    if note := moved_references(spec.domains):
        progress.say(note)
    facts = sweep.trainer.facts
    for note in sweep.config.stated_mixtures(dict(facts.domain_tokens), facts.entropy).notes:
        progress.say(f"note: {note}")
    with (
        cluster(address, resources) as connected,
        _storage_errors(sweep.folder),
        lifeline(address, sweep.folder, interrupt.fail) as line,
        _ray_errors(sweep.folder, line, interrupt),
    ):
        interrupt.install()  # Ray has replaced the handler of SIGTERM
        check_loadable(sweep.trainer, resources, progress.say)
        name = f"law-{hashlib.blake2b(sweep.folder.encode(), digest_size=8).hexdigest()}"
        actor = _begin(sweep, name, connected, change)
        try:
            return _finish(sweep, name, actor, connected, progress, interrupt, retry_failed)
        except KeyboardInterrupt:
            close_actor(actor)
            raise


def _begin(sweep: PreparedSweep, name: str, connected: "Cluster", change: Change | None) -> Any:
    """Starts the LawActor, which writes the first event or the change, and returns its handle."""
    resources = sweep.config.resources
    first = first_event(sweep.config, sweep.trainer.facts.data, sweep.spec, connected.slots())
    event = change.event(first) if change else None
    limits = AttemptLimits(max_silence=resources.max_silence, max_hours=resources.max_hours)
    actor = start_actor(name, sweep.folder, first, event, limits)
    if event is not None:
        settle(sweep.folder, event)
    return actor


def _finish(
    sweep: PreparedSweep,
    name: str,
    actor: Any,
    connected: "Cluster",
    progress: Progress,
    interrupt: Interrupt,
    retry_failed: RetryFailed,
) -> Recipe:
    """Runs the trials that are left, writes the results and closes the actor.

    Args:
        sweep: the sweep.
        name: name of its LawActor.
        actor: handle of its LawActor.
        connected: the cluster.
        progress: the progress view.
        interrupt: the handler of Ctrl-C and SIGTERM.
        retry_failed: which failed trials to try again, as `resume_sweep` takes it.
    """
    from bimix_sweep.sweep.cluster.actor_client import ask

    if connected.dashboard:
        progress.say(
            f"{connected.slots()} trials at a time; Ray dashboard at {connected.dashboard}"
        )
    ask(actor.retry.remote(ask(actor.retriable.remote(retry_failed))))
    past = ask(actor.past.remote())
    if past:
        running = sum(trial.state == "running" for trial in past)
        progress.say(f"{len(past) - running} trials are over and kept, {running} go on")
    with _watching(sweep.folder, actor, connected.slots, progress):
        run_tune(sweep, name, connected.slots, past, interrupt)
    recipe = write_results(sweep.folder, sweep.config)
    ask(actor.complete.remote())
    for note in ask(actor.left_out.remote()):
        progress.say(note)
    ask(actor.close.remote())
    return recipe


@contextlib.contextmanager
def _storage_errors(folder: str) -> Iterator[None]:
    """Turns a failure of the storage, met by Tune or by the results, into an error of one line.

    Raises:
        SweepError: the storage failed.
    """
    try:
        yield
    except (ConnectionError, TimeoutError):  # an error of Ray, not of the storage
        raise
    except OSError as error:
        raise SweepError(
            f"{folder} cannot be used ({error.strerror or error}); make room or mend it, and go on "
            f"with: bimix-sweep resume {shlex.quote(folder)}"
        ) from error


@contextlib.contextmanager
def _ray_errors(folder: str, line: "Lifeline", interrupt: Interrupt) -> Iterator[None]:
    """Turns an error of Ray that no caller could handle into an error of one line.

    Raises:
        SweepError: the message says what died, or repeats the first line of Ray's message.
    """
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except (RayError, ConnectionError, RuntimeError) as error:
        interrupt.check()  # the signal to this process may have ended Ray's processes, too
        failure = line.broken()
        if failure is None:
            if not isinstance(error, RayError) or isinstance(error, RayTaskError):
                raise
            first_line = next(iter(str(error).splitlines()), "")
            failure = SweepError(
                f"Ray ended the sweep ({type(error).__name__}: {first_line}); go on with: "
                f"bimix-sweep resume {shlex.quote(folder)}"
            )
        interrupt.fail(failure, wake=False)  # calls to the remaining Ray processes may block
        raise failure from error


class Wait:
    """Tells the user once when a wait has lasted for `NOTE_SECONDS`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._since: float | None = None
        self._told = False

    def update(self, waits_for: str) -> None:
        """Takes what the sweep waits for now, in words; empty where it does not wait."""
        if not waits_for:
            self._since, self._told = None, False
            return
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if not self._told and now - self._since >= NOTE_SECONDS:
            self._told = True
            self._say(f"note: {waits_for}, for {now - self._since:.0f} s now")


@contextlib.contextmanager
def _watching(folder: str, actor: Any, slots: "Slots", progress: Progress) -> Iterator[None]:
    """Updates the progress view from a thread while the main thread is in Tune.

    The thread also tells what the sweep waits for without an end.
    """
    from ray.exceptions import GetTimeoutError, RayError

    from bimix_sweep.sweep.cluster.actor_client import ask

    over = threading.Event()
    silence, shortage = Wait(progress.say), Wait(progress.say)

    def poll() -> None:
        while not over.wait(SNAPSHOT_SECONDS):
            silent = ""
            # The main thread meets the same error and reports it.
            with contextlib.suppress(RayError, BimixSweepError):
                try:
                    progress.show(ask(actor.snapshot.remote(), timeout=ANSWER_SECONDS))
                except GetTimeoutError:
                    silent = f"the sweep waits for its LawActor, which may wait for {folder}"
                slots()
            silence.update(silent)
            needs = slots.shortage
            shortage.update(needs and f"no node holds a trial; the sweep waits for {needs}")

    thread = threading.Thread(target=poll, name="progress", daemon=True)
    thread.start()
    try:
        yield
        progress.show(ask(actor.snapshot.remote()))
    finally:
        over.set()
        thread.join(timeout=5)
