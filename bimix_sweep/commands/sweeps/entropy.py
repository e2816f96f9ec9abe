"""Command that prints the entropy mixtures of a configuration's text."""

from typing import Any

import typer

from bimix_sweep.commands.options import ConfigFile, JsonFlag, OutFolder
from bimix_sweep.commands.printing import print_json, print_notes, print_progress, print_rows

TOO_MANY_SINGLE = 0.2
"""Fraction of pairs seen once above which the command says that CE and JE are too low."""


def entropy(config: ConfigFile, out: OutFolder = None, as_json: JsonFlag = False) -> None:
    """Print the mixtures that follow from the entropy of each domain's text, without any trial.

    SE is the Shannon entropy of the tokens, CE the conditional entropy of a token after the one
    before, JE the joint entropy of both. A domain's proportion grows with exp(entropy). The token
    store of the sweep is made first, as by prepare.
    """
    import yaml

    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.trainers.store_preparation import measure_entropies

    found = measure_entropies(SweepConfig.load(config), out=out, say=print_progress)
    mixtures = {short: mixture.as_dict() for short, mixture in found.mixtures.items()}
    if as_json:
        entropies = {short: dict(values) for short, values in found.values.items()}
        single = dict(found.single_pairs)
        print_json(
            {
                "tokens": found.num_tokens,
                "entropies": entropies,
                "single_pairs": single,
                "mixtures": mixtures,
            }
        )
        return
    rows: list[dict[str, Any]] = [
        {"domain": name}
        | {f"{short} nats": values[name] for short, values in found.values.items()}
        | {"pairs seen once %": f"{100 * found.single_pairs[name]:.1f}"}
        | {f"{short} mixture": f"{mixture[name]:.4f}" for short, mixture in mixtures.items()}
        for name in mixtures["CE"]
    ]
    print_rows(f"entropy of {found.num_tokens:,} tokens of each domain", rows)
    if max(found.single_pairs.values()) > TOO_MANY_SINGLE:
        print_notes(
            [
                "many pairs of tokens were seen once, so CE and JE are too low, most of all for "
                "varied text; more proxy.steps, or a smaller vocabulary, give better ones"
            ]
        )
    rounded = {name: round(share, 4) for name, share in mixtures["CE"].items()}
    stated = yaml.safe_dump(
        rounded, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9
    )
    typer.echo(f"CE is the mixture `entropy` of sweep.yaml: {stated.strip()}")
