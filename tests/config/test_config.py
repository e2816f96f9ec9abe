import pytest
import yaml

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import ConfigError, MixtureError
from bimix_sweep.mixture.domains import Mixture

TWO = {"domains": {"web": {"path": "web/"}, "math": {"path": "math/", "tokens": 3e10, "max": 0.2}}}
BOMB = "a0: &a0 [0]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


def parsed(**extra):
    return SweepConfig.parse({**TWO, **extra}, where="sweep.yaml")


def test_targets_are_the_domains_own_validation_splits_by_default():
    config = parsed()
    assert config.own() == {"web": "web", "math": "math"}
    assert config.weights() == {"web": 0.5, "math": 0.5}


def test_weights_are_normalised_and_a_watched_target_has_none():
    config = parsed(
        targets={
            "web": {"domain": "web", "weight": 3},
            "exam": {"path": "exam.jsonl"},
            "legal": {"path": "l.jsonl", "weight": 0},
        }
    )
    assert config.weights() == {"web": 0.75, "exam": 0.25, "legal": 0}
    assert config.own() == {"web": "web"}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((1, 1, 1, 1), (1 / 3, 1 / 3, 1 / 6, 1 / 6)),  # each group as much as one target
        ((1, 2, 2, 2), (0.2, 0.4, 0.2, 0.2)),  # the group of weight 2 as much as exam
        ((1, 1, 1, 3), (0.25, 0.25, 0.125, 0.375)),  # as much as its mean, 2; 1 : 3 inside
        ((1, 1, 1, 0), (1 / 3, 1 / 3, 1 / 3, 0)),  # one that is only measured takes nothing
        ((1, 1, 0, 0), (0.5, 0.5, 0, 0)),
    ],
)
def test_the_targets_of_a_group_share_a_weight(weights, expected):
    names = ("code", "exam", "python", "rust")  # a group may be called like a target
    groups = {"python": "code", "rust": "code"}
    targets = {
        name: {"path": "x.jsonl", "weight": weight, "group": groups.get(name)}
        for name, weight in zip(names, weights, strict=True)
    }
    config = parsed(targets=targets)
    assert config.weights() == pytest.approx(dict(zip(names, expected, strict=True)))
    again = SweepConfig.parse(yaml.safe_load(config.to_yaml()))
    assert again.weights() == config.weights()


def test_a_reference_makes_weights_those_of_relative_improvement():
    targets = {
        "web": {"domain": "web", "weight": 2, "reference": 4.0},
        "arc": {"goal": "max", "range": [0, 100], "reference": 51.0},  # loss 0.49 + 0.01
        "legal": {"path": "l.jsonl", "weight": 0},
    }
    trainer = {"command": ["train", "{job}"]}
    config = SweepConfig.parse(
        {"domains": {"web": {}, "math": {}}, "targets": targets, "trainer": trainer}
    )
    assert config.weights() == pytest.approx({"web": 0.2, "arc": 0.8, "legal": 0})  # 2/4 : 1/0.5
    again = SweepConfig.parse(yaml.safe_load(config.to_yaml()))
    assert again.weights() == config.weights()


def test_references_and_groups_combine():
    targets = {
        "web": {"domain": "web", "reference": 2.0},
        "rust": {"path": "r.jsonl", "group": "code", "reference": 1.0},
        "perl": {"path": "p.jsonl", "group": "code", "reference": 0.5},
    }
    assert parsed(targets=targets).weights() == pytest.approx(
        {"web": 0.25, "rust": 0.25, "perl": 0.5}
    )


def test_a_group_of_one_target_changes_nothing():
    targets = {"web": {"domain": "web", "weight": 3}, "exam": {"path": "exam.jsonl"}}
    alone = {**targets, "web": {**targets["web"], "group": "texts"}}
    assert parsed(targets=alone).weights() == parsed(targets=targets).weights()


def test_the_resolved_configuration_loads_as_an_equal_one(tmp_path):
    config = parsed(final={"tokens": 1e12}, stop={"tolerance": 0.01}).anchored(tmp_path)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    again = SweepConfig.load(tmp_path / "config.yaml")
    assert again == config
    assert again.digest == config.digest


