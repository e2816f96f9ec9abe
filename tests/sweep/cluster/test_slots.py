import pytest

from bimix_sweep.config import ResourcesConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.cluster.slots import Slots, fitting


@pytest.mark.parametrize(
    ("resources", "nodes", "trials"),
    [
        ({}, [{"CPU": 16}], 16),
        ({"cpu": 3}, [{"CPU": 16}], 5),
        ({"cpu": 2}, [{"CPU": 1}, {"CPU": 1}], 0),  # the sum would hold one
        ({"cpu": 2}, [{"CPU": 3}, {"CPU": 3}], 2),  # the sum would hold three
        ({"cpu": 0.1}, [{"CPU": 1}], 10),
        ({"gpu": 0.5}, [{"CPU": 16, "GPU": 2}, {"CPU": 64}], 4),
        ({"gpu": 0.4}, [{"CPU": 16, "GPU": 2}], 4),  # no trial spans two GPUs
        ({"gpu": 2}, [{"CPU": 16, "GPU": 3}, {"CPU": 1, "GPU": 8}], 2),
        ({"nodes": 2}, [{"CPU": 4}], 0),
        ({"nodes": 2}, [{"CPU": 4}, {"CPU": 4}], 4),
        (
            {"nodes": 2},
            [{"CPU": 100}, {"CPU": 1}, {"CPU": 1}],
            2,
        ),  # each takes one part on the large node
        ({"nodes": 3, "gpu": 1}, [{"CPU": 8, "GPU": 2}] * 4, 2),
    ],
)
def test_trials_are_counted_node_by_node(resources, nodes, trials):
    assert fitting(nodes, ResourcesConfig(**resources)) == trials


@pytest.mark.parametrize(
    ("wanted", "scales", "slots"),
    [
        ("auto", False, [2, 1, 5]),  # with no node left one trial waits for the next
        (3, False, [2, 1, 3]),
        ("auto", True, [2, 1, 5]),
        (3, True, [3, 3, 3]),  # those that wait make the autoscaler grow
    ],
)
def test_slots_follow_the_nodes(wanted, scales, slots, monkeypatch):
    monkeypatch.setattr("bimix_sweep.sweep.cluster.slots.COUNT_SECONDS", -1.0)
    nodes = [[{"CPU": 2}], [], [{"CPU": 2}, {"CPU": 3}]]
    counts = iter([nodes[0], *nodes])
    found = Slots(ResourcesConfig(slots=wanted), lambda: next(counts), scales)
    assert found.shortage == ""
    assert [(found(), found.shortage) for _ in nodes] == [
        (slots[0], ""),
        (slots[1], "1 CPUs and 0 GPUs on one node"),
        (slots[2], ""),
    ]


def test_a_training_that_fits_no_node_is_said_with_the_nodes():
    with pytest.raises(
        SweepError,
        match=r"needs 2 CPUs and 0 GPUs on one node; the nodes have 1 CPUs and 0 GPUs, 1 CPUs and "
        r"0 GPUs; lower",
    ):
        Slots(ResourcesConfig(cpu=2), lambda: [{"CPU": 1}, {"CPU": 1}], scales=False)
    assert (
        Slots(ResourcesConfig(gpu=1), list, scales=True)() == 1
    )  # a cluster that has scaled to nothing wakes up


def test_a_cluster_whose_head_trains_nothing_is_given_time_for_its_first_worker(monkeypatch):
    monkeypatch.setattr("bimix_sweep.sweep.cluster.slots.time.sleep", lambda seconds: None)
    counts = iter([[{"CPU": 0.0}], [{"CPU": 0.0}], [{"CPU": 0.0}, {"CPU": 4.0}]])
    assert Slots(ResourcesConfig(), lambda: next(counts), scales=False)() == 4
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("bimix_sweep.sweep.cluster.slots.time.monotonic", lambda: next(clock))
    with pytest.raises(SweepError, match="the nodes have 0 CPUs"):
        Slots(ResourcesConfig(), lambda: [{"CPU": 0.0}], scales=False)
