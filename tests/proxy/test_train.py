"""A training repeats and resumes to the last bit, refuses what is not its own, and shows what the
law is about.
"""

import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bimix_sweep.data.stream import MixtureStream
from bimix_sweep.errors import ConfigError, DataError, DivergedError, TrainingError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.proxy.precision import choose_precision
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.proxy.train import train
from tests.support.markov_domains import MarkovDomain, planted_store

SPEC = ProxySpec(
    vocabulary=64, width=32, layers=1, context=32, batch=8, steps=120, warmup=10, learning_rate=1e-2
)

HALF = Mixture.from_mapping({"calm": 0.5, "wild": 0.5})


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def chains():
    generator = np.random.default_rng(0)
    return {
        "calm": MarkovDomain.random(generator, vocabulary=64, successors=2),
        "wild": MarkovDomain.random(generator, vocabulary=64, successors=6),
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory, chains):
    return planted_store(
        tmp_path_factory.mktemp("train") / "store",
        chains,
        train_tokens=60_000,
        validation_tokens=2_048,
        seed=0,
    )


def losses_of(
    store, mixture=HALF, spec=SPEC, *, seed=5, stream_seed=3, dtype="float32", **settings
):
    points = {}
    train(
        spec,
        MixtureStream(store, mixture, batch=spec.batch, context=spec.context, seed=stream_seed),
        {name: store.validation_rows(name, spec.context) for name in store.domains},
        seed=seed,
        report=points.__setitem__,
        precision={"dtype": dtype},
        **settings,
    )
    return points


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_seeds_give_the_same_losses_to_the_last_bit_and_others_do_not(store, dtype):
    first = losses_of(store, dtype=dtype)
    assert tuple(first) == SPEC.eval_steps()
    assert losses_of(store, dtype=dtype) == first
    assert losses_of(store, dtype=dtype, seed=6) != first
    assert losses_of(store, dtype=dtype, stream_seed=4) != first