def test_relative_data_is_found_from_the_files_own_folder_and_uris_stay(tmp_path):
    raw = {"domains": {"web": {"path": "s3://bucket/web/*.jsonl.zst"}, "math": {"path": "math/"}}}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(raw))
    config = SweepConfig.load(tmp_path / "sweep.yaml")
    assert config.domains["web"].path == "s3://bucket/web/*.jsonl.zst"
    assert config.domains["math"].path == str(tmp_path / "math")


def test_the_digest_follows_what_shapes_results_and_nothing_else():
    shown = {"tracking": {"wandb": {"project": "p"}}, "resources": {"slots": 3}}
    assert parsed().digest == parsed(out="elsewhere", name="other", **shown).digest
    assert parsed().digest != parsed(seed=1).digest


def test_steps_are_one_number_or_rising_ones_and_the_longest_says_the_tokens(tmp_path):
    one, two = parsed(proxy={"steps": 800}), parsed(proxy={"steps": [200, 800]})
    assert (one.proxy.lengths, two.proxy.lengths) == ((800,), (200, 800))
    assert one.proxy.tokens == two.proxy.tokens == 800 * 128 * 8
    assert one.public()["proxy"]["steps"] == 800
    assert two.public()["proxy"]["steps"] == [200, 800]
    assert (
        one.digest
        == parsed(proxy={"steps": [800]}).digest
        == parsed(proxy={"steps": 8e2}).digest
        != two.digest
    )
    (tmp_path / "config.yaml").write_text(two.to_yaml())
    assert SweepConfig.load(tmp_path / "config.yaml").digest == two.anchored(tmp_path).digest


def test_caps_of_the_final_run_are_bounds_of_the_sweep():
    config = parsed(final={"tokens": 1e12, "max_epochs": 4})
    assert config.domain_set().upper == pytest.approx((1.0, 0.12))
    assert parsed().domain_set().upper == (1.0, 0.2)


def test_caps_bound_domains_by_the_tokens_of_their_text_where_the_file_gives_none():
    domains = {name: {"path": "x"} for name in ("web", "math")}
    config = parsed(domains=domains, final={"tokens": 1e6, "max_epochs": 4})
    assert config.domain_set({"web": 1e6, "math": 2e4}).upper == pytest.approx((1.0, 0.08))
    with pytest.raises(MixtureError, match=r"need 250000 tokens of text; the domains .* give 4e"):
        config.domain_set({"web": 2e4, "math": 2e4})
    with pytest.raises(MixtureError, match="token caps of final, leave a single mixture"):
        config.domain_set({"web": 2e5, "math": 5e4})


