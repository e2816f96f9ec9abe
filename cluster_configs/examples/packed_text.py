"""Packed sequences of a sweep's text, for hf_trainer.py and litgpt_trainer.py beside this file."""

import numpy as np

from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
from bimix_sweep.data.sources import Source
from bimix_sweep.errors import TrainingError

HELD_OUT = 128
"""Largest number of sequences that measure the loss of a target."""


def read_tokenizer(stated):
    """The tokenizer that sweep.yaml states as `tokenizer`."""
    if stated is None:
        raise TrainingError("sweep.yaml states no tokenizer; need tokenizer: tokenizer.json")
    return TextTokenizer.read(stated["path"], stated["end_of_text"])


def packed(text, tokenizer, length):
    """(sequences, length) tokens of a text: its documents one after the other, cut at `length`."""
    source = Source(path=text["path"], field=text["field"], format=text["format"])
    documents = [[*tokenizer.encode([one])[0], tokenizer.end_id] for one in source.texts()]
    tokens = np.concatenate(documents)
    return tokens[: len(tokens) // length * length].reshape(-1, length)


def split(domains, targets, tokenizer, length):
    """Sequences to train on by domain, and held-out sequences by target.

    A target that is a domain has the last tenth of the domain's text.
    """
    train, held_out = {}, {}
    for name, domain in domains.items():
        rows = packed(domain, tokenizer, length)
        limit = (domain["subsample"] or rows.size) // length  # repeats a domain like the final run
        cut = len(rows) - len(rows) // 10 - 1
        if min(cut, limit) < 1:
            raise TrainingError(
                f"domain {name} has {len(rows)} sequences; need two, give more text"
            )
        train[name], held_out[name] = rows[: min(cut, limit)], rows[cut:]
    own = {name: packed(of, tokenizer, length) for name, of in targets.items() if of["path"]}
    held_out = {name: own.get(name, held_out.get(of["domain"])) for name, of in targets.items()}
    return train, {name: rows[:HELD_OUT] for name, rows in held_out.items()}


def mixed(train, mixture, count, seed):
    """(count, length) tokens in a trial's proportions, exact to one sequence from the start on.

    The k-th sequence of a domain is the same in all trials of a seed, so that trials differ in
    their mixtures only.
    """
    names, proportions = [*mixture], np.array([*mixture.values()])
    generators = [np.random.default_rng([seed, place]) for place in range(len(names))]
    orders = [g.permutation(len(train[n])) for g, n in zip(generators, names, strict=True)]
    drawn, rows = np.zeros(len(names), int), []
    for number in range(1, count + 1):
        domain = int(np.argmax(proportions * number - drawn))  # the one furthest behind
        rows.append(train[names[domain]][orders[domain][drawn[domain] % len(orders[domain])]])
        drawn[domain] += 1
    return np.stack(rows)
