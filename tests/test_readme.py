"""The README quotes what commands wrote, and its examples are real."""

import importlib.util
import re
from pathlib import Path

import yaml

from bimix_sweep.cli import app
from bimix_sweep.config import SweepConfig

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def tables():
    spec = importlib.util.spec_from_file_location(
        "tables", ROOT / "tests" / "benchmarks" / "tables.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_measured_numbers_are_those_the_benchmarks_wrote():
    module = tables()
    found = module.results()
    assert module.with_block(README, module.readme_block(found)) == README
    assert module.results_page(found) == (ROOT / "results" / "README.md").read_text()


def test_every_file_it_points_to_is_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_configuration_it_shows_is_accepted():
    (text,) = re.findall(r"```yaml\n(# sweep\.yaml.*?)```", README, flags=re.DOTALL)
    assert set(SweepConfig.parse(yaml.safe_load(text)).domains) == {"web", "code", "math"}


def test_the_guide_shows_every_key():
    guide = (ROOT / "bimix_sweep" / "docs" / "sweeps.md").read_text()
    text = re.findall(r"```yaml\n(.*?)```", guide, flags=re.DOTALL)[0]
    shown = yaml.safe_load(text)
    config = SweepConfig.parse(shown)
    assert set(shown) == set(SweepConfig.model_fields)
    for key in ("final", "proxy", "resources", "stop"):
        assert set(shown[key]) == set(type(getattr(config, key)).model_fields), key
    domains = {key for domain in shown["domains"].values() for key in domain}
    assert domains == set(type(config.domains["web"]).model_fields)
    defaults = SweepConfig.parse({"domains": shown["domains"]})
    for key in (
        "seed",
        "objective",
        "proxy",
        "trainer",
        "resources",
        "budget",
        "stop",
        "out",
        "name",
    ):
        assert getattr(config, key) == getattr(defaults, key), key


def test_every_command_it_shows_exists():
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    code = "".join(re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL))
    shown = set(re.findall(r"^bimix-sweep ([a-z]+)", code, flags=re.MULTILINE))
    assert shown
    assert shown <= known
