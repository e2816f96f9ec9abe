import os
import signal

import pytest
import typer
from typer.testing import CliRunner

from bimix_sweep import cli
from bimix_sweep.commands.interrupts import keeping_interrupts


def losing(error):
    """Loses a Ctrl-C and raises this error instead, as the import of a module in C does."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise error from None


@pytest.mark.parametrize("error", [ImportError("initialization failed"), ValueError("odd")])
def test_an_error_after_a_lost_ctrl_c_is_an_interrupt(error):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), keeping_interrupts():
        losing(error)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_without_a_ctrl_c_is_that_error():
    with pytest.raises(ImportError, match="no module"), keeping_interrupts():
        raise ImportError("no module")


def test_a_command_that_loses_a_ctrl_c_ends_with_130():
    app = typer.Typer(cls=cli._OneLineErrors)

    @app.command()
    def first():
        losing(ImportError("initialization failed"))

    @app.command()
    def second():
        pass

    assert CliRunner().invoke(app, ["first"]).exit_code == 130
    assert CliRunner().invoke(app, ["second"]).exit_code == 0
