"""Checks of one sweep: its folder, number of trials, text and trainer."""

import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bimix_sweep import files, locations
from bimix_sweep.config import CommandConfig, SweepConfig
from bimix_sweep.design.initial_design import too_few
from bimix_sweep.errors import BimixSweepError, ConfigError, DataError, SweepError
from bimix_sweep.mixture.objective import weights_in_words
from bimix_sweep.sweep.preflight.finding import Finding, gigabytes, ok, problem, warning
from bimix_sweep.sweep.run_checks import (
    config_refusals,
    documents_of,
    estimated_length,
    text_refusals,
)
from bimix_sweep.sweep.text_sources import TextSources, given_tokenizer, vocabulary_of
from bimix_sweep.sweep.trainers.builtin import proxy_specs, vocabulary_cost
from bimix_sweep.sweep.views.tracking.tracker import check_tracker, configured
from bimix_sweep.text import shown

DISK_BYTES = 1 << 30
"""Disk space in bytes for tokens, checkpoints and logs of a small sweep."""


def check_out(out: str) -> Finding:
    """Checks that the sweep's folder or URI can be written, and that there is room."""
    return _check_uri(out) if locations.is_uri(out) else _check_folder(out)


def _check_uri(out: str) -> Finding:
    """Writes a small object below the URI, reads it back and deletes it."""
    probe = locations.join(out, f".doctor-{secrets.token_hex(4)}")
    try:
        files.write_text(probe, "bimix-sweep doctor\n")
        same = files.read_text(probe) == "bimix-sweep doctor\n"
        files.delete(probe)
    except OSError as error:
        return problem(
            "out",
            f"{out} cannot be written and read: {error.strerror or error}; check the URI and the "
            "credentials",
        )
    return (
        ok("out", f"{out} can be written and read")
        if same
        else problem("out", f"{out} gives back something else than was written")
    )


def _check_folder(out: str) -> Finding:
    """Writes a temporary file into the folder, or the nearest folder above it that exists."""
    place = Path(out).expanduser().absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place if place.is_dir() else place.parent) as probe_file:
            probe_file.write(b"bimix-sweep doctor\n")
    except OSError as error:
        return problem("out", f"{place} cannot be written ({error.strerror}); take another out")
    free = shutil.disk_usage(place).free
    message = f"{gigabytes(free)} free at {place}"
    return (
        ok("out", message)
        if free >= DISK_BYTES
        else problem("out", f"{message}; need {gigabytes(DISK_BYTES)}")
    )


def check_tracking(config: SweepConfig, elsewhere: bool) -> Iterator[Finding]:
    """Checks that the clients of the trackers are installed, and that each tracker has an address.

    Args:
        config: the configuration.
        elsewhere: True where the driver may run on a cluster, whose packages are not known here.
    """
    for name, tracker in configured(config.tracking).items():
        try:
            check_tracker(name, tracker)
        except SweepError as error:
            yield (warning if elsewhere else problem)("tracking", str(error))
        else:
            yield ok("tracking", f"{name} is installed; its key and address are not tried")


def check_targets(config: SweepConfig) -> Iterator[Finding]:
    """Tells how much each target counts, whether the targets that count have different units, and
    whether a group has a single target."""
    counted = {name: one for name, one in config.resolved_targets().items() if one.weight > 0}
    relative = any(target.reference is not None for target in counted.values())
    over = "; each is divided by the loss of the target's reference" if relative else ""
    yield ok("targets", weights_in_words(config.weights()) + over)
    units = {
        "a metric with a range" if target.range else target.unit: name
        for name, target in counted.items()
    }
    if len(units) > 1 and not relative:
        kinds = ", ".join(f"{name} is in {unit}" for unit, name in units.items())
        yield warning(
            "targets",
            f"the targets have different units ({kinds.replace('is in a metric', 'is a metric')}), "
            "and the objective adds their losses as they are; state the reference of each target, "
            "such as its value for today's mixture, to weigh relative improvements",
        )
    groups = Counter(target.group for target in config.targets.values() if target.group)
    for group, count in groups.items():
        if count == 1:
            yield warning(
                "targets",
                f"group {shown(group)} has one target, so it changes nothing; if a name is "
                "misspelt, correct it",
            )


def check_trials(config: SweepConfig) -> Iterator[Finding]:
    """Checks that the budget has enough trials for the number of domains and fidelities."""
    message = too_few(
        len(config.domains),
        len(config.proxy.sizes) * len(config.proxy.lengths),
        config.budget.trials,
    )
    if message is not None:
        yield warning("trials", message)


