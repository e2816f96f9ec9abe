import pytest

from bimix_sweep.config import ResourcesConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.cluster import _slots, check_address


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:9", "nothing listens at 127.0.0.1:9"),
        ("ray://127.0.0.1:9", "nothing listens at ray://127.0.0.1:9"),
        ("nowhere", "address 'nowhere' is not host:port"),
        ("127.0.0.1:99999999", "nothing listens at"),
    ],
)
def test_an_address_without_ray_is_said_at_once(address, said):
    with pytest.raises(SweepError, match=said):
        check_address(address)


@pytest.mark.parametrize(
    ("resources", "available", "slots"),
    [
        ({}, {"CPU": 16.0}, 16),
        ({"cpu": 3}, {"CPU": 16.0}, 5),
        ({"cpu": 1, "gpu": 0.5}, {"CPU": 16.0, "GPU": 2.0}, 4),
        ({"slots": 3}, {"CPU": 16.0}, 3),
        ({"slots": 64}, {"CPU": 16.0}, 16),
    ],
)
def test_slots_are_what_fits_at_most(resources, available, slots):
    assert _slots(ResourcesConfig(**resources), available) == slots


def test_a_training_that_fits_nowhere_is_said():
    with pytest.raises(SweepError, match=r"needs 1 CPUs and 1 GPUs and Ray has 16 and 0; lower resources\.cpu or resources\.gpu"):
        _slots(ResourcesConfig(gpu=1), {"CPU": 16.0})
