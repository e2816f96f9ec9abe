"""What one unit of a trainer's weight is: a token, or a document whatever its length."""

from enum import Enum


class Unit(Enum):
    """What a trainer's weights are proportions of."""

    TOKENS = "share of tokens"
    """Trainers that draw samples of equal length: the recipe's proportions as they stand."""
    DOCUMENTS = "documents"
    """Trainers that draw documents or records: proportion of tokens / tokens of a document."""
