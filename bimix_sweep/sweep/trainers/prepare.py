"""Makes the trainer that a configuration names: built-in, a Python function or a command."""

from collections.abc import Callable

from bimix_sweep.config import CommandConfig, FunctionConfig, SweepConfig
from bimix_sweep.sweep.trainers.base import Trainer
from bimix_sweep.sweep.trainers.builtin import prepare_builtin


def prepare_trainer(config: SweepConfig, folder: str, say: Callable[[str], None]) -> Trainer:
    """Makes the trainer that the configuration names.

    Raises:
        DataError, ConfigError: the text, function or program of the trainer cannot be used.
    """
    from bimix_sweep.sweep.trainers.command import prepare_command
    from bimix_sweep.sweep.trainers.function import prepare_function

    if isinstance(config.trainer, CommandConfig):
        return prepare_command(config, config.trainer)
    if isinstance(config.trainer, FunctionConfig):
        return prepare_function(config, config.trainer)
    return prepare_builtin(config, folder, say)
