"""Makers of user trainers from the text of a program or of a function."""

import sys

import pytest

from tests.support.attempt import Attempt


@pytest.fixture
def program(tmp_path):
    """A command trainer from the text of a Python program."""

    def make(text, **config):
        (tmp_path / "program.py").write_text(
            "import json, os, signal, sys, time\njob = json.load(open(sys.argv[-1]))\n" + text
        )
        return Attempt(tmp_path, {"command": [sys.executable, "program.py", "{job}"]}, **config)

    return make


@pytest.fixture
def function(tmp_path):
    """A function trainer from the text of its body."""

    def make(text, **config):
        body = "".join(f"    {line}\n" for line in text.splitlines())
        (tmp_path / "trainer_of_test.py").write_text(f"def run(mixture, report, context):\n{body}")
        sys.modules.pop("trainer_of_test", None)
        return Attempt(tmp_path, "trainer_of_test:run", **config)

    yield make
    sys.modules.pop("trainer_of_test", None)
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]
