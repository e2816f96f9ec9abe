"""Command line of bimix-sweep: registers the commands and turns errors into exit codes.

Each command reads its arguments, calls one function of a lower layer and prints the result.
No command computes a result itself.
"""

import os
import select
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bimix_sweep.commands.command_classes import OneThread, WithTrainers
from bimix_sweep.commands.interrupts import keeping_interrupts
from bimix_sweep.commands.laws.ask import ask
from bimix_sweep.commands.laws.compare import compare
from bimix_sweep.commands.laws.export import export
from bimix_sweep.commands.laws.fit import fit
from bimix_sweep.commands.laws.optimum import optimum
from bimix_sweep.commands.laws.predict import predict
from bimix_sweep.commands.laws.replay import replay
from bimix_sweep.commands.laws.table import table
from bimix_sweep.commands.sweeps import jobs, running, setup
from bimix_sweep.commands.sweeps.entropy import entropy
from bimix_sweep.commands.sweeps.explain import explain
from bimix_sweep.commands.sweeps.log import log
from bimix_sweep.commands.sweeps.plan import plan
from bimix_sweep.commands.sweeps.propose import propose
from bimix_sweep.commands.sweeps.record import record
from bimix_sweep.errors import BimixSweepError
from bimix_sweep.text import printable

BROKEN_PIPE = 141
"""Exit code where the reader of standard output is gone (`| head`): that of a program that SIGPIPE
ends."""


def _nobody_reads() -> bool:
    """Tells whether the reader of standard output is gone; then nothing more is written there."""
    poll = select.poll()
    poll.register(1)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return True


class _OneLineErrors(TyperGroup):
    """Group of commands that ends bad input with one message and an exit code.

    The message of an error goes to standard error and the exit code is 1. Ctrl-C gives exit code
    130; a sweep has printed by then how to resume it. A reader of standard output that ends early
    (`| head`) is no error.
    """

    # typer passes its own subclass of click.Context to a group
    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            with keeping_interrupts():
                return super().invoke(ctx)
        except typer.BadParameter as error:
            # the library that parses options puts this prefix before the message
            error.message = error.message.removeprefix("Value error, ")
            raise
        except BimixSweepError as error:
            for line in str(error).splitlines():
                typer.echo(f"error: {printable(line)}", err=True)
            raise typer.Exit(1) from error
        except OSError as error:
            if isinstance(error, BrokenPipeError) and _nobody_reads():
                raise typer.Exit(BROKEN_PIPE) from error
            typer.echo(
                printable(f"error: {error.filename or 'input/output'}: {error.strerror or error}"),
                err=True,
            )
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=_OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Choose the data mixture of a pretraining run with a sweep of small proxy trials and a "
    "mixing law.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"bimix-sweep {version('bimix-sweep')}")
        raise typer.Exit


@app.callback()
def _main(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


_CLASSES = {
    export: WithTrainers,
    **dict.fromkeys(
        (
            fit,
            predict,
            ask,
            compare,
            explain,
            optimum,
            replay,
            propose,
            record,
            running.report,
        ),
        OneThread,
    ),
}
for _command in (
    running.demo,
    setup.init,
    setup.doctor,
    setup.prepare,
    running.schema,
    plan,
    entropy,
    running.run,
    running.resume,
    running.extend,
    jobs.submit,
    jobs.stop,
    jobs.status,
    jobs.watch,
    explain,
    log,
    propose,
    record,
    table,
    fit,
    ask,
    compare,
    predict,
    optimum,
    replay,
    export,
    running.report,
):
    app.command(cls=_CLASSES.get(_command))(_command)
