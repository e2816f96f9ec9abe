"""Commands before a sweep: write a configuration, check this machine and the cluster, and make the
tokens."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bimix_sweep.commands.options import ConfigFile, JsonFlag, OutFolder
from bimix_sweep.commands.printing import print_json, print_progress
from bimix_sweep.errors import ConfigError

TextPaths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...",
        help="Text of one domain each: a folder, file, glob or URI.",
        show_default=False,
    ),
]
ConfigOut = Annotated[
    Path, typer.Option("-o", "--out", help="The configuration file to write; it must be new.")
]
SweepName = Annotated[str, typer.Option(help="Name of the sweep, `name` in the file.")]
OptionalConfig = Annotated[
    str | None,
    typer.Argument(
        metavar="CONFIG", help="A sweep.yaml, to check what it needs.", show_default=False
    ),
]
ClusterAddress = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Cluster to check: http://HEAD:8265, or host:port as for run.",
        show_default=False,
    ),
]


def init(
    paths: TextPaths,
    out: ConfigOut = Path("sweep.yaml"),
    name: SweepName = "sweep",
    as_json: JsonFlag = False,
) -> None:
    """Write a commented sweep.yaml for your own text.

    Reads some text of each path, names one domain after each path, and chooses the size of the
    proxies from the amount of text.
    """
    from bimix_sweep import files
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.preflight.init_config import examine_paths, yaml_text

    if out.exists():
        raise ConfigError(
            f"{out} is there already and will not be overwritten; give another name with -o"
        )
    found = examine_paths(paths, out)
    text = yaml_text(found, f"runs/{name}", name)
    import yaml

    SweepConfig.parse(yaml.safe_load(text), where=str(out))
    files.write_text(out, text)
    if as_json:
        print_json(
            {
                "config": str(out),
                "domains": {
                    domain.name: {"tokens": domain.tokens, "note": domain.note} for domain in found
                },
            }
        )
        return
    for domain in found:
        typer.echo(
            f"{domain.name}: about {domain.tokens:.2g} "
            f"tokens{f'; {domain.note}' if domain.note else ''}"
        )
    typer.echo(f"wrote {out}; see what it costs with: bimix-sweep plan {out}")


def doctor(
    config: OptionalConfig = None,
    address: ClusterAddress = None,
    as_json: JsonFlag = False,
) -> None:
    """Check what a sweep needs on this machine and the cluster, and say how to get it.

    Checks Python and packages, cores, memory, shared memory, GPUs, the cluster's token, the folder
    of the sweep, the configuration and its text, and the cluster. The exit code is 1 where a
    problem must be fixed before a sweep can run.
    """
    from bimix_sweep.sweep.preflight.doctor import examine

    findings = examine(config, address)
    problems = sum(finding.state == "problem" for finding in findings)
    if as_json:
        print_json({"problems": problems, "findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            typer.echo(f"{finding.state:8} {finding.what:{width}}  {finding.message}")
        typer.echo(
            "no problem was found"
            if not problems
            else f"{problems} problem{'s' if problems > 1 else ''} must be fixed first"
        )
    if problems:
        raise typer.Exit(1)


def prepare(config: ConfigFile, out: OutFolder = None, as_json: JsonFlag = False) -> None:
    """Make the token store of a sweep before it runs, or go on after a stop.

    The store is in the sweep's folder, or at `data.store` of the configuration, where several
    sweeps share it. `run` uses it and reads no text again. Finished parts are kept over a kill.
    """
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.trainers.store_preparation import prepare_store

    store = prepare_store(SweepConfig.load(config), out=out, say=print_progress)
    domains = {
        name: {"tokens": tokens, "counted": counted, "kept": store.num_train_tokens(name)}
        for name in store.domains
        for tokens, counted in (store.available_tokens(name),)
    }
    if as_json:
        print_json({"store": str(store.path), "digest": store.digest, "domains": domains})
        return
    for name, facts in domains.items():
        about = "" if facts["counted"] else "about "
        typer.echo(
            f"{name}: {about}{facts['tokens']:.4g} tokens to train on, {facts['kept']:,} of them "
            "in the store"
        )
    typer.echo(f"the store is at {store.path}; start the sweep with: bimix-sweep run {config}")
