"""Defines the unit of a trainer's weights: tokens, documents of any length, or what is kept."""

from enum import Enum


class Unit(Enum):
    """What a trainer's weights are proportions of."""

    TOKENS = "proportion of tokens"
    """Unit of trainers that draw samples of equal length: the weights are the recipe's
    proportions."""
    DOCUMENTS = "documents"
    """Unit of trainers that draw documents or records: proportion of tokens / tokens per
    document."""
    KEPT = "fraction of each data set that is kept"
    """Unit of trainers that train on a part of each data set: proportion of tokens / tokens of the
    data set, the largest 1."""
