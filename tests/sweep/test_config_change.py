"""Changes of a sweep's configuration: planted answers, the LawActor in this process."""

import json
import shutil

import numpy as np
import pytest
import yaml

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import ConfigError, SweepError
from bimix_sweep.journal.segments import read
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.config_change import compare, extended
from bimix_sweep.sweep.extension import extension
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.results import decided
from tests.support.in_process import Planted, config, first, losses, open_sweep, run, train, whole

FOUR = ("web", "code", "books", "math")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A finished sweep of 8 trainings and its final ones."""
    folder = tmp_path_factory.mktemp("template") / "sweep"
    whole(folder, config(8))
    return folder


@pytest.fixture
def finished(template, tmp_path):
    """A copy of it to change."""
    folder = tmp_path / "sweep"
    shutil.copytree(template, folder)
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace(str(template), str(folder)))
    return folder


def sweep_trials(names):
    return [name for name in names if name.startswith("t")]


def confirmations(history):
    return {name for name, record in history.state.trials.items() if record.role == "confirmation"}


def test_a_larger_budget_runs_the_rest_and_keeps_every_trial_of_before(finished):
    before = replay(finished)
    actor = open_sweep(finished, config(11))
    ran = run(actor)
    shown = actor.snapshot()
    actor.close()
    after = replay(finished)
    assert len(sweep_trials(ran)) == 3
    assert shown.num_confirmation_trials == sum(
        shown.counts["confirmation"].values()
    )  # all there will be are there, those of before counted
    assert not set(ran) & set(before.proposals)
    assert after.complete
    assert after.changes[0].what == ["budget.trials 8 -> 11"]
    for name, record in before.state.trials.items():
        assert after.state.trials[name].points == record.points
    assert {record.trial for record in after.state.trial_record.evidence()} == set(
        sweep_trials(after.proposals)
    )
    assert SweepConfig.load(finished / "config.yaml").budget.trials == 11
    # uniform mixtures of equal seed are the same training: they are not run again
    assert not any("uniform" in name for name in ran)


def test_editing_the_folder_s_own_configuration_is_the_same_change(finished):
    content = yaml.safe_load((finished / "config.yaml").read_text())
    content["budget"]["trials"] = 9
    (finished / "config.yaml").write_text(yaml.safe_dump(content))
    ran, after = whole(finished)
    assert len(sweep_trials(ran)) == 1
    assert after.changes[0].what == ["budget.trials 8 -> 9"]
    assert whole(finished)[0] == []


def test_a_changed_sweep_restarts_anywhere_into_the_same_state(finished, tmp_path):
    straight = tmp_path / "straight"
    shutil.copytree(finished, straight)
    whole(straight, config(11, domains=FOUR, budget__trials=13))
    actor = open_sweep(finished, config(11, domains=FOUR, budget__trials=13))
    run(actor, most=2)
    actor.close()
    whole(finished)
    expected, found = replay(straight), replay(finished)
    assert [*found.proposals.values()] == [*expected.proposals.values()]
    assert {n: r.points for n, r in found.state.trials.items()} == {
        n: r.points for n, r in expected.state.trials.items()
    }
    assert found.confirmation.mixtures == expected.confirmation.mixtures


@pytest.mark.parametrize("crash", ["before", "after"])
def test_a_crash_before_or_after_the_event_leaves_a_sweep_that_goes_on(finished, crash):
    assert open_sweep(finished, config(9), crash=crash) is None
    assert [*finished.glob("config.next.*")]
    ran, after = whole(finished)
    assert not [*finished.glob("config.next.*")]
    assert len(sweep_trials(ran)) == {"before": 0, "after": 1}[crash]
    assert len(after.changes) == {"before": 0, "after": 1}[crash]
    assert (
        SweepConfig.load(finished / "config.yaml").budget.trials == {"before": 8, "after": 9}[crash]
    )
    ran, after = whole(finished, config(9))
    assert len(after.changes) == 1
    assert len(sweep_trials(after.proposals)) == 9


def test_an_actor_that_starts_again_after_the_event_does_not_write_it_twice(finished):
    history = replay(finished)
    change = compare(history, config(9).model_copy(update={"out": str(finished)}))
    event = change.event(first(change.config, Planted()))
    from bimix_sweep.sweep.coordinator.actor import LawActor

    for _ in range(2):
        actor = LawActor(
            str(finished), first(change.config, Planted()), lock_seconds=0, change=event
        )
        actor.ready()
        actor.close()
    assert [e["kind"] for e in read(finished / "journal").events].count("change") == 1


def test_confirmation_trials_of_before_that_are_near_enough_stand_for_the_optimum_and_that_is_said(
    finished,
):
    actor = open_sweep(finished, config(8, tolerance=1e-8))
    ran = run(actor)
    lines = actor.snapshot().lines
    actor.close()
    assert not ran
    assert any(
        "is not trained again: earlier confirmation trials are reused for it, distance 0.000"
        in line
        for line in lines
    )


def test_a_recipe_whose_optimum_moved_since_it_was_trained_recommends_the_trained_one_and_says_so(
    finished,
):
    before = replay(finished)
    changed = config(8, tolerance=1e-8)
    ran, after = whole(finished, changed)
    assert not ran
    [entry] = [entry for entry in after.confirmation.mixtures if "predicted" in entry.labels]
    trained = next(
        before.state.trials[name].mixture for name in confirmations(before) if "predicted" in name
    )
    moved = {
        name: share + change
        for (name, share), change in zip(entry.mixture.items(), (0.003, -0.003, 0.0), strict=True)
    }
    for name, record in after.state.trials.items():
        if "predicted" in name:
            record.mixture = Mixture.from_mapping(moved)
    _, _, comparison = decided(after)
    assert trained.as_dict() == entry.mixture
    assert (
        "the mixture trained in place of the predicted optimum lies 0.003 from it"
        in comparison.reason
    )
    assert (
        next(one.mixture for one in comparison.mixtures if "predicted" in one.role).as_dict()
        == moved
    )


def test_a_settled_sweep_is_extended_only_with_a_tolerance_that_opens_it(tmp_path):
    folder = tmp_path / "sweep"
    whole(folder, config(20, tolerance=0.5, stop__patience=1))
    assert replay(folder).decision.streak == 1
    text = (folder / "config.yaml").read_text()
    for tolerance in (0.5, 0.4):
        (folder / "config.yaml").write_text(
            text.replace("tolerance: 0.5", f"tolerance: {tolerance}")
        )
        with pytest.raises(
            SweepError,
            match=r"the sweep is settled .*lower stop.tolerance in config.yaml below [.0-9e-]+ and "
            r"extend again",
        ):
            extension(str(folder), 5)
    (folder / "config.yaml").write_text(text.replace("tolerance: 0.5", "tolerance: 1.0e-7"))
    wanted = extension(str(folder), 5)
    assert wanted.budget.trials == 25
    settled_after = len(sweep_trials(replay(folder).proposals))
    ran, after = whole(folder, wanted)
    assert len(sweep_trials(ran)) == 25 - settled_after > 0
    assert after.complete


def test_a_tolerance_that_is_met_already_stops_at_once_and_a_smaller_one_reopens(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config(20))
    run(actor, most=12)
    actor.close()
    assert replay(folder).decision is None
    regrets = [
        e.decision.regret_expected
        for e in replay(folder).refits
        if e.num_over > 8 and not e.watching
    ]
    loose = 1.01 * max(regrets)
    ran, stopped = whole(folder, config(20, tolerance=loose))
    assert sweep_trials(ran) == []
    assert stopped.decision.stop
    assert "refits in a row" in stopped.decision.reason
    ran, after = whole(folder, config(14, tolerance=1e-7))
    assert len(sweep_trials(ran)) == 14 - len(sweep_trials(stopped.proposals))
    assert after.decision.reason.startswith("the budget of 14 trials is spent")
    assert confirmations(stopped) <= confirmations(after)


def test_a_domain_that_joins_is_at_zero_in_old_trials_held_by_four_new_ones_and_used_where_it_helps(
    finished,
):
    ran, after = whole(finished, config(14, domains=FOUR))
    new = sweep_trials(ran)
    assert len(new) == 6
    assert [after.proposals[name].reason for name in new[:4]] == ["added: holds math"] * 4
    assert all(after.proposals[name].mixture.as_dict()["math"] >= 0.124 for name in new[:4])
    assert all(
        record.mixture.as_dict()["math"] == 0
        for name, record in after.state.trials.items()
        if name not in ran
    )
    assert (
        "math joins: the 8 trials so far count as ones at 0 there, the next 4 hold it"
        in after.changes[0].what
    )
    assert after.spec.targets == (
        "web",
        "code",
        "books",
    )  # its own validation text was never measured
    # in the planted law math helps code and books a little, and no other domain is worth less
    found = next(
        entry.mixture for entry in after.confirmation.mixtures if "predicted" in entry.labels
    )
    draws = np.random.default_rng(0).dirichlet([1] * 4, 4000)
    best = min(
        sum(losses(Mixture.from_array(FOUR, draw), 0, 400, noise=0).values()) for draw in draws
    )
    assert sum(losses(Mixture.from_mapping(found), 0, 400, noise=0).values()) < best * 1.01


def test_a_sweep_is_not_settled_before_what_joined_was_measured(tmp_path):
    folder = tmp_path / "sweep"
    whole(folder, config(12, tolerance=0.5, stop__patience=1))
    actor = open_sweep(folder, config(20, tolerance=0.5, stop__patience=1, domains=FOUR))
    ran = run(actor, most=1)
    assert not actor.decide().stop
    assert actor.decide().reason == "math added and is held by 1 of 4 finished trials"
    ran += run(actor)
    actor.close()
    assert len(sweep_trials(ran)) == 4


@pytest.mark.parametrize("versions", ["keep", "drop"])
def test_the_old_version_of_a_domain_is_kept_as_a_domain_that_nothing_new_holds_or_dropped(
    finished, versions
):
    old = replay(finished)
    new = config(13, domains__web__version="2026-11", domains__web__path="/text/web-2026-11")
    ran, after = whole(finished, new, versions=versions, trainer=Planted(data={"planted": 2}))
    before = [name for name in old.proposals if name.startswith("t")]
    assert after.spec.domains.names == ("web", "code", "books", "web@first")
    assert after.spec.domains.upper[3] == 0
    for name in before:
        assert (
            after.state.trials[name].mixture.as_dict()["web@first"]
            == old.proposals[name].mixture.as_dict()["web"]
        )
        assert after.state.trials[name].mixture.as_dict()["web"] == 0
    assert all(after.proposals[name].mixture.as_dict()["web@first"] == 0 for name in ran)
    kept = {
        "keep": set(before),
        "drop": {name for name in before if old.proposals[name].mixture.as_dict()["web"] == 0},
    }[versions]
    assert {record.trial for record in after.state.trial_record.evidence()} == kept | set(
        sweep_trials(ran)
    )
    assert len(sweep_trials(ran)) == 13 - len(kept)  # dropped ones do not count in the budget
    assert after.spec.own["web"] == "web@first"  # losses stay those of one validation text
    assert (
        f"the {len(before) - len(kept) if versions == 'drop' else 8} trials on the old one"
        in " ".join(after.changes[0].what)
    )
    # the user's own file, which names neither the old version nor targets, is the same
    # configuration from now on
    assert whole(finished, new, trainer=Planted(data={"planted": 2}))[0] == []
    assert not compare(after, SweepConfig.load(finished / "config.yaml")).what


def test_running_trials_go_on_unless_the_change_takes_their_text_away(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config(8))
    proposals = [actor.propose(f"t{number:04d}") for number in range(4)]
    train(actor, proposals[0])
    train(actor, proposals[1], steps=(100, 200))
    actor.close()
    actor = open_sweep(folder, config(9))
    assert [past.proposal.trial for past in actor.past() if past.state == "running"] == [
        "t0001",
        "t0002",
        "t0003",
    ]
    actor.close()
    changed = config(20, domains__web__version="2", domains__web__path="/text/new")
    open_sweep(folder, changed, trainer=Planted(data={"planted": 2})).close()
    after = replay(folder)
    assert after.running() == []  # the first mixtures hold every domain
    assert (
        after.state.trials["t0001"].failure
        == "the sweep was changed before it ended: web has a new version"
    )
    assert after.state.trials["t0000"].state == "finished"


def test_groups_and_references_of_targets_may_change_and_the_weights_follow(finished):
    grouped = {
        name: {"domain": name, "group": group, "reference": 2.0}
        for name, group in (("web", None), ("code", "texts"), ("books", "texts"))
    }
    _, after = whole(finished, config(10, targets=grouped))
    assert {
        "targets.code.group absent -> texts",
        "targets.books.group absent -> texts",
        "targets.web.reference absent -> 2",
    } <= set(after.changes[0].what)
    assert after.spec.weights == {"web": 0.5, "code": 0.25, "books": 0.25}


def test_the_weights_bounds_and_the_final_run_may_change_and_the_optimum_follows(finished):
    targets = {
        name: {"domain": name, "weight": weight}
        for name, weight in (("web", 0), ("code", 1), ("books", 0))
    }
    ran, after = whole(finished, config(10, targets=targets))
    best = next(
        entry.mixture for entry in after.confirmation.mixtures if "predicted" in entry.labels
    )
    assert best["code"] > 0.8  # nothing else helps code in the planted law
    assert after.complete
    assert len(sweep_trials(ran)) == 2
    ran, after = whole(finished, config(10, targets=targets, domains__code__max=0.3))
    best = next(
        entry.mixture for entry in after.confirmation.mixtures if "predicted" in entry.labels
    )
    assert best["code"] == pytest.approx(0.3, abs=1e-6)
    assert len(after.changes) == 2
    assert set(after.changes[1].what) == {"domains.code.max 1 -> 0.3"}
    # best measured: of the trainings inside the new bound
    measured = [
        entry.mixture for entry in after.confirmation.mixtures if "measured" in entry.labels
    ]
    assert all(mixture["code"] <= 0.3 + 1e-6 for mixture in measured)


REFUSED = [
    ({"seed": 1}, r"seed was 0 and is now 1; proposals and trials follow from it"),
    (
        {"proxy__vocabulary": 512},
        r"proxy\.vocabulary was 2048 and is now 512; another tokenizer gives a loss another "
        r"meaning: bring it back",
    ),
    (
        {"proxy__steps": 800},
        r"proxy\.steps was 400 and is now 800; a sweep keeps the numbers of steps of its trials",
    ),
    (
        {"trainer": "train:main"},
        r"trainer\.function was absent and is now train:main; losses of another trainer",
    ),
    (
        {"domains": ("web", "code")},
        r"domains\.books is gone; trials hold it, so keep it, with max: 0",
    ),
    (
        {"domains__web__path": "/other"},
        r"domains\.web\.path was /text/web and is now /other; text that changed is another version",
    ),
    (
        {"targets": {"web": {"domain": "web"}}},
        r"targets\.code is gone; a sweep keeps the targets that it measures",
    ),
    (
        {
            "targets": {
                **{n: {"domain": n} for n in ("web", "code", "books")},
                "exam": {"path": "/exam", "weight": 0},
            }
        },
        r"targets\.exam is new; a sweep keeps the targets",
    ),
    (
        {"targets": {n: {"domain": n, "unit": "bits_per_byte"} for n in ("web", "code", "books")}},
        r"targets\.web\.unit was nats_per_token",
    ),
    (
        {
            "targets": {
                "web": {"domain": "code"},
                "code": {"domain": "code"},
                "books": {"domain": "books"},
            }
        },
        r"targets\.web\.domain was web",
    ),
    (
        {"domains": FOUR},
        r"budget\.trials is 8 and 8 trials count in it; math needs 4 that hold it, so raise "
        r"budget\.trials to at least 12",
    ),
    (
        {"domains__web__version": "2"},
        r"web needs 4 that hold it, so raise budget\.trials to at least 12",
    ),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_would_make_losses_incomparable_is_refused_with_the_key_and_both_values(
    finished, change, message
):
    before = sorted(
        (path.name, path.read_bytes())
        for path in finished.rglob("*")
        if path.is_file() and path.suffix != ""
    )
    with pytest.raises(SweepError, match=message) as refused:
        open_sweep(finished, config(8, **change))
    assert all(line.startswith(f"{finished}: ") for line in str(refused.value).splitlines())
    assert (
        sorted(
            (path.name, path.read_bytes())
            for path in finished.rglob("*")
            if path.is_file() and path.suffix != ""
        )
        == before
    )


def test_all_refusals_are_told_at_once(finished):
    with pytest.raises(SweepError) as refused:
        open_sweep(finished, config(8, seed=1, proxy__batch=4, domains=("web", "code")))
    assert [line.split(": ", 1)[1].split()[0] for line in str(refused.value).splitlines()] == [
        "domains.books",
        "seed",
        "proxy.batch",
    ]


def test_other_data_without_a_new_version_or_other_proxies_are_refused(finished):
    with pytest.raises(
        SweepError,
        match="the data are not those this sweep began with, and no domain's version changed",
    ):
        open_sweep(finished, config(9), trainer=Planted(data={"planted": 2}))
    with pytest.raises(SweepError, match=r"size of the proxies was 100000\.0 and is now 200000\.0"):
        open_sweep(finished, config(9), trainer=Planted(size=2e5))
    assert whole(finished)[0] == []


def test_slots_name_place_and_trackers_change_without_an_event(finished):
    given = config(
        8,
        name="renamed",
        resources__slots=7,
        resources__cpu=2,
        tracking__wandb={"project": "mixtures"},
    )
    ran, after = whole(finished, given)
    assert ran == []
    assert after.changes == []
    kept = SweepConfig.load(finished / "config.yaml")
    assert (kept.resources.slots, kept.tracking.wandb.project) == (7, "mixtures")


def test_another_share_of_the_text_is_told(tmp_path):
    folder, trainer = (
        tmp_path / "sweep",
        Planted(data={"tokens": {"web": 1e6, "code": 1e6, "books": 1e6}}),
    )
    tokens = {f"domains__{name}__tokens": 1e9 for name in ("web", "code", "books")}
    actor = open_sweep(folder, config(8, final={"tokens": 1e9}, **tokens), trainer=trainer)
    train(actor, actor.propose("t0000"))
    actor.propose("t0001")
    actor.close()
    actor = open_sweep(folder, config(8, final={"tokens": 2e9}, **tokens), trainer=trainer)
    what = " ".join(replay(folder).changes[0].what)
    assert "final.tokens 1e+09 -> 2e+09" in what
    assert "proxies read another part of web, code, books from now on" in what
    assert (
        replay(folder)
        .state.trials["t0001"]
        .failure.startswith("the sweep was changed before it ended: web uses another part")
    )
    actor.close()


def test_a_change_event_of_wrong_kind_is_refused(finished):
    from bimix_sweep.errors import JournalError
    from bimix_sweep.journal.writer import Journal

    history = replay(finished)
    event = compare(history, config(9)).event(first(config(9), Planted())).to_json()
    for damage, message in (
        ({"ended": {"t9999": "x"}}, r"\(change\) cannot be used: trial t9999 is not known"),
        ({"what": []}, r"\(change\) cannot be used: what"),
        ({"renamed": {"web": "code"}}, r"\(change\) cannot be used: domain code is named twice"),
        ({"spec": event["spec"] | {"targets": ["web"]}}, r"\(change\) cannot be used"),
    ):
        copy = finished.with_name("copy")
        shutil.copytree(finished, copy)
        journal, _ = Journal.open(copy / "journal")
        journal.write(json.loads(json.dumps(event | damage)))
        journal.close()
        with pytest.raises(JournalError, match=message):
            replay(copy)
        shutil.rmtree(copy)


def test_extending_adds_to_the_budget_and_refuses_more_than_there_can_be():
    assert extended(config(8), 5).budget.trials == 13
    with pytest.raises(ConfigError, match=r"--trials 1000000: budget\.trials is 1000008"):
        extended(config(8), 10**6)
