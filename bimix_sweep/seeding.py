"""Makes every random generator of a sweep from (seed, purpose, key)."""

import hashlib

import numpy as np


def seed_for(seed: int, purpose: str, *key: int | str) -> int:
    """Returns a 53-bit seed that depends on all arguments and on nothing else; a float64 column and
    JSON hold the seed exactly."""
    text = "\x1f".join([str(seed), purpose, *map(str, key)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 11


def rng(seed: int, purpose: str, *key: int | str) -> np.random.Generator:
    """Makes a generator for one purpose ("order", "proposal", ...) of the trial, domain or other
    thing that `key` names.

    Two purposes or two keys give independent streams; equal arguments give the same stream on every
    machine.
    """
    return np.random.default_rng(seed_for(seed, purpose, *key))
