"""Run a sweep, go on with one, write its page: what commands and Python users call; `driver` does it."""

from pathlib import Path

from bimix_sweep import files
from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import ConfigError, SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.sweep.driver import drive, sweep_spec
from bimix_sweep.sweep.folder import CONFIG, begun, held
from bimix_sweep.sweep.history import replay
from bimix_sweep.sweep.interrupt import stoppable
from bimix_sweep.sweep.jobs import check_shared
from bimix_sweep.sweep.progress import Progress
from bimix_sweep.sweep.results import write_page, write_results
from bimix_sweep.sweep.trainers import Prepare, prepare_builtin


def run_sweep(
    config: SweepConfig, *, out: str | Path | None = None, address: str | None = None, prepare: Prepare = prepare_builtin,
    progress: Progress | None = None,
) -> Recipe:  # fmt: skip
    """Run a sweep to its end: proposals, final trainings, comparison, recipe and page.

    Args:
        config: what to find.
        out: the sweep's folder, instead of the configuration's.
        address: of a Ray cluster; default: embedded Ray.
        prepare: makes the trainer; default: the built-in one.
        progress: shows how it goes; default: on standard error.

    Raises:
        SweepError: the folder holds a sweep already, another driver uses it, or too many trainings in a row failed.
        DataError: the text can't be used; nothing is left behind then.
        KeyboardInterrupt: it was stopped by Ctrl-C or SIGTERM; `resume_sweep` goes on.
    """
    from bimix_sweep.sweep.cluster import check_address

    folder = _local(out or config.out)
    check_address(address)
    config = config.anchored(Path.cwd())
    with progress or Progress() as shown, stoppable(shown, lambda: _how_to_go_on(folder)) as interrupt, held(folder):
        check_shared(str(folder), shown.say)
        if begun(folder):
            raise SweepError(f"{folder} holds a sweep already; go on with: bimix-sweep resume {folder}")
        _check_foreign(folder)
        trainer = prepare(config, folder, shown.say)
        spec = sweep_spec(config, trainer)
        files.write_text(folder / CONFIG, config.model_copy(update={"out": str(folder)}).to_yaml())
        return drive(config, folder, trainer, spec, address, shown, interrupt)


def resume_sweep(
    folder: str | Path, *, address: str | None = None, prepare: Prepare = prepare_builtin, progress: Progress | None = None
) -> Recipe:
    """Go on with a sweep after any stop; of a finished one, write the results anew.

    Raises:
        SweepError: the folder holds no sweep, another driver uses it, or configuration or data changed since it began.
        JournalError: its record is damaged.
        KeyboardInterrupt: as for `run_sweep`.
    """
    from bimix_sweep.sweep.cluster import check_address

    folder = _local(folder)
    if not (folder / CONFIG).exists():
        raise SweepError(f"{folder} holds no sweep (no {CONFIG}); start one with: bimix-sweep run")
    config = SweepConfig.load(folder / CONFIG)
    with progress or Progress() as shown, stoppable(shown, lambda: _how_to_go_on(folder)) as interrupt, held(folder):
        check_shared(str(folder), shown.say)
        if begun(folder) and replay(folder).complete:
            return write_results(folder, config)
        check_address(address)
        trainer = prepare(config, folder, shown.say)
        return drive(config, folder, trainer, sweep_spec(config, trainer), address, shown, interrupt)


def holds_sweep(folder: str | Path) -> bool:
    """A sweep was begun in the folder, so `resume_sweep` goes on with it and `run_sweep` refuses."""
    return begun(_local(folder))


def write_sweep_report(folder: str | Path) -> Path:
    """Write the page of a sweep, running or finished, anew.

    Raises:
        SweepError: the folder holds no sweep, or its configuration changed since it began. JournalError: its record is damaged.
    """
    folder = _local(folder)
    if not (folder / CONFIG).exists():
        raise SweepError(f"{folder} holds no sweep (no {CONFIG})")
    return write_page(folder, SweepConfig.load(folder / CONFIG))


def _check_foreign(folder: Path) -> None:
    """A configuration left by a driver that ended before its sweep began may be overwritten, a file of the user's may not.

    Raises:
        SweepError: what lies there was not written for this folder.
    """
    path = folder / CONFIG
    try:
        ours = not path.exists() or Path(SweepConfig.load(path).out) == folder
    except ConfigError:
        ours = False
    if not ours:
        raise SweepError(f"{path} is not of a sweep in this folder and would be overwritten; take another folder, or move the file away")


def _how_to_go_on(folder: Path) -> str:
    if (folder / CONFIG).exists():
        return f"go on with: bimix-sweep resume {folder}"
    return "the sweep had not begun, so start it again as before"


def _local(folder: str | Path) -> Path:
    """The sweep's folder as an absolute path."""
    if files.is_uri(folder):
        raise SweepError(f"{folder} is not a local folder; this version keeps a sweep in a folder, on a shared filesystem for a cluster")
    return Path(folder).absolute()