def test_a_proxy_sees_as_small_a_part_of_a_domain_as_makes_it_repeat_like_the_final_run():
    config = parsed(final={"tokens": 1e12}, proxy={"steps": 1000, "context": 100, "batch": 10})
    assert config.subsample() == {"math": 30_000}  # 1e6 of 1e12 tokens of 3e10
    assert parsed(final={"tokens": 1e12, "match_epochs": False}).subsample() is None
    assert parsed().subsample() is None


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"stpe": {}}, r"sweep\.yaml: stpe is not a known key; did you mean stop\?"),
        ({"proxy": {"stepz": 3}}, r"proxy\.stepz is not a known key; did you mean steps\?"),
        (
            {"domains": {"a": {"path": "x", "wieght": 1}, "b": {"path": "y"}}},
            r"domains\.a\.wieght is not a known key",
        ),
        ({"domains": {"a": {"path": "x"}}}, "domains has 1 entries; need at least 2"),
        (
            {"domains": {"a": {"path": "x", "version": "2\n\x1b[2J"}, "b": {"path": "y"}}},
            r"domains\.a\.version",
        ),
        (
            {"domains": {"a": {"path": "x", "max": 0.2}, "b": {"path": "y", "max": 0.2}}},
            "max sum to 0.4",
        ),
        (
            {
                "domains": {
                    "a": {"path": "x", "min": 0.3, "tokens": 2e9},
                    "b": {"path": "y"},
                },
                "final": {"tokens": 1e11, "max_epochs": 4},
            },
            r"domain a has min 0\.3, and 4 epochs of its 2e\+09 tokens are 0\.08 of a run of",
        ),
        (
            {
                "domains": {n: {"path": n, "tokens": 1e9} for n in "ab"},
                "final": {"tokens": 1e12, "max_epochs": 4},
            },
            r"need 2\.5e\+11 tokens of text; the domains and their max give 2e\+09",
        ),
        ({"domains": {"a": {"path": "x"}, "b": {}}}, r"domains\.b\.path is missing; need it"),
        ({"domains": {" a": {"path": "x"}, "b": {"path": "y"}}}, "name ' a' is not usable"),
        (
            {"targets": {"a": {"domain": "web"}, "b": {"path": "x", "unit": "bits_per_byte"}}},
            "units bits_per_byte and nats_per_token",
        ),
        (
            {"targets": {"exam": {}}},
            r"targets\.exam names neither a domain nor a path; the builtin trainer needs one of "
            r"them",
        ),
        (
            {"targets": {"exam": {"domain": "web", "path": "x"}}},
            r"targets\.exam names both a domain and a path",
        ),
        (
            {"trainer": "train.py"},
            r"trainer is 'train\.py'; need builtin, module:function or \{command",
        ),
        (
            {"trainer": {"function": "train:"}},
            r"trainer\.function is 'train:'; need module:function",
        ),
        (
            {"trainer": {"comand": ["x", "{job}"]}},
            r"trainer\.comand is not a known key; did you mean command\?",
        ),
        (
            {"trainer": {"command": ["train"]}},
            r"trainer\.command is \['train'\]; need \"\{job\}\" among the arguments",
        ),
        ({"trainer": {"command": ["train", 3]}}, r"trainer\.command\.1 is 3; need: a valid string"),
        (
            {"resources": {"gpu": 1.5}},
            r"resources\.gpu is 1\.5; need a whole number of GPUs, or a part of one",
        ),
        ({"resources": {"nodes": 2}}, "the builtin trainer uses one node and at most one GPU"),
        (
            {"targets": {"exam": {"domain": "wbe"}}},
            r"targets\.exam\.domain is 'wbe'; need one of web, math",
        ),
        ({"targets": {"web": {"domain": "web", "weight": 0}}}, "every target has weight 0"),
        (
            {"targets": {"web": {"domain": "web", "group": "texts"}}, "objective": "worst"},
            "targets.web.group is 'texts' and objective is worst, in which each target counts",
        ),
        ({"targets": {"web": {"domain": "web", "group": ""}}}, "targets.web.group"),
        (
            {"targets": {"web": {"domain": "web", "reference": 0}}},
            r"targets\.web has the reference 0; need a number between 1e-06 and 1e\+06",
        ),
        (
            {"targets": {"web": {"domain": "web", "reference": 2}, "math": {"domain": "math"}}},
            r"targets\.web has a reference and targets\.math has none; weights are of relative",
        ),
        (
            {"proxy": {"sizes": [1e6, 1e5]}},
            r"proxy\.sizes is \[1000000\.0, 100000\.0\]; need one to 4 rising sizes of at least "
            r"1e3",
        ),
        ({"proxy": {"sizes": [1e5, 1e5]}}, r"proxy\.sizes is .*; need one to 4 rising sizes"),
        (
            {"proxy": {"sizes": [1e4, 2e4, 3e4, 4e4, 5e4]}},
            r"proxy\.sizes is .*; need one to 4 rising sizes",
        ),
        ({"proxy": {"sizes": [10, 2e4]}}, r"proxy\.sizes is .*; need one to 4 rising sizes"),
        ({"proxy": {"sizes": []}}, r"proxy\.sizes is \[\]; need one to 4"),
        ({"resources": {"slots": 0}}, r"resources\.slots is 0; need auto or a whole number from 1"),
        ({"budget": {"gpu_hours": 0}}, r"budget\.gpu_hours is 0; need: greater than 0"),
        ({"stop": {"tolerance": float("nan")}}, r"stop\.tolerance is nan"),
        ({"seed": "zero"}, "seed is 'zero'; need: a valid integer"),
        ({"name": "../up"}, "name is '../up'"),
        ({"domains": {"a": {"path": ""}, "b": {"path": "y"}}}, r"domains\.a\.path is ''"),
        (
            {"domains": {"a\u00a0b": {"path": "x"}, "b": {"path": "y"}}},
            "not usable; need printable text",
        ),
        (
            {
                "domains": {
                    "a": {"path": "x", "min": 0.4, "max": 0.4},
                    "b": {"path": "y", "min": 0.6},
                }
            },
            "leave a single mixture",
        ),
        ({"resources": {"slots": "x"}}, r"resources\.slots is 'x'; need auto"),
        ({"resources": {"cpu": 1e-9}}, r"resources\.cpu is 1e-09"),
        (
            {"proxy": {"steps": 10**30}},
            r"proxy\.steps is 1.*; need a whole number from 8 to 1e9, or up to 4 rising ones",
        ),
        ({"proxy": {"steps": 7}}, r"proxy\.steps is 7; need a whole number from 8"),
        (
            {"proxy": {"steps": [800, 200]}},
            r"proxy\.steps is \[800, 200\]; need a whole number from 8 to 1e9, or up to 4 rising "
            r"ones",
        ),
        ({"proxy": {"steps": [200, 200]}}, r"proxy\.steps is .*; need a whole number from 8"),
        ({"proxy": {"steps": [4, 200]}}, r"proxy\.steps is \[4, 200\]; need a whole number from 8"),
        (
            {"proxy": {"steps": [8, 9, 10, 11, 12]}},
            r"proxy\.steps is .*; need .* up to 4 rising ones",
        ),
        ({"proxy": {"steps": []}}, r"proxy\.steps is \[\]; need a whole number from 8"),
        (
            {"proxy": {"steps": [200, 800.5]}},
            r"proxy\.steps is \[200, 800\.5\]; need a whole number",
        ),
        ({"out": "a\0b"}, "out is"),
        ({"stop": {"patience": 10**23}}, r"stop\.patience is 1"),
        (
            {"final": {"tokens": 1e-300}},
            r"final\.tokens is 1e-300; need: greater than or equal to 1",
        ),
        ({"final": {"tokens": 1e12, "size": 1e300}}, r"final\.size is 1e\+300"),
        ({"proxy": {"sizes": [1e300]}}, r"proxy\.sizes is \[1e\+300\]; need one to 4 rising"),
        (
            {"domains": {f"d{number}": {"path": "x"} for number in range(10_001)}},
            "domains is .*at most 10000 items",
        ),
    ],
)
def test_a_bad_key_or_value_is_named_with_what_was_needed(extra, message):
    with pytest.raises(ConfigError, match=message):
        parsed(**extra)


