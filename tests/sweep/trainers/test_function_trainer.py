"""Trainers that are Python functions, without Ray: what they are given, what is taken from them,
and what is said of their mistakes.
"""

import pytest

from bimix_sweep.errors import ConfigError, DivergedError, TrainingError
from tests.support.attempt import Attempt


def test_a_function_is_given_the_trial_and_its_points_are_taken(function):
    attempt = function(
        "import numpy as np\n"
        "assert mixture == {'web': 0.25, 'code': 0.75}\n"
        "assert (context.seed, context.steps, context.recorded) == (7, 8, (2,))\n"
        "assert (context.proxy['context'], context.tokenizer) == (128, None)\n"
        "(context.checkpoint_dir / 'x').write_text('kept')\n"
        "for step in context.eval_steps:\n    report(np.int64(step), {'web': np.float32(2), "
        "'code': 3, 'of my own': 4})"
    )
    points = attempt.train(recorded=(2,))
    assert points == {step: {"web": 2.0, "code": 3.0} for step in attempt.trainer.facts.eval_steps}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "report(8, {'web': float('inf'), 'code': 1})",
            DivergedError,
            "loss of web is inf at step 8",
        ),
        ("pass", TrainingError, "trainer_of_test:run returned, but it reported no point"),
        ("raise ValueError('three')", ValueError, "three"),
        ("raise OSError(5, 'gone')", OSError, "gone"),
        ("raise SystemExit(3)", TrainingError, r"ended its process \(3\)"),
    ],
)
def test_what_a_function_does_wrong_is_told(function, text, error, message):
    attempt = function(text)
    with pytest.raises(error, match=message):
        attempt.train()
    if error is ValueError:
        assert "Traceback" in attempt.log


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nowhere_at_all:run",
            r"trainer nowhere_at_all:run: its module cannot be imported \(ModuleNotFoundError: "
            r".*looked for in",
        ),
        ("written:nothing", r"module written \(.*written\.py\) has no function nothing"),
        (
            "written:few",
            r"it cannot be called with mixture, report and context \(too many positional "
            r"arguments\)",
        ),
        ("broken:run", r"its module cannot be imported \(ZeroDivisionError"),
    ],
)
def test_a_function_that_cannot_be_used_is_said_before_anything_starts(tmp_path, name, message):
    (tmp_path / "written.py").write_text("def few(mixture): pass\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=message):
        Attempt(tmp_path, name)
