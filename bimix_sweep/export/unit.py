"""Defines the unit of a trainer's weights: tokens, or documents of any length."""

from enum import Enum


class Unit(Enum):
    """What a trainer's weights are proportions of."""

    TOKENS = "proportion of tokens"
    """Unit of trainers that draw samples of equal length: the weights are the recipe's
    proportions."""
    DOCUMENTS = "documents"
    """Unit of trainers that draw documents or records: proportion of tokens / tokens per
    document."""
