"""The law that the page evaluates in the browser, against `FittedLaw.predict`."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bimix_sweep.mixture.final_run import FinalRun
from bimix_sweep.report import tryout as section
from bimix_sweep.report.page import render
from bimix_sweep.report.tryout import tryout
from bimix_sweep.seeding import rng
from tests.support.browser import CHROMIUM, page

NEEDS_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here; the formula is tested without it"
)


def waiting_for(tab, script):
    """The value of an expression as soon as it is true."""
    for _ in range(400):
        if value := tab.run(script):
            return value
    raise AssertionError(f"never true: {script}")


@pytest.fixture(scope="module")
def repeating(sweep):
    """A sweep whose final run repeats a domain twelve times, and whose law has a GP."""
    data = replace(sweep, token_budget=1e12)
    assert data.law.has_discrepancy
    return data


@pytest.fixture(scope="module")
def tab(repeating, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(repeating))
    with page(path.as_uri(), {}) as opened:
        waiting_for(opened, "document.body.dataset.drawn")
        yield opened


def expected(data, mixtures):
    law = data.law.for_run(
        FinalRun(tokens=data.token_budget).unique(data.domains, data.law.domains)
    )
    return law.predict(mixtures, np.full(len(mixtures), data.optimum.step))


@NEEDS_CHROMIUM
def test_the_page_predicts_random_mixtures_as_the_law_does(tab, repeating):
    mixtures = rng(5, "mixtures of the page").dirichlet(np.full(3, 0.6), 40)
    mixtures = np.concatenate([mixtures, np.eye(3), repeating.law.trials.proportions[:5]])
    shown = tab.run(f"{json.dumps(mixtures.tolist())}.map(tryout.predict)")
    np.testing.assert_allclose(shown, expected(repeating, mixtures), rtol=1e-6)


@NEEDS_CHROMIUM
def test_a_slider_moves_the_others_shows_their_losses_and_the_link_keeps_it(tab, repeating):
    def type_into(key, value):
        tab.run(
            f"(() => {{ const input = document.getElementById('{key}'); input.value = {value}; "
            "input.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    tab.run("document.querySelector('[data-preset=uniform]').click()")
    tab.run("document.getElementById('try-lock-1').click()")
    type_into("try-0", 0.5)
    proportions = tab.run("tryout.proportions")
    np.testing.assert_allclose(proportions, [0.5, 1 / 3, 1 / 6], atol=1e-9)
    losses = expected(repeating, np.array([proportions]))[0]
    for k, loss in enumerate(losses):
        assert tab.run(f"document.getElementById('try-loss-{k}').textContent") == f"{loss:.4f}"
    assert tab.run("location.hash") == "#try=0.5,0.333333,0.166667&lock=1"
    tab.run("document.querySelector('[data-preset=recommended]').click()")
    assert tab.run("document.getElementById('try-region').dataset.inside") == "true"
    tab.run("location.hash = '#try=0.98,0.01,0.01'")
    waiting_for(tab, "document.getElementById('try-region').dataset.inside === 'false'")
    np.testing.assert_allclose(tab.run("tryout.proportions"), [0.98, 0.01, 0.01])


def test_a_law_too_large_for_the_page_is_left_out_and_the_section_says_so(sweep, monkeypatch):
    monkeypatch.setattr(section, "MAX_LAW", 100)
    html = tryout(sweep)
    assert "too large for the page" in html
    assert "law-data" not in html
