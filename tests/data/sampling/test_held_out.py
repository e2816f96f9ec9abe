import random

import pytest

from bimix_sweep.data.sampling.held_out import HeldOut, runs_of


@pytest.mark.parametrize("documents", [1, 2])
def test_a_near_copy_is_found_however_few_documents_are_held_out(documents):
    words = random.Random(0)
    texts = [" ".join(f"w{words.randrange(10**6)}" for _ in range(200)) for _ in range(2)]
    held = HeldOut()
    for key, text in enumerate(texts[:documents]):
        held.add(key, runs_of(text))
    assert all(held.is_near(f"{text} and a tail") for text in texts[:documents])
    assert not held.is_near(" ".join(f"v{number}" for number in range(200)))
