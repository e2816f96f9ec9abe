"""Makes the token store of a sweep before the sweep runs, and measures the entropies of its
domains."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from bimix_sweep.config import SweepConfig
from bimix_sweep.data.entropy import DomainEntropies
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import ConfigError, SweepError
from bimix_sweep.sweep.run_checks import check_before_run
from bimix_sweep.sweep.trainers.texts import make_store
from bimix_sweep.sweep.workspace.paths import (
    NEXT_STORE,
    STORE,
    begun,
    held,
    local_part,
    sweep_folder,
)

Say = Callable[[str], None]


def prepare_store(
    config: SweepConfig, *, out: str | Path | None = None, say: Say = lambda line: None
) -> TokenStore:
    """Makes the token store of a sweep that has not begun; `run_sweep` then uses it.

    After a kill, the next call uses the parts that were finished.

    Args:
        config: the configuration of the sweep.
        out: the sweep's folder; default: the folder in the configuration.
        say: called with sentences about the progress.

    Raises:
        ConfigError: the trainer is not the built-in one, which alone reads a token store.
        SweepError: the folder already holds a sweep, or another driver uses it.
        DataError: the text cannot be used; in this case nothing is left behind.
    """
    folder = sweep_folder(out or config.out)
    config = config.anchored(Path.cwd())
    if config.trainer != "builtin":
        raise ConfigError("trainer is not builtin, and only the builtin trainer has a token store")
    with held(folder, say):
        if begun(folder):
            raise SweepError(f"{folder} holds a sweep already, which has its store")
        check_before_run(config, estimates=False)
        return make_store(config, local_part(folder) / STORE, say)


def open_store(folder: str) -> TokenStore:
    """Opens the store of a sweep that has begun, at its local place.

    Raises:
        DataError: the store is not there, or it cannot be read.
    """
    place = local_part(folder)
    places = (place / NEXT_STORE, place / STORE)
    return TokenStore.open(next((path for path in places if path.exists()), place / STORE))


def measure_entropies(
    config: SweepConfig, *, out: str | Path | None = None, say: Say = lambda line: None
) -> DomainEntropies:
    """Measures the entropies of the domains of a configuration.

    They are those of the sweep's token store, which is made where it is missing. With the user's
    own trainer a store is made for this call alone.

    Args:
        config, out, say: as for `prepare_store`.

    Raises:
        ConfigError: a domain has no text.
        BimixSweepError: as for `prepare_store`.
    """
    config = config.anchored(Path.cwd())
    if config.trainer == "builtin":
        folder = sweep_folder(out or config.out)
        store = open_store(folder) if begun(folder) else prepare_store(config, out=out, say=say)
        return DomainEntropies.of(store)
    if without := [name for name, domain in config.domains.items() if not domain.has_text]:
        raise ConfigError(f"domain {without[0]} has no path; need its text to measure an entropy")
    with tempfile.TemporaryDirectory(prefix="bimix-entropy-") as scratch:
        return DomainEntropies.of(make_store(config, Path(scratch) / STORE, say))
