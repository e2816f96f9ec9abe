"""Each heading of docs/evidence.md names a module of the package and constants in it."""

import importlib
import re
from pathlib import Path

import pytest

import bimix_sweep

EVIDENCE = (Path(bimix_sweep.__file__).parent / "docs" / "evidence.md").read_text()
HEADINGS = re.findall(r"^## (.+)$", EVIDENCE, flags=re.MULTILINE)


def missing(heading):
    """Names of a heading `module: NAME, NAME and NAME` that the module lacks.

    The word `module`, with or without a topic in brackets, stands for the module itself.
    """
    module, _, names = heading.partition(": ")
    found = importlib.import_module(f"bimix_sweep.{module}")
    if re.fullmatch(r"module( \(.*\))?", names):
        return []
    return [name for name in re.split(r", | and ", names) if not hasattr(found, name)]


def test_the_guide_has_headings():
    assert len(HEADINGS) > 30
    assert len({*HEADINGS}) == len(HEADINGS)


@pytest.mark.parametrize("heading", HEADINGS)
def test_each_heading_names_what_the_code_has(heading):
    assert missing(heading) == []


def test_the_check_sees_a_name_that_is_gone():
    assert missing("design.stopping: GONE, decide and AWAY") == ["GONE", "decide", "AWAY"]
    with pytest.raises(ModuleNotFoundError):
        missing("design.gone: NAME")
