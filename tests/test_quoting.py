"""Names of files that stand for names of domains."""

import re

import pytest

from bimix_sweep.quoting import file_name, metric_label

HARD = [
    "a/b",
    "a\\b",
    "a-b",
    "A-b",
    "a b",
    "Web",
    "web",
    "WEB",
    "..",
    ".",
    "-",
    "~",
    "$x",
    "é",
    "e",
]


def test_names_stay_distinct_on_a_file_system_that_folds_case():
    folded = [file_name(name).casefold() for name in HARD]
    assert len(set(folded)) == len(HARD)


@pytest.mark.parametrize("name", [*HARD, "../../etc/passwd", "x" * 500, "/etc"])
def test_a_name_is_one_part_of_a_path(name):
    assert re.fullmatch(r"(?!\.)[A-Za-z0-9_.-]{1,100}", file_name(name))


@pytest.mark.parametrize("name", ["web", "the_pile", "common-crawl.v2", "2024"])
def test_a_plain_name_is_used_as_it_is(name):
    assert file_name(name) == name


def test_a_label_of_a_metric_is_ascii_and_changes_no_ascii_name():
    assert [metric_label(name) for name in ('a "b"/c\\%', "café")] == ['a "b"/c\\%', "caf%C3%A9"]