@pytest.mark.parametrize(
    "extra",
    [
        {"seed": [["x" * 10**6] * 100] * 10**4},
        {"trainer": [0] * 10**7},
        {"resources": {"slots": "9" * 10**7}},
        {"x" * 10**7: 1},
        {"trainer": {"command": ["x" * 10**7]}},
        {"seed": int("f" * 5000, 16)},
        {f"key{number}": 1 for number in range(10**5)},
    ],
)
def test_a_problem_of_any_size_is_said_in_a_few_words(extra):
    with pytest.raises(ConfigError) as caught:
        parsed(**extra)
    assert max(map(len, str(caught.value).splitlines())) < 400
    assert len(str(caught.value).splitlines()) <= 21


def test_every_problem_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        parsed(seed=-1, objective="median", sped=1)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "holds list; need a mapping"),
        ("a: [", "is not YAML"),
        ("", "is empty; need a mapping"),
        ("!!python/object/apply:os.system [ls]", "is not YAML"),
        ("seed: 1\nseed: 2\n", "key 'seed' stands there twice"),
        ("a: 2024-13-45", "is not YAML"),
        ("[" * 5000, "nested too deep"),
        (BOMB, "more than 1000000 values, aliases counted"),
        ("a: &a [*a]", "an alias stands for what it is a part of"),
        ("a: *b", "is not YAML"),
        (
            "name: caf\xe9\n",
            r"sweep.yaml is not UTF-8 text \(invalid continuation byte at byte 9\)$",
        ),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text, message):
    (tmp_path / "sweep.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=message):
        SweepConfig.load(tmp_path / "sweep.yaml")


def test_values_that_several_domains_share_are_written_once_and_referred_to(tmp_path):
    text = "domains: {a: &common {max: 0.9, tokens: 1.0e9}, b: *common}\ntrainer: 'train:run'\n"
    (tmp_path / "sweep.yaml").write_text(text)
    assert [
        domain.max for domain in SweepConfig.load(tmp_path / "sweep.yaml").domains.values()
    ] == [0.9, 0.9]


def test_a_home_folder_is_left_for_the_reader_to_expand(tmp_path):
    (tmp_path / "sweep.yaml").write_text(
        yaml.safe_dump({"domains": {"a": {"path": "~/a"}, "b": {"path": "b"}}})
    )
    assert SweepConfig.load(tmp_path / "sweep.yaml").domains["a"].path == "~/a"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml cannot be read"):
        SweepConfig.load(tmp_path / "gone.yaml")


def test_a_brought_trainer_needs_no_paths_and_knows_its_targets_by_name(tmp_path):
    content = {
        "domains": {"web": {}, "math": {"tokens": 3e10}},
        "targets": {"web": {}, "exam": {}},
        "trainer": "train:run",
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    config = SweepConfig.load(tmp_path / "sweep.yaml")
    assert config.own() == {"web": "web"}
    assert config.trainer.function == "train:run"
    assert config.trainer.folder == str(tmp_path)
    assert SweepConfig.parse(yaml.safe_load(config.to_yaml())) == config
    assert SweepConfig.parse(content).digest == config.digest  # where it lies shapes no result
    assert SweepConfig.parse(content | {"trainer": "train:other"}).digest != config.digest
    assert SweepConfig.parse({"domains": content["domains"], "trainer": "train:run"}).own() == {
        "web": "web",
        "math": "math",
    }


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIA:hush@bucket/x",
        "s3://bucket/x?region=us-east-1&secret_key=hush",
        "abfs://:hush@account/x",
    ],
)
@pytest.mark.parametrize("where", ["domains.a.path", "targets.held.path", "out"])
def test_a_secret_in_a_uri_is_refused_and_not_repeated(uri, where):
    content = {
        "domains": {"a": {"path": "a"}, "b": {"path": "b"}},
        "targets": {"a": {"domain": "a"}, "held": {"path": "held"}},
        "out": "o",
    }
    *keys, last = where.split(".")
    place = content
    for key in keys:
        place = place[key]
    place[last] = uri
    with pytest.raises(
        ConfigError, match=rf"{where} \(\w+://.*carries a secret .* through the environment"
    ) as refused:
        SweepConfig.parse(content)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "uri", ["http://me:hush@host", "postgresql://me:hush@host/db", "http://host/?token=hush"]
)
def test_a_trackers_password_is_refused_and_not_repeated(uri):
    with pytest.raises(
        ConfigError, match=r"tracking\.mlflow\.uri \(\w+://.* set MLFLOW_TRACKING_USERNAME and"
    ) as refused:
        parsed(tracking={"mlflow": {"uri": uri}})
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "uri",
    [
        "gs://anonymous@bucket/x",
        "abfs://container@account/x",
        "s3://bucket/x?region=eu-west-1&scheme=http",
    ],
)
def test_a_uri_without_a_secret_is_taken(uri):
    assert (
        SweepConfig.parse({"domains": {"a": {"path": uri}, "b": {"path": "b"}}, "out": uri}).out
        == uri
    )


