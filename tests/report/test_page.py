import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as go
import pytest

from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.report.data import Progress, ReportData
from bimix_sweep.report.figures.confirmation import confirmation
from bimix_sweep.report.figures.law_fit import law_against_measurements
from bimix_sweep.report.figures.loss_curves import MAX_FACETS
from bimix_sweep.report.figures.style import colour, step_axis
from bimix_sweep.report.figures.ternary import ternary
from bimix_sweep.report.packing import pack, unpack
from bimix_sweep.report.page import render
from bimix_sweep.report.tables import table
from bimix_sweep.report.wording import duration, percent, quantity


class Page(HTMLParser):
    """What a browser finds: tags, attributes, visible text, scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.headings, self.scripts, self.cells, self.text, self.open = (
            [],
            [],
            {},
            [],
            [],
            [],
        )
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "input", "i", "b"):
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in ("i", "b"):
            assert self.open.pop()[0] == tag  # well nested

    def handle_data(self, data):
        tag, attrs = self.open[-1] if self.open else ("", {})
        if tag == "script":
            self.scripts[attrs.get("id", len(self.scripts))] = data
            if "data-into" in attrs:
                inside = Page(unpack(data))
                self.cells += inside.cells
                self.text += inside.text
                self.tags += inside.tags
        elif tag != "style":
            self.text.append(data)
            if tag in ("h1", "h2"):
                self.headings.append(data)
            if tag in ("td", "th"):
                self.cells.append(data)

    def figures(self):
        return {
            key.removesuffix("-figure"): json.loads(unpack(text))
            for key, text in self.scripts.items()
            if str(key).endswith("-figure")
        }


@pytest.fixture(scope="module")
def page(sweep):
    return Page(render(sweep))


def test_the_page_answers_first_and_carries_every_section(page):
    assert page.headings[:5] == [
        "planted",
        "Recommended mixture",
        "Gain, cost, next step",
        "Can I trust it?",
        "What it does not know",
    ]
    assert list(page.figures()) == [
        "ternary",
        "confirmation",
        "path",
        "regret",
        "law",
        "curves",
        "residuals",
    ]
    assert {"Trials", "Provenance"} <= set(page.headings)


def test_the_recommended_proportions_and_their_region_are_in_the_tables(page, sweep):
    for name, proportion in sweep.recommended.as_dict().items():
        row = page.cells.index(name)
        low, high = sweep.optimum.region[name]
        assert page.cells[row + 1 : row + 3] == [
            f"{100 * proportion:.1f} %",
            f"{100 * low:.1f} % – {100 * high:.1f} %",
        ]
        assert page.cells[row + 4] == quantity(proportion * sweep.token_budget)


def test_mixtures_as_good_are_listed_whole(page, sweep):
    for mixture in sweep.optimum.alternatives:
        proportions = [f"{100 * value:.1f} %" for value in mixture.proportions]
        assert any(page.cells[n : n + 3] == proportions for n in range(len(page.cells)))


def test_every_trial_is_listed_and_failed_ones_say_why(page, sweep):
    assert set(sweep.table.trials) <= set(page.cells)
    assert "failed: its loss was nan at step 75; lower the learning rate" in page.cells


def test_every_figure_is_one_plotly_accepts_and_a_screen_reader_can_name(page):
    plots = [attrs for tag, attrs in page.tags if tag == "div" and attrs.get("class") == "plot"]
    assert {plot["id"] for plot in plots} == set(page.figures())
    assert all(plot["role"] == "img" and len(plot["aria-label"]) > 30 for plot in plots)
    for figure in page.figures().values():
        assert go.Figure(figure).data


def test_plotly_is_inlined_once_and_nothing_is_loaded_from_anywhere(page):
    assert "plotly.js v" in unpack(page.scripts["plotly"])[:400]
    assert not [attrs for tag, attrs in page.tags if attrs.get("src")]
    links = [attrs["href"] for tag, attrs in page.tags if attrs.get("href")]
    ids = {attrs["id"] for tag, attrs in page.tags if attrs.get("id")}
    assert links[0] == "data:,"
    assert len(links) > 8
    assert {link[1:] for link in links[1:]} <= ids
    (policy,) = [
        attrs["content"]
        for tag, attrs in page.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'")


def test_a_hostile_name_stays_text_wherever_it_is_shown(make_sweep):
    hostile = "<script>alert(1)<"
    data = make_sweep(
        (hostile, "</script><img src=x onerror=alert(2)>"[2:].replace("/", ""), "a&b'"),
        num_trials=6,
    )
    data = replace(
        data,
        name="</title><script>alert(3)</script>",
        stop_reason="<b>bold</b>",
        failed={"<i>t</i>": "</td><script>alert(4)</script>"},
        provenance={"<u>": "</script><script>alert(5)</script>"},
    )
    plain, nasty = Page(render(make_sweep(("x", "y", "z"), num_trials=6))), Page(render(data))
    assert [t for t, _ in nasty.tags if t in ("script", "img", "u")] == [
        t for t, _ in plain.tags if t in ("script", "img", "u")
    ]
    assert hostile in nasty.cells
    labels = json.dumps(nasty.figures())
    assert "<script" not in labels
    assert "&lt;script&gt;" in labels


def test_a_page_with_nothing_measured_says_so():
    empty = ReportData(name="new", domains=DomainSet(names=("web", "code")))
    page = Page(render(empty))
    text = " ".join(page.text)
    assert "No mixture can be recommended yet" in text
    assert "No law has been fitted yet" in text
    assert "No trial has reported a loss yet" in text
    assert page.figures() == {}


def test_a_running_sweep_has_curves_before_it_has_a_law_and_no_confirmation(sweep):
    early = Page(
        render(replace(sweep, law=None, optimum=None, comparison=None, path=(), stop_reason=""))
    )
    assert list(early.figures()) == ["curves"]
    begun = Progress(state="running", done=9, planned=22, seconds_left=600)
    running = Page(render(replace(sweep, comparison=None, stop_reason="", progress=begun)))
    assert "confirmation" not in running.figures()
    assert "The confirmation trials have not been run yet." in running.text
    assert {"running", " 9 of at most 22 trials", "about 10 min left"} <= set(running.text)


def test_the_confirmed_recommendation_is_the_headline(sweep):
    overruled = replace(
        sweep,
        comparison=replace(sweep.comparison, recommended="uniform", reason="uniform was better"),
    )
    page = Page(render(overruled))
    assert page.cells[page.cells.index("python") + 1] == "33.3 %"
    assert "Uniform was better." in page.text


def test_many_domains_and_targets_stay_readable_and_the_page_has_at_most_2_mb(make_sweep):
    names = tuple(f"domain {n}" for n in range(16))
    html = render(make_sweep(names, num_trials=20, failed=False))
    assert len(html.encode()) < 2 * 2**20
    page = Page(html)
    for name in ("law", "residuals"):
        assert page.figures()[name]["layout"]["showlegend"]
        shown = {t.get("name") for t in page.figures()[name]["data"] if t.get("showlegend", True)}
        assert set(names) <= shown
    assert "ternary" not in page.figures()
    curves = page.figures()["curves"]
    assert len({trace.get("xaxis") for trace in curves["data"]}) == MAX_FACETS
    assert any("4 more are in the tables" in text for text in page.text)
    assert len(json.dumps(page.figures())) < 3e6


def test_the_ternary_outline_is_the_region_the_recipe_states(sweep):
    figure = ternary(sweep, sweep.law, sweep.optimum)
    (outline,) = [
        trace for trace in figure["data"] if trace.get("name") == "within 0.50 % of the best"
    ]
    for axis, name in zip("abc", sweep.domains.names, strict=True):
        inside = [value for value in outline[axis] if value is not None]
        assert (min(inside), max(inside)) == pytest.approx(sweep.optimum.region[name], abs=0.012)


def test_predicted_and_measured_losses_meet_on_the_diagonal(sweep):
    figure = law_against_measurements(sweep.table, sweep.law, sweep.roles)
    points = [trace for trace in figure["data"] if trace.get("mode") == "markers"]
    assert sum(len(trace["x"]) for trace in points) == sweep.table.losses.size
    for trace in points:
        assert trace["marker"]["symbol"].count("diamond-open") == 8 * 8  # trials x points
        np.testing.assert_allclose(trace["y"], trace["x"], rtol=0.02)


def test_confirmation_trials_show_each_seed_and_its_mean(sweep):
    traces = confirmation(sweep, sweep.comparison)["data"]
    assert [trace["name"] for trace in traces] == ["seed 1", "seed 2", "mean, 95 % interval"]
    np.testing.assert_allclose(
        np.mean([traces[0]["x"], traces[1]["x"]], axis=0), traces[2]["x"], atol=1e-6
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.00042, "0.042 %"),
        (0.0123, "1.2 %"),
        (0, "0 %"),
        (0.5, "50 %"),
        (1.5, "150 %"),
        (1e-7, "0.000010 %"),
    ],
)
def test_percentages_have_two_significant_digits(value, shown):
    assert percent(value) == shown


def test_quantities_and_durations_are_short():
    assert [quantity(v) for v in (4.2e12, 3e10, 1.5e6, 800.0, None, float("inf"))] == [
        "4.2T",
        "30B",
        "1.5M",
        "800",
        "–",
        "–",
    ]
    assert [duration(v) for v in (97.2, 600.0, 9000.0)] == ["97 s", "10 min", "2.5 h"]


@pytest.mark.parametrize(("low", "high"), [(50, 800), (1, 1e6), (790, 810), (5000, 30000)])
def test_step_axes_have_few_round_ticks(low, high):
    axis = step_axis(low, high)
    assert len(axis["tickvals"]) <= 7
    assert all(re.fullmatch(r"[125]0*", text.replace(",", "")) for text in axis["ticktext"])


def test_table_cells_are_escaped():
    assert "<td>&lt;b&gt;&amp;</td>" in table("caption", ["a", "b"], [["x", "<b>&"]])


def test_the_objective_weighs_targets_as_the_sweep_does():
    data = ReportData(name="x", domains=DomainSet(names=("a", "b")), weights={"a": 3, "b": 1})
    losses = np.array([[2.0, 4.0, np.nan], [3.0, 1.0, np.nan]])
    np.testing.assert_allclose(data.objective_of(("a", "b", "watched"), losses), [2.5, 2.5])
    np.testing.assert_allclose(
        replace(data, objective="worst").objective_of(("a", "b", "watched"), losses), [3.0, 4.5]
    )
    np.testing.assert_allclose(
        replace(data, weights={}).objective_of(("a", "b"), losses[:, :2]), [3.0, 2.0]
    )


def test_the_page_has_the_predicted_losses_their_sd_and_the_weights(sweep):
    data = replace(sweep, weights={"python": 3.0, "cpp": 1.0, "english_docs": 0.0})
    cells = Page(render(data)).cells
    head = cells.index("predicted")
    for index, (name, weight) in enumerate(
        [("python", "0.75"), ("cpp", "0.25"), ("english_docs", "0")]
    ):
        row = cells[head + 3 + 4 * index : head + 7 + 4 * index]
        expected = sweep.optimum.predicted_losses[name], sweep.optimum.predicted_sd[name]
        assert row == [name, f"{expected[0]:.4g}", f"{expected[1]:.2g}", weight]


def test_packed_text_has_no_tag_and_comes_back():
    hostile = "</script><!--<script>" + "".join(map(chr, range(32, 400))) * 40
    assert "<" not in pack(hostile)
    assert unpack(pack(hostile)) == hostile


def test_forty_domains_have_forty_colours():
    assert len({colour(n) for n in range(40)}) == 40
