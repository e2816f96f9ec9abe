"""Python API of sweeps: run, resume, extend and report; `cluster.driver` does the work."""

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.sweep.cluster.connection import check_address
from bimix_sweep.sweep.cluster.driver import drive
from bimix_sweep.sweep.cluster.signals import Interrupt, stoppable
from bimix_sweep.sweep.cluster.tune_run import PreparedSweep
from bimix_sweep.sweep.config_change import Change, VersionChange
from bimix_sweep.sweep.config_staging import check_change, stage, stage_store, take_up
from bimix_sweep.sweep.extension import extension
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.retries import RetryFailed, retriable
from bimix_sweep.sweep.history.spec import sweep_spec
from bimix_sweep.sweep.jobs.job_file import check_shared
from bimix_sweep.sweep.results import write_page, write_results
from bimix_sweep.sweep.trainers.base import Prepare, Trainer
from bimix_sweep.sweep.trainers.prepare import prepare_trainer
from bimix_sweep.sweep.trainers.texts import check_texts, restore_store
from bimix_sweep.sweep.views.terminal import Progress
from bimix_sweep.sweep.views.tracking.beside import check_trackers, logged
from bimix_sweep.sweep.workspace.paths import CONFIG, begun, check_foreign, held, sweep_folder


def run_sweep(
    config: SweepConfig,
    *,
    out: str | Path | None = None,
    address: str | None = None,
    prepare: Prepare = prepare_trainer,
    progress: Progress | None = None,
) -> Recipe:
    """Runs a sweep to its end: proposals, confirmation trials, comparison, recipe and page.

    Args:
        config: the configuration of the sweep.
        out: the sweep's folder; default: the folder in the configuration.
        address: address of a Ray cluster; default: embedded Ray.
        prepare: function that makes the trainer; default: the built-in one.
        progress: view that shows the progress; default: on standard error.

    Returns:
        The recipe that the sweep recommends.

    Raises:
        SweepError: the folder already holds a sweep, another driver uses it, or too many
            consecutive trials failed.
        DataError: the text cannot be used; in this case nothing is left behind.
        KeyboardInterrupt: the sweep was stopped by Ctrl-C or SIGTERM; `resume_sweep` continues it.
    """

    folder = sweep_folder(out or config.out)
    check_address(address)
    config = config.anchored(Path.cwd())
    with _session(folder, address, prepare, progress) as session:
        if begun(folder):
            raise SweepError(
                f"{folder} holds a sweep already; go on with: bimix-sweep resume "
                f"{shlex.quote(folder)}"
            )
        check_foreign(folder)
        return session.begin(config)


def resume_sweep(
    folder: str | Path,
    *,
    config: SweepConfig | None = None,
    versions: VersionChange = "keep",
    retry_failed: RetryFailed = None,
    address: str | None = None,
    prepare: Prepare = prepare_trainer,
    progress: Progress | None = None,
) -> Recipe:
    """Continues a sweep after any stop, perhaps with a changed configuration.

    For a finished and unchanged sweep, the function writes the results again. Trials that failed
    for a cause outside their mixture run again (`history.retries`); in a complete sweep they run
    again only if `retry_failed` says so.

    Args:
        folder: path or URI of the sweep.
        config: the configuration to continue with; default: the folder's config.yaml, which may
            have been edited. `config_change` documents what may change.
        versions: what happens to trials on the old version of a domain whose `version` changed.
        retry_failed: which failed trials run again: a number is the largest number of trials that
            failed for a cause outside their mixture, 0 for none; "all" includes diverged trials.
            Default: those that the sweep still needs.
        address: address of a Ray cluster; default: embedded Ray.
        prepare: function that makes the trainer; default: the built-in one.
        progress: view that shows the progress; default: on standard error.

    Returns:
        The recipe that the sweep recommends.

    Raises:
        SweepError: the folder holds no sweep, another driver uses it, the data changed, or a part
            of the configuration changed that may not.
        JournalError: the journal is damaged.
        DataError: the text of an added domain cannot be used; in this case nothing has changed.
        KeyboardInterrupt: the sweep was stopped by Ctrl-C or SIGTERM; `resume_sweep` continues it.
    """
    folder = sweep_folder(folder)
    if not files.exists(locations.join(folder, CONFIG)):
        raise SweepError(f"{folder} holds no sweep (no {CONFIG}); start one with: bimix-sweep run")
    with _session(folder, address, prepare, progress) as session:
        if not begun(folder):
            config = config or SweepConfig.load(locations.join(folder, CONFIG))
            check_address(address)
            return session.begin(config)
        history = replay(folder)
        if history.elsewhere:
            raise SweepError(
                f"{folder}: this sweep's trials run elsewhere; go on with: bimix-sweep "
                f"propose {folder}"
            )
        change = take_up(folder, history, config, versions)
        retries = retry_failed is not None and retriable(history, retry_failed)
        if history.complete and not change.what and not retries:
            return write_results(folder, change.config)
        check_address(address)
        return session.go_on(history, change, retry_failed)