def check_stated_mixtures(config: SweepConfig) -> Iterator[Finding]:
    """Says over which mixture the gain will be stated, and what is unusual about today's mixture
    and the prior."""
    counted = config.trainer == "builtin"
    if config.today is not None:
        yield ok("today", "the gain will be stated over today's mixture, a confirmation trial")
    else:
        known = counted or config.domain_set().knows_tokens
        yield ok(
            "today",
            "not stated; the gain will be stated over the "
            f"{'natural' if known else 'uniform'} mixture",
        )
    notes = config.stated.early_notes(config.domain_set(), counted=counted)
    yield from (warning("mixtures", note) for note in notes)


def check_vocabulary(config: SweepConfig) -> Iterator[Finding]:
    """Says which tokenizer a sweep with the built-in trainer has, and what its vocabulary costs."""
    if config.trainer != "builtin":
        return
    try:
        tokenizer = given_tokenizer(config)
        for source in TextSources.of(config, tokenizer).all():
            source.stored_bytes()
    except DataError as error:
        if str(error).startswith("tokenizer"):
            yield problem("tokenizer", str(error))
        return  # `check_texts` reports the text
    try:
        spec = proxy_specs(config, vocabulary_of(config, tokenizer))[-1]
    except BimixSweepError as error:
        yield problem("tokenizer", str(error))
        return
    if tokenizer is not None:
        yield ok(
            "tokenizer",
            f"{tokenizer.vocabulary} tokens; {shown(tokenizer.end_of_text)} ends a document",
        )
    yield ok("vocabulary", vocabulary_cost(spec))


def check_texts(config: SweepConfig) -> Iterator[Finding]:
    """Checks that the text of each domain and target can be read, and that it is large enough."""
    wanted = config.proxy.tokens
    try:
        sources = TextSources.of(config, given_tokenizer(config))
    except DataError:  # `check_vocabulary` reports it
        sources = TextSources.of(config, None)
    for kind, entries, read in (
        ("domain", config.domains, sources.domains),
        ("target", config.targets, sources.targets),
    ):
        for name, entry in entries.items():
            if not entry.has_text:
                continue
            what, source = f"{kind} {name}", read[name]
            try:
                first = (
                    next(iter(documents_of(source)), None) if config.trainer == "builtin" else ""
                )
                tokens = estimated_length(source)
            except (BimixSweepError, OSError) as error:
                yield problem(what, str(error))
                continue
            if first is None:
                yield problem(what, f"{entry.place} holds no text; need documents")
            elif kind == "domain" and config.trainer == "builtin" and tokens * 4 < wanted:
                yield warning(
                    what,
                    (
                        f"about {tokens:.2g} tokens; a proxy of {wanted:.2g} tokens on it alone "
                        f"would repeat it {wanted / tokens:.0f} times, so lower proxy.steps or "
                        "give it a max"
                    ),
                )
            else:
                yield ok(what, f"about {tokens:.2g} tokens at {entry.place}")


def check_refusals(config: SweepConfig) -> Iterator[Finding]:
    """Yields what `run` would refuse, as far as the text can be read."""
    yield from (problem("run", line) for line in config_refusals(config))
    try:
        yield from [problem("run", line) for line in text_refusals(config)]
    except (BimixSweepError, OSError):  # `_texts` reports it for the domain
        return


def check_trainer(config: SweepConfig, elsewhere: bool) -> Iterator[Finding]:
    """Checks that the user's own trainer can be found and loaded."""
    trainer = config.trainer
    if trainer == "builtin":
        return
    folder = Path(trainer.folder)
    if not folder.is_dir():
        yield problem("trainer", f"its folder {folder} is not there")
    elif isinstance(trainer, CommandConfig):
        program = trainer.command[0]
        exists = (
            shutil.which(program, path=None if "/" not in program else str(folder))
            or (folder / program).exists()
        )
        yield (
            ok("trainer", f"program {program}")
            if exists
            else problem("trainer", f"program {program} is not on the PATH nor in {folder}")
        )
    else:
        from bimix_sweep.sweep.trainers.function import prepare_function

        try:
            prepare_function(config, trainer)
            yield ok("trainer", f"{trainer.function} can be imported and called")
        except ConfigError as error:  # a cluster may have what this machine lacks
            message = str(error).removeprefix("trainer ")
            yield (
                warning("trainer", f"{message}; it must be there on every node")
                if elsewhere
                else problem("trainer", message)
            )
