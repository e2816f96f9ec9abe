"""A trial that begins anew never goes on from a checkpoint of before; one process, without Ray's
transport.
"""

from types import SimpleNamespace

import pytest

from bimix_sweep import files, locations
from bimix_sweep.errors import BimixSweepError, TryAgainError
from bimix_sweep.sweep.cluster import trainable
from bimix_sweep.sweep.workspace import paths as folders
from bimix_sweep.sweep.workspace.archive import Checkpoint, send
from tests.support.in_process import STEPS, config, losses, open_sweep


class Direct:
    """Calls an actor's methods in this process, where a worker writes
    `actor.method.remote(...)`.
    """

    def __init__(self, actor):
        self._actor = actor

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self._actor, name))


class Trainer:
    """Trains from the step that it finds in its checkpoint folder; may be told to stop, or to fail,
    at a step.
    """

    def __init__(self):
        self.found = []
        """Steps in the checkpoint at the beginning of each attempt; None: there was none."""
        self.stop_at = self.fail_at = None

    def precision(self, num_trials):
        return {}

    def train(self, job, report):
        state = job.checkpoint_dir / "step"
        self.found.append(int(state.read_text()) if state.exists() else None)
        job.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        for step in STEPS:
            if step <= (self.found[-1] or 0):
                continue
            state.write_text(str(step))
            if step == self.stop_at:
                raise TryAgainError("told to stop")
            if step == self.fail_at:
                raise ValueError("no such file")
            report(step, losses(job.mixture, job.seed, step))


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Runs an attempt as a worker does, for the actor of `worker.actor`, with checkpoints at a
    place.
    """
    found = SimpleNamespace(actor=None, trainer=Trainer(), reports=[])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(trainable, "law_actor", lambda name: Direct(found.actor))
    monkeypatch.setattr(trainable, "ask", lambda answer: answer)
    monkeypatch.setattr(trainable, "_nodes", lambda group: [])
    monkeypatch.setattr(trainable.tune, "report", found.reports.append)
    monkeypatch.setattr(folders.tempfile, "gettempdir", lambda: str(tmp_path / "machine"))

    def attempt(proposal, checkpoints):
        given = config()
        settings = trainable.TrialSettings(
            actor="law",
            checkpoints=checkpoints,
            weights=dict.fromkeys(given.resolved_targets(), 1.0),
            objective=given.objective,
            goals=given.goals(),
            threads=1,
            trials_per_worker=1,
            trainer=found.trainer,
            folder=str(tmp_path / "sweep"),
            nodes=1,
            resources={"cpu": 1.0, "gpu": 0.0},
        )
        trainable.trial_function(settings)(
            {
                "trial": proposal.trial,
                "mixture": proposal.mixture.as_dict(),
                "seed": proposal.seed,
            }
        )

    found.attempt = attempt
    yield found
    found.actor.close()


@pytest.fixture(params=["disk", "s3"])
def checkpoints(request, tmp_path):
    if request.param == "s3":
        return locations.join(request.getfixturevalue("object_store")(), "checkpoints")
    return str(tmp_path / "sweep" / "checkpoints")


def left_behind(checkpoints, name, step, tmp_path):
    """What a worker that was slow to die, or a PUT that arrived late, leaves under a name."""
    if not locations.is_uri(checkpoints):
        place = Checkpoint(checkpoints, name).folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "step").write_text(str(step))
        return
    late = tmp_path / "late"
    late.mkdir(exist_ok=True)
    (late / "step").write_text(str(step))
    send(late, locations.join(checkpoints, f"{name}.tar"))


def test_a_trial_tried_again_finds_nothing_of_the_failed_attempts_whatever_arrives_late(
    worker, checkpoints, tmp_path
):
    folder, trainer = tmp_path / "sweep", worker.trainer
    worker.actor = open_sweep(folder, config(8))
    proposal = worker.actor.propose("t0000")
    trainer.fail_at = STEPS[1]
    worker.attempt(proposal, checkpoints)
    for number in (1, 2):
        late = "t0000" if number == 1 else "t0000.1"
        worker.actor.retry(["t0000"])
        left_behind(checkpoints, late, STEPS[1], tmp_path)
        trainer.stop_at, trainer.fail_at = STEPS[1], None
        with pytest.raises(BimixSweepError, match="told to stop"):
            worker.attempt(proposal, checkpoints)
        worker.actor.close()  # another driver
        worker.actor = open_sweep(folder)
        trainer.stop_at, trainer.fail_at = None, STEPS[2] if number == 1 else None
        worker.attempt(proposal, checkpoints)
    assert trainer.found == [None, None, STEPS[1], None, STEPS[1]]
    assert worker.actor.start("t0000", "here")["state"] == "finished"
    if locations.is_uri(checkpoints):
        assert files.names(checkpoints) == {}
    else:
        assert not any((tmp_path / "sweep" / "checkpoints").iterdir())


def test_a_trial_that_the_sweep_has_ended_leaves_no_checkpoint(worker, checkpoints, tmp_path):
    worker.actor = open_sweep(tmp_path / "sweep", config(8))
    proposal = worker.actor.propose("t0000")
    worker.trainer.stop_at = STEPS[1]
    with pytest.raises(BimixSweepError, match="told to stop"):
        worker.attempt(proposal, checkpoints)
    worker.actor.abandon("t0000", "it has lasted longer than resources.max_hours, 2")
    left_behind(checkpoints, "t0000", STEPS[1], tmp_path)
    worker.attempt(proposal, checkpoints)
    assert worker.reports[-1]["failed"] == "it has lasted longer than resources.max_hours, 2"
    assert not Checkpoint(checkpoints, "t0000").folder.exists()
    if locations.is_uri(checkpoints):
        assert files.names(checkpoints) == {}


def test_data_that_change_have_running_trials_begin_anew_and_a_larger_budget_does_not(tmp_path):
    folder = tmp_path / "sweep"

    def begun_anew(given):
        actor = open_sweep(folder, given)
        if not actor.past():
            actor.propose("t0000")
        found = actor.start("t0000", "here")["begun_anew"]
        actor.close()
        return found

    four = ("web", "code", "books", "math")
    targets = {name: {"domain": name} for name in four[:3]}
    assert begun_anew(config(8)) == 0
    assert begun_anew(config(9)) == 0
    assert begun_anew(config(9, domains=four, targets=targets)) == 1
    assert begun_anew(config(10, domains=four, targets=targets)) == 1
