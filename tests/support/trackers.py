"""A tracker in memory, sweeps to log, and packages that stand for a tracker's client."""

from pathlib import Path

from bimix_sweep.config import MlflowConfig, SweepConfig
from bimix_sweep.sweep.results import write_results
from tests.support.in_process import config, open_sweep, run

CONFIG = MlflowConfig(uri="http://nowhere")


class Recorder:
    """Takes runs as a tracker does; `failures` holds what each call does instead."""

    def __init__(self):
        self.place = "memory"
        self.calls, self.runs, self.num_closed = [], {}, 0
        self.failures = iter(())

    def connect(self, name, config, folder):
        return self

    def send(self, run):
        failure = next(self.failures, None)
        if isinstance(failure, Exception):
            raise failure
        if failure is not None:
            failure()
        self.calls.append(run)
        self.runs[run.id] = run

    def close(self):
        self.num_closed += 1

    def named(self, name):
        [found] = [run for run in self.runs.values() if run.name == name]
        return found


def complete(folder: Path, given=None):
    """Runs a planted sweep to its recipe."""
    actor = open_sweep(folder, given or config(trials=4))
    actor.complete, completed = lambda: None, actor.complete
    run(actor)
    write_results(str(folder), SweepConfig.load(folder / "config.yaml"))
    completed()
    actor.close()
