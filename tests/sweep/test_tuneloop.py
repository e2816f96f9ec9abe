"""What hangs on Tune's loop, at the trainings that Tune would hand it."""

from ray.tune.experiment import Trial

from bimix_sweep.sweep.tuneloop import NewestFirst


class Training:
    def __init__(self, status=Trial.PENDING):
        self.status = status


def test_a_free_worker_goes_to_a_new_training_not_to_one_whose_own_worker_starts():
    scheduler, starting, new = NewestFirst(), Training(), Training()
    scheduler.on_trial_add(None, starting)
    assert scheduler.choose_trial_to_run(None) is starting
    assert scheduler.choose_trial_to_run(None) is None
    scheduler.on_trial_add(None, new)
    assert scheduler.choose_trial_to_run(None) is new
    scheduler.on_trial_add(None, starting)  # its worker died
    assert scheduler.choose_trial_to_run(None) is starting


def test_what_runs_already_is_not_chosen():
    scheduler, running, waiting = NewestFirst(), Training(Trial.RUNNING), Training()
    for training in (running, waiting):
        scheduler.on_trial_add(None, training)
    assert scheduler.choose_trial_to_run(None) is waiting