def extend_sweep(
    folder: str | Path,
    trials: int,
    *,
    retry_failed: RetryFailed = None,
    address: str | None = None,
    prepare: Prepare = prepare_trainer,
    progress: Progress | None = None,
) -> Recipe:
    """Continues a sweep, finished or not, with a budget of `trials` more trials.

    Args:
        folder: path or URI of the sweep.
        trials: number of additional trials.
        retry_failed, address, prepare, progress: the arguments of `resume_sweep`.

    Returns:
        The recipe that the sweep recommends.

    Raises:
        SweepError: `extension` or `resume_sweep` raises the error.
    """
    folder = sweep_folder(folder)
    return resume_sweep(
        folder,
        config=extension(folder, trials),
        retry_failed=retry_failed,
        address=address,
        prepare=prepare,
        progress=progress,
    )


def holds_sweep(folder: str | Path) -> bool:
    """Whether a sweep has begun in the folder.

    If so, `resume_sweep` continues it and `run_sweep` refuses the folder.
    """
    return begun(sweep_folder(folder))


def write_sweep_report(folder: str | Path) -> str:
    """Writes the page of a sweep, running or finished, again.

    Returns:
        Path or URI of the page.

    Raises:
        SweepError: the folder holds no sweep, or its configuration changed since it began.
        JournalError: the journal is damaged.
    """
    folder = sweep_folder(folder)
    if not files.exists(locations.join(folder, CONFIG)):
        raise SweepError(f"{folder} holds no sweep (no {CONFIG})")
    return write_page(folder, SweepConfig.load(locations.join(folder, CONFIG)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """What one call drives a sweep with; the call holds the sweep's folder."""

    folder: str
    address: str | None
    prepare: Prepare
    shown: Progress
    interrupt: Interrupt

    def begin(self, config: SweepConfig) -> Recipe:
        """Prepares the trainer, writes the configuration and runs a sweep from its beginning."""
        check_trackers(config.tracking)
        trainer = self.prepare(config, self.folder, self.shown.say)
        spec = sweep_spec(config, trainer.facts)
        files.write_text(
            locations.join(self.folder, CONFIG),
            config.model_copy(update={"out": self.folder}).to_yaml(),
        )
        return self._drive(config, trainer, spec)

    def go_on(self, history: SweepHistory, change: Change, retry_failed: RetryFailed) -> Recipe:
        """Prepares a change and the trainer, and continues a sweep that has begun."""
        folder, config, say = self.folder, change.config, self.shown.say
        check_trackers(config.tracking)
        if history.first.data.get("store") is not None:
            restore_store(folder, history, say)
            check_texts(folder, config, change.added, say)
        stage_store(folder, change, say)
        trainer = self.prepare(config, folder, say)
        spec = sweep_spec(config, trainer.facts)
        if change.what:
            check_change(history, change, spec, trainer.facts.data)
            stage(folder, change)
        return self._drive(config, trainer, spec, change, retry_failed)

    def _drive(
        self,
        config: SweepConfig,
        trainer: Trainer,
        spec: SweepSpec,
        change: Change | None = None,
        retry_failed: RetryFailed = None,
    ) -> Recipe:
        """Runs the prepared sweep, and logs it to its trackers meanwhile."""
        sweep = PreparedSweep(config=config, folder=self.folder, trainer=trainer, spec=spec)
        with logged(self.folder, config.tracking, self.shown.say):
            return drive(sweep, self.address, self.shown, self.interrupt, change, retry_failed)


@contextlib.contextmanager
def _session(
    folder: str, address: str | None, prepare: Prepare, progress: Progress | None
) -> Iterator[_Session]:
    """Shows the progress, handles signals and holds the folder for one call."""
    with (
        progress or Progress() as shown,
        stoppable(shown, lambda: _how_to_go_on(folder)) as interrupt,
        held(folder, shown.say),
    ):
        check_shared(folder, shown.say)
        yield _Session(
            folder=folder, address=address, prepare=prepare, shown=shown, interrupt=interrupt
        )


def _how_to_go_on(folder: str) -> str:
    if files.exists(locations.join(folder, CONFIG)):
        return f"go on with: bimix-sweep resume {shlex.quote(folder)}"
    return "the sweep had not begun, so start it again as before"
