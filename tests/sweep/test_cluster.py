import pytest

from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.cluster import check_address


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
