"""Numbers as users write them: on the command line and in sweep.yaml."""

import pytest

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import ConfigError
from bimix_sweep.parsing import parse_number, parse_yaml


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("300B", 3e11),
        ("300 b", 3e11),
        ("7e9", 7e9),
        ("1.5T", 1.5e12),
        (".5M", 5e5),
        ("200k", 2e5),
        ("8g", 8e9),
        ("20%", 0.2),
        ("12.5 %", 0.125),
        ("2_000", 2000.0),
        (" -3 ", -3.0),
    ],
)
def test_a_number_may_have_a_unit(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["", "B", "%", "many", "3x", "1,000", "3 BB", "0x10", "1 2"])
def test_another_text_is_refused_with_what_is_needed(text):
    with pytest.raises(ValueError, match=r"need a number, such as 0\.2, 20%, 7e9, 300B or 1\.5T"):
        parse_number(text)


WITH_UNITS = """
domains:
  web: {path: web/, tokens: 3T, max: 70%}
  code: {path: code/, tokens: 40B}
today: {web: 90%, code: 10%}
first: [{web: 30%, code: 70%}]
prior: {mixture: {web: 3B, code: 1B}, kl: 1%}
final: {tokens: 300B, size: 7B, match_epochs: false}
proxy: {sizes: [200k, 1M], steps: 2k}
stop: {tolerance: 0.1%}
name: 300B
"""
PLAIN = """
domains:
  web: {path: web/, tokens: 3.0e12, max: 0.7}
  code: {path: code/, tokens: 4.0e10}
today: {web: 0.9, code: 0.1}
first: [{web: 0.3, code: 0.7}]
prior: {mixture: {web: 3.0e9, code: 1.0e9}, kl: 0.01}
final: {tokens: 3.0e11, size: 7.0e9, match_epochs: false}
proxy: {sizes: [2.0e5, 1.0e6], steps: 2000}
stop: {tolerance: 0.001}
name: 300B
"""


def test_sweep_yaml_takes_numbers_with_units_wherever_it_takes_numbers():
    found, plain = (SweepConfig.parse(parse_yaml(text)) for text in (WITH_UNITS, PLAIN))
    assert found == plain
    assert found.digest == plain.digest
    assert found.name == "300B"


def test_a_text_that_is_no_number_is_named_as_it_stands_in_the_file():
    with pytest.raises(ConfigError, match=r"final.tokens is '300 billion'; need: a valid number"):
        SweepConfig.parse(parse_yaml(WITH_UNITS.replace("300B, size", "300 billion, size")))
