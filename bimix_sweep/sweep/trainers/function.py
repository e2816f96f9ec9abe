"""Trainer `module:function`: calls a Python function of the user's for each trial.

The function is called with mixture, report and context.
"""

import importlib
import json
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimix_sweep.config import FunctionConfig, SweepConfig
from bimix_sweep.errors import BimixSweepError, ConfigError, TrainingError
from bimix_sweep.sweep.trainers.base import Report, TrialJob
from bimix_sweep.sweep.trainers.user_trainer import Points, UserTrainer, configured_fields
from bimix_sweep.sweep.workspace.redaction import masked

CHECK_SECONDS = 120
"""Seconds allowed for one import of the function's module, before the sweep begins."""
CHECK = """
import importlib, inspect, json, sys
order = json.loads(sys.argv[1])
sys.path[:0] = order["path"]
try:
    module = importlib.import_module(order["module"])
except BaseException as error:
    sys.exit(f"its module cannot be imported ({type(error).__name__}: {error})")
function = getattr(module, order["name"], None)
if not callable(function):
    sys.exit(f"module {order['module']} ({getattr(module, '__file__', '')}) \
has no function {order['name']}")
try:
    inspect.signature(function).bind("mixture", "report", "context")
except TypeError as error:
    sys.exit(f"it cannot be called with mixture, report and context ({error})")
except ValueError:
    pass
"""


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """What a trainer function receives about a trial besides its mixture."""

    trial: str
    """Name of the trial."""
    steps: int
    """Optimizer steps of this trial; the function must report a point at the last step."""
    eval_steps: tuple[int, ...]
    """Steps at which points help the law most; points at other steps are accepted too."""
    size: float
    """Non-embedding parameters to train: those of this trial, where `proxy.sizes` has several."""
    seed: int
    """Seed from which all randomness should follow.

    Trials of different mixtures have equal seeds, so that random effects cancel between them.
    """
    domains: Mapping[str, Mapping[str, Any]]
    """{domain: `path`, `tokens` (available to the final run) and `subsample` (tokens this trial may
    see)}; a value that is not known is None.
    """
    targets: Mapping[str, Mapping[str, Any]]
    """{target: `domain` (the domain whose validation split it is), `path` and `unit`}."""
    proxy: Mapping[str, Any]
    """`context` (tokens of one sequence) and `batch` (sequences of one step), as the configuration
    states them.
    """
    tokenizer: Mapping[str, Any] | None
    """`path` and `end_of_text` (None: to be found) of the tokenizer; None where none is stated."""
    checkpoint_dir: Path
    """Folder of this trial alone, kept until the trial is over: the next attempt finds there what
    an interrupted attempt saved.
    """
    recorded: tuple[int, ...]
    """Steps recorded by earlier attempts; a second report of such a step changes nothing."""
    preempted: threading.Event
    """Set when the node is about to be taken away: save to `checkpoint_dir` and raise
    `bimix_sweep.errors.TryAgainError`.
    """


@dataclass(frozen=True, kw_only=True)
class FunctionTrainer(UserTrainer):
    """Imports the user's function on the worker and calls it for each trial."""

    function: str
    folder: str

    def train(self, job: TrialJob, report: Report) -> None:
        """Calls the function for one mixture and records the points that it reports.

        Raises:
            TrainingError: the function ended its process, or returned without the last point.
            Any exception that the function raises.
        """
        module, _, name = self.function.partition(":")
        points = Points(self, job, report)
        job.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        try:
            if self.folder not in sys.path and Path(self.folder).is_dir():
                sys.path.insert(0, self.folder)
            function = getattr(importlib.import_module(module), name)
            function(
                job.mixture.as_dict(),
                points.take,
                TrainingContext(
                    trial=job.trial,
                    steps=self.steps_of(job),
                    eval_steps=self.eval_steps_of(job),
                    size=self.size_of(job),
                    seed=job.seed,
                    domains=self.domains,
                    targets=self.targets,
                    proxy=self.proxy,
                    tokenizer=self.tokenizer,
                    checkpoint_dir=job.checkpoint_dir,
                    recorded=job.recorded,
                    preempted=job.preempted,
                ),
            )
        except SystemExit as error:
            raise TrainingError(
                f"{self.function} ended its process ({error}); need it to return or to raise"
            ) from error
        except BimixSweepError:
            raise
        except Exception:
            job.say(traceback.format_exc())
            raise
        points.check_whole(f"{self.function} returned")


def prepare_function(config: SweepConfig, trainer: FunctionConfig) -> FunctionTrainer:
    """Makes the trainer after a test import of the function in a separate process.

    The separate process keeps the driver small and its interpreter state unchanged.

    Raises:
        ConfigError: there is no such module or function, or the function cannot be called with
            mixture, report and context.
    """
    module, _, name = trainer.function.partition(":")
    folder = str(Path(trainer.folder).expanduser().absolute())
    order = json.dumps(
        {"path": [folder, str(Path.cwd()), *sys.path], "module": module, "name": name}
    )
    what = f"trainer {trainer.function}"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", CHECK, order],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CHECK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"{what}: its module was not imported in {CHECK_SECONDS} seconds; need work only "
            "inside the function"
        ) from error
    if tried.returncode:
        reason = " ".join(
            (tried.stderr.strip() or f"its process ended with {tried.returncode}").splitlines()[-1:]
        )
        raise ConfigError(
            masked(
                f"{what}: {reason}; modules are looked for in {folder}, the current folder and "
                "what is installed"
            )
        )
    return FunctionTrainer(
        function=trainer.function,
        folder=folder,
        **configured_fields(config, {"function": trainer.function}),
    )