def test_a_full_disk_is_an_error_of_the_disk_and_the_last_checkpoint_stays(store, tmp_path):
    undisturbed = losses_of(store)
    calls = iter(range(100))
    losses_of(store, checkpoint_dir=tmp_path, should_stop=lambda: next(calls) == 50)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (len(before) // 2, hard)
    )  # a file that cannot grow, as on a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            losses_of(store, checkpoint_dir=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]
    assert losses_of(store, checkpoint_dir=tmp_path) == undisturbed


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_training_killed_midway_goes_on_to_the_last_bit_as_if_it_had_not_been(
    store, tmp_path, dtype
):
    undisturbed = losses_of(store, dtype=dtype)
    program = Path(__file__).resolve().parents[1] / "support" / "killed_training.py"
    arguments = [
        str(store.path),
        str(tmp_path),
        json.dumps(SPEC.to_json()),
        json.dumps(HALF.as_dict()),
        dtype,
    ]
    child = subprocess.Popen(
        [sys.executable, str(program), *arguments], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child, child.stdout:
        before = {
            p["step"]: p["losses"] for p in (json.loads(child.stdout.readline()) for _ in range(3))
        }
        child.kill()  # SIGKILL: nothing is flushed or tidied
    assert child.returncode == -9
    third = SPEC.eval_steps()[2]
    asked = []
    resumed = losses_of(
        store, dtype=dtype, checkpoint_dir=tmp_path, should_stop=lambda: bool(asked.append(1))
    )
    assert (
        len(asked) == SPEC.steps - third
    )  # it went on from the third point and did not begin anew
    assert {step: resumed[step] for step in before} == before
    assert resumed == undisturbed


def test_a_stop_between_points_loses_nothing_and_a_finished_training_only_reports(store, tmp_path):
    undisturbed = losses_of(store)
    left = iter([False] * 50 + [True])
    stopped = losses_of(store, checkpoint_dir=tmp_path, should_stop=lambda: next(left))
    assert 0 < len(stopped) < len(undisturbed)
    asked = []
    assert (
        losses_of(store, checkpoint_dir=tmp_path, should_stop=lambda: bool(asked.append(1)))
        == undisturbed
    )
    assert len(asked) == SPEC.steps - 50
    assert (
        losses_of(
            store, checkpoint_dir=tmp_path, should_stop=lambda: pytest.fail("a step was begun")
        )
        == undisturbed
    )
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_train_says_whether_it_reached_the_last_step(store):
    stream = MixtureStream(store, HALF, batch=SPEC.batch, context=SPEC.context, seed=0)
    short = replace(SPEC, steps=2)
    validation = {"calm": store.validation_rows("calm", SPEC.context)}
    assert train(short, stream, validation, seed=0, report=lambda *_: None) is True
    assert (
        train(short, stream, validation, seed=0, report=lambda *_: None, should_stop=lambda: True)
        is False
    )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x80\x02cos\nsystem\n."])
def test_a_checkpoint_that_cannot_be_read_is_left_aside_with_a_line_in_the_log(
    store, tmp_path, caplog, content
):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    short = replace(SPEC, steps=4)
    assert losses_of(store, spec=short, checkpoint_dir=tmp_path) == losses_of(store, spec=short)
    assert "is not a readable checkpoint" in caplog.text


def test_another_trainings_checkpoint_is_refused(store, tmp_path):
    short = replace(SPEC, steps=4)
    losses_of(store, spec=short, checkpoint_dir=tmp_path)
    with pytest.raises(TrainingError, match="belongs to another trial: seed is 5 there and 6 here"):
        losses_of(store, spec=short, seed=6, checkpoint_dir=tmp_path)
    with pytest.raises(TrainingError, match="belongs to another trial: stream is"):
        losses_of(
            store,
            Mixture.from_mapping({"calm": 0.6, "wild": 0.4}),
            spec=short,
            checkpoint_dir=tmp_path,
        )


def test_a_loss_that_is_not_finite_ends_the_training_with_its_step(store, tmp_path):
    with pytest.raises(
        DivergedError, match=r"the training loss is (nan|inf) at step \d+; lower the learning rate"
    ):
        losses_of(store, spec=replace(SPEC, learning_rate=1e30), checkpoint_dir=tmp_path)


def test_a_domains_loss_falls_as_its_share_rises(store):
    by_share = [
        losses_of(store, Mixture.from_mapping({"calm": r, "wild": 1 - r}))[SPEC.steps]
        for r in (0.1, 0.3, 0.7, 0.9)
    ]
    calm, wild = ([losses[name] for losses in by_share] for name in ("calm", "wild"))
    assert calm == sorted(calm, reverse=True)
    assert wild == sorted(wild)
    slopes = np.diff(np.log(calm)) / np.diff(np.log([0.1, 0.3, 0.7, 0.9]))
    assert (slopes < -0.01).all()


def test_a_domain_alone_is_learnt_to_near_its_entropy_rate_and_not_below_it(store, chains):
    spec = replace(SPEC, steps=300)
    final = losses_of(store, Mixture.from_mapping({"calm": 1.0, "wild": 0.0}), spec=spec)[300]
    rate = chains["calm"].entropy_rate()
    assert rate - 0.02 < final["calm"] < rate + 0.15
    assert np.log(64) * 0.8 < final["wild"] < 20  # never seen: bad, and finite


def test_what_does_not_fit_together_is_refused(store):
    with pytest.raises(TrainingError, match=r"the store has 64 token ids and the proxy 32"):
        losses_of(store, spec=replace(SPEC, vocabulary=32))
    stream = MixtureStream(store, HALF, batch=2, context=32, seed=0)
    with pytest.raises(
        TrainingError, match="the stream gives 2 x 32 tokens a step and the proxy takes 8 x 32"
    ):
        train(SPEC, stream, {}, seed=0, report=lambda *_: None)
    stream = MixtureStream(store, HALF, batch=8, context=32, seed=0)
    with pytest.raises(
        DataError,
        match=r"target exam has validation tokens of shape \(20,\); need rows of 33 tokens",
    ):
        train(SPEC, stream, {"exam": np.zeros(20, dtype=np.uint16)}, seed=0, report=lambda *_: None)
    with pytest.raises(ConfigError, match="precision is 'float8'"):
        losses_of(store, dtype="float8")


def test_the_precision_is_chosen_by_time_and_is_json():
    record = choose_precision(SPEC)
    assert json.loads(json.dumps(record)) == record
    assert record["milliseconds"][record["dtype"]] == min(record["milliseconds"].values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_to_the_losses_of_the_processor(store):
    cpu, gpu = losses_of(store), losses_of(store, device="cuda")
    for step, losses in cpu.items():
        assert gpu[step] == pytest.approx(losses, rel=0.01)
