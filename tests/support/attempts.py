"""One attempt of a trial with a trainer that a user brings, without Ray."""

import json
import threading

from bimix_sweep.config import SweepConfig
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.trainers.base import TrialJob
from bimix_sweep.sweep.trainers.prepare import prepare_trainer
from bimix_sweep.sweep.workspace.trial_log import TrialLog

POINT = json.dumps({"step": 8, "losses": {"web": 2.0, "code": 3.0}})


class Attempt:
    """A trial of a user's trainer in a folder of its own."""

    def __init__(self, folder, trainer, **config):
        self.folder = folder
        content = {
            "domains": {"web": {}, "code": {"tokens": 1e9}},
            "proxy": {"steps": 8},
            "trainer": trainer,
        } | config
        self.trainer = prepare_trainer(
            SweepConfig.parse(content).anchored(folder), folder, lambda _: None
        )
        self.points = {}
        self.preempted = threading.Event()

    def train(self, recorded=()):
        log = TrialLog(str(self.folder), "t0000")
        job = TrialJob(
            trial="t0000",
            mixture=Mixture.from_mapping({"web": 0.25, "code": 0.75}),
            seed=7,
            checkpoint_dir=self.folder / "checkpoint",
            precision={},
            recorded=recorded,
            preempted=self.preempted,
            say=log.say,
            last_words=log.last_words,
        )
        try:
            self.trainer.train(job, self.points.__setitem__)
        finally:
            log.close()
        return self.points

    @property
    def log(self):
        return (self.folder / "logs" / "t0000.log").read_text()
