"""Commands that run, resume and extend a sweep, and write its page and its schema."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from bimix_sweep.commands.interrupts import keeping_interrupts
from bimix_sweep.commands.options import (
    Address,
    ChangedConfig,
    ConfigFile,
    JsonFlag,
    OutFolder,
    RetryFailed,
    Seed,
    Slots,
    SweepFolder,
    VersionChange,
)
from bimix_sweep.commands.printing import print_json, print_progress, print_recipe

DemoFolder = Annotated[
    Path, typer.Option(help="Folder of the demo's sweep; it must be new or empty.")
]
ResumeFlag = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Resume the sweep where that folder holds one, for schedulers that start a job again.",
    ),
]
MoreTrials = Annotated[
    int, typer.Option(min=1, max=10**6, help="Number of trials to add to budget.trials.")
]


def demo(
    out: DemoFolder = Path("runs/demo"),
    slots: Slots = None,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Run a whole small sweep on this machine, in minutes.

    The demo trains real proxies on real text of this machine with an embedded Ray, and writes a
    recipe and a page. It takes minutes on 2 cores.
    """
    from bimix_sweep.sweep.preflight.demo import run_demo

    print_recipe(run_demo(out, slots=slots, seed=seed), out, as_json)


def run(
    config: ConfigFile,
    address: Address = None,
    out: OutFolder = None,
    resume_existing: ResumeFlag = False,
    retry_failed: RetryFailed = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a sweep to its end, here or on a cluster."""
    with _explain_early_interrupt():
        from bimix_sweep.config import SweepConfig

        loaded = SweepConfig.load(config)
        folder = out or loaded.out
        print_progress(f"{loaded.name}: starting in {folder}")
        from bimix_sweep.sweep.api import holds_sweep, resume_sweep, run_sweep

        if resume_existing and holds_sweep(folder):
            recipe = resume_sweep(folder, config=loaded, retry_failed=retry_failed, address=address)
        else:
            recipe = run_sweep(loaded, out=out, address=address)
    print_recipe(recipe, folder, as_json)


def resume(
    folder: SweepFolder,
    config: ChangedConfig = None,
    version_change: VersionChange = "keep",
    retry_failed: RetryFailed = None,
    address: Address = None,
    as_json: JsonFlag = False,
) -> None:
    """Resume a sweep after any stop or change.

    Finished trials are kept, running trials continue from their checkpoint, and trials that failed
    for a cause outside their mixture are tried again.
    """
    with _explain_early_interrupt():
        from bimix_sweep.config import SweepConfig
        from bimix_sweep.sweep.api import resume_sweep

        changed = SweepConfig.load(config) if config else None
        recipe = resume_sweep(
            folder,
            config=changed,
            versions=version_change,
            retry_failed=retry_failed,
            address=address,
        )
    print_recipe(recipe, folder, as_json)


def extend(
    folder: SweepFolder,
    trials: MoreTrials,
    retry_failed: RetryFailed = None,
    address: Address = None,
    as_json: JsonFlag = False,
) -> None:
    """Continue a sweep with a larger budget.

    The sweep may be finished or not; its earlier trials are kept.
    """
    with _explain_early_interrupt():
        from bimix_sweep.sweep.api import extend_sweep

        recipe = extend_sweep(folder, trials, retry_failed=retry_failed, address=address)
    print_recipe(recipe, folder, as_json)


@contextlib.contextmanager
def _explain_early_interrupt() -> Iterator[None]:
    """Print what to do after a Ctrl-C that comes before the sweep's driver handles signals.

    From then on the driver itself prints how to resume the sweep.
    """
    try:
        with keeping_interrupts():
            yield
    except KeyboardInterrupt as error:
        if error.__cause__ is None:
            print_progress("stopped before the sweep began; start it again with the same command")
        raise


def report(folder: SweepFolder, as_json: JsonFlag = False) -> None:
    """Write the page of a sweep again.

    The sweep may be running or finished; the page is DIR/report.html.
    """
    from bimix_sweep.sweep.api import write_sweep_report

    written = write_sweep_report(folder)
    if as_json:
        print_json({"report": written})
        return
    typer.echo(f"wrote {written}")


def schema() -> None:
    """Print the JSON Schema of sweep.yaml.

    The schema gives each key, its meaning and its default.
    """
    from bimix_sweep.config import SweepConfig

    print_json(SweepConfig.model_json_schema())