CAPPED = {"web": {"path": "w", "tokens": 3e9}, "code": {"path": "c", "tokens": 1e9, "max": 0.5}}


def test_todays_mixture_and_a_prior_are_resolved_and_what_is_unusual_is_said():
    content = {"domains": CAPPED | {"math": {"path": "m"}}, "today": "natural"}
    config = SweepConfig.parse(content | {"prior": {"mixture": "today", "kl": 0.02}})
    stated = config.stated_mixtures({"math": 1e9})
    assert stated.today.as_dict() == pytest.approx({"web": 0.6, "code": 0.2, "math": 0.2})
    assert (stated.prior, stated.kl, stated.notes) == (stated.today, 0.02, ())
    assert SweepConfig.parse(yaml.safe_load(config.to_yaml())) == config
    odd = content | {"today": {"web": 2, "code": 8}, "prior": {"mixture": {"web": 1}, "kl": 1}}
    said = " ".join(SweepConfig.parse(odd).stated_mixtures({"math": 1e9}).notes)
    assert "today sums to 10, so its numbers count as numbers of tokens" in said
    assert "today does not name math; a domain not named counts as 0" in said
    assert "today's mixture breaks the bounds of code (0 to 0.5); it is trained as stated" in said
    assert "prior.mixture gives nothing to code, math, so no recommended mixture holds it" in said
    plain = SweepConfig.parse({"domains": CAPPED}).stated_mixtures()
    assert (plain.today, plain.prior, plain.kl, plain.notes) == (None, None, 0.0, ())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"today": {"web": 0.7, "code": 0.2}}, "today sums to 0.9; need proportions"),
        ({"today": "natrual"}, "today is 'natrual'; need natural, entropy or numbers for domains"),
        ({"today": {"web": "most"}}, "need natural, entropy or numbers for domains"),
        ({"today": {"web": True}}, "need natural, entropy or numbers for domains"),
        ({"today": {"web": float("nan")}}, "need natural, entropy or numbers for domains"),
        ({"today": {"code": -1, "web": 2}}, "today gives code the value -1"),
        ({"today": {"maths": 1}}, "today names maths; the domains are web, code"),
        ({"prior": {"mixture": "today", "kl": 1}}, "today is not stated; state it"),
        ({"first": ["natural"]}, "first.0 is 'natural'; need entropy, today or numbers for"),
        ({"first": ["today"]}, "mixture 1 of first is today, and today is not stated"),
        ({"first": ["entropy"] * 4}, "need: Tuple should have at most 3 items"),
        ({"prior": {"mixture": "natural"}}, "prior.kl is missing"),
        ({"prior": {"mixture": "natural", "kl": -1}}, "prior.kl is -1; need"),
        ({"prior": {"mixture": {"web": 0.5}, "kl": 1}}, "prior.mixture sums to 0.5"),
        ({"prior": {"mixture": {"code": 1}, "kl": 1}}, "gives nothing to domains that the bounds"),
    ],
)
def test_a_stated_mixture_that_cannot_be_used_is_refused_in_one_line(keys, message):
    with pytest.raises(ConfigError) as refused:
        SweepConfig.parse({"domains": CAPPED} | keys)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_natural_needs_tokens_where_nobody_counts_them():
    content = {"domains": {"web": {"tokens": 1e9}, "code": {}}, "trainer": "train:run"}
    with pytest.raises(ConfigError, match="today is natural, and the tokens of code are not known"):
        SweepConfig.parse(content | {"today": "natural"})


