import numpy as np
import pytest

from bimix_sweep.data.store_writing import Split, share_store, write_store
from bimix_sweep.errors import DataError


def store_of(path, token):
    documents = [np.full(40, token + k, dtype=np.uint16) for k in range(3)]
    return write_store(
        path,
        train={"web": Split(documents=documents)},
        validation={"web": Split(documents=[np.full(17, token, dtype=np.uint16)])},
        vocabulary=50,
    )


def test_a_shared_store_has_the_tokens_of_the_one_it_is_made_of(tmp_path):
    first = store_of(tmp_path / "shared", 1)
    mine = share_store(first, tmp_path / "mine" / "store")
    assert mine.digest == first.digest
    assert mine.train("web").tolist() == first.train("web").tolist()


def test_a_store_that_was_replaced_meanwhile_is_not_shared(tmp_path):
    first = store_of(tmp_path / "shared", 1)
    store_of(tmp_path / "shared", 7)
    with pytest.raises(DataError, match="was replaced by the store of other text"):
        share_store(first, tmp_path / "mine" / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]
