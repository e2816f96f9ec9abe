"""Commands that run, resume and extend a sweep, and write its page and its schema."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from bimix_sweep.commands.common import (
    Address,
    JsonFlag,
    RetryFlag,
    print_json,
    print_recipe,
)


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demo's sweep; must be new.")] = Path(
        "runs/demo"
    ),
    slots: Annotated[
        int | None, typer.Option(min=1, help="Trainings at a time; default: one a core.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Everything random follows from it.")
    ] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Run a whole small sweep on this machine, in minutes.

    The demo trains real proxies on real text of this machine with an embedded Ray, and writes a
    recipe and a page. It takes minutes on 2 cores.
    """
    from bimix_sweep.sweep.preflight.demo import run_demo

    print_recipe(run_demo(out, slots=slots, seed=seed), out, as_json)


def run(
    config: Annotated[Path, typer.Argument(help="sweep.yaml")],
    address: Address = None,
    out: Annotated[
        str | None, typer.Option(help="Folder of the sweep, instead of the file's `out`.")
    ] = None,
    go_on: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the sweep where that folder holds one, for schedulers that start a "
            "job again.",
        ),
    ] = False,
    retry_failed: RetryFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a sweep to its end, here or on a cluster."""
    with _early_stop_told():
        from bimix_sweep.config import SweepConfig

        loaded = SweepConfig.load(config)
        folder = out or loaded.out
        typer.echo(f"{loaded.name}: starting in {folder}", err=True)
        from bimix_sweep.sweep.api import holds_sweep, resume_sweep, run_sweep

        if go_on and holds_sweep(folder):
            recipe = resume_sweep(folder, config=loaded, retry_failed=retry_failed, address=address)
        else:
            recipe = run_sweep(loaded, out=out, address=address)
    print_recipe(recipe, folder, as_json)


def resume(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The sweep's folder.")],
    config: Annotated[
        Path | None,
        typer.Option(
            help="Go on with this changed configuration; default: DIR/config.yaml, edited or not."
        ),
    ] = None,
    version_change: Annotated[
        Literal["keep", "drop"],
        typer.Option(
            help="Trainings on a domain's old version: kept as evidence under a name of their own, "
            "or dropped."
        ),
    ] = "keep",
    retry_failed: RetryFlag = None,
    address: Address = None,
    as_json: JsonFlag = False,
) -> None:
    """Resume a sweep after any stop or change.

    Finished trials are kept, running trials continue from their checkpoint, and trials that failed
    for a cause outside their mixture are tried again.
    """
    with _early_stop_told():
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
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The sweep's folder.")],
    runs: Annotated[int, typer.Option(min=1, max=10**6, help="Trainings to add to budget.trials.")],
    retry_failed: RetryFlag = None,
    address: Address = None,
    as_json: JsonFlag = False,
) -> None:
    """Continue a sweep with a larger budget.

    The sweep may be finished or not; its earlier trials are kept.
    """
    with _early_stop_told():
        from bimix_sweep.sweep.api import extend_sweep

        recipe = extend_sweep(folder, runs, retry_failed=retry_failed, address=address)
    print_recipe(recipe, folder, as_json)


@contextlib.contextmanager
def _early_stop_told() -> Iterator[None]:
    """Print what to do after a Ctrl-C that comes before the driver handles signals.

    From then on the driver itself prints how to resume the sweep.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        if error.__cause__ is None:
            typer.echo("stopped before anything was begun; start it again as before", err=True)
        raise


def report(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The sweep's folder.")],
    as_json: JsonFlag = False,
) -> None:
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