def test_the_entropy_mixture_is_taken_where_the_text_was_read_and_first_ones_move_into_bounds():
    domains = CAPPED | {"math": {"path": "m"}, "off": {"path": "o", "max": 0}}
    prior = {"mixture": "entropy", "kl": 0.1}
    first = ["entropy", {"web": 0.2, "code": 0.7, "math": 0.1}]
    config = SweepConfig.parse(
        {"domains": domains, "today": "entropy", "prior": prior, "first": first}
    )
    assert SweepConfig.parse(yaml.safe_load(config.to_yaml())) == config
    measured = Mixture.from_mapping({"web": 0.3, "code": 0.2, "math": 0.3, "off": 0.2})
    stated = config.stated_mixtures({"math": 1e9, "off": 1e9}, measured)
    expected = {"web": 0.375, "code": 0.25, "math": 0.375, "off": 0}
    for mixture in (stated.today, stated.prior, stated.first[0]):
        assert mixture.as_dict() == pytest.approx(expected)
    assert stated.first[1].as_dict() == pytest.approx(
        {"web": 0.3, "code": 0.5, "math": 0.2, "off": 0}
    )
    assert (
        "mixture 2 of first breaks the bounds of code (0 to 0.5) and is moved" in stated.notes[-1]
    )


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"today": "entropy"}, "today"),
        ({"prior": {"mixture": "entropy", "kl": 1}}, "prior.mixture"),
        ({"first": [{"web": 1}, "entropy"]}, "mixture 2 of first"),
    ],
)
def test_a_users_trainer_is_told_where_to_read_the_entropy_mixture(keys, what):
    content = {"domains": {"web": {}, "code": {}}, "trainer": "train:run"}
    with pytest.raises(ConfigError, match=f"{what} is entropy, which only .*bimix-sweep entropy"):
        SweepConfig.parse(content | keys)
