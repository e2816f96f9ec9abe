"""Only named files read the wall clock: durations, deadlines and limits must not move with it."""

import ast
from pathlib import Path

import bimix_sweep

ROOT = Path(bimix_sweep.__file__).parent
WALL = {
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime"},
    "datetime": {"now", "utcnow", "today", "fromtimestamp"},
    "date": {"today"},
}
ALLOWED = {
    "journal/clock.py": "reads it once, and counts from there by the monotonic clock",
    "journal/lease.py": "writes it for other hosts; who reads it watches for a renewal before it "
    "believes it",
    "sweep/views/terminal.py": "shown to people",
    "sweep/views/status.py": "shown to people",
    "report/bar.py": "converts the time of an event for people; it reads no clock",
}


def reads(path):
    """Line numbers at which a file names a function of the wall clock."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if node.attr in WALL.get(owner, ()):
                found.append(node.lineno)
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [node.lineno for name in node.names if name.name in WALL["time"]]
    return found


def test_only_named_files_read_the_wall_clock():
    found = {
        str(path.relative_to(ROOT)): lines for path in ROOT.rglob("*.py") if (lines := reads(path))
    }
    assert found.keys() == ALLOWED.keys(), found


def test_the_check_sees_each_way_to_read_it(tmp_path):
    for number, line in enumerate(
        (
            "time.time()",
            "datetime.now()",
            "datetime.datetime.now()",
            "from time import time",
            "f(time.time)",
        )
    ):
        (tmp_path / f"{number}.py").write_text(line + "\n")
        assert reads(tmp_path / f"{number}.py") == [1], line
