"""Every crash scenario, by name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.crash import (
    beginnings,
    changes,
    checkpoints,
    one_writer,
    stores,
    writers,
    written_results,
)
from tests.support.crash.tally import Tally


def scenarios(
    sweep: Path, texts: Path, *, seeds: int, again: int, most: int
) -> Mapping[str, Callable[[Tally], None]]:
    """{scenario: what tries its states}.

    Args:
        sweep: folder of a sweep that ran to its end.
        texts: folder of its texts.
        seeds: number of random schedules of three writers.
        again: number of states of a scenario in which the slow work is done once more.
        most: largest number of trials of a sweep that is resumed.
    """
    return {
        "journal, one writer after another": one_writer.restarts,
        "journal, long lives": lambda tally: one_writer.long_lives(tally, seeds // 20),
        "journal, two writers on a disk": lambda tally: writers.two_writers(tally, "disk"),
        "journal, two writers in a bucket": lambda tally: writers.two_writers(tally, "bucket"),
        "journal, three writers on a disk": lambda tally: writers.three_writers(
            tally, "disk", seeds
        ),
        "journal, three writers and power cuts": lambda tally: writers.three_writers(
            tally, "disk", seeds // 2, cut=True
        ),
        "journal, three writers in a bucket": lambda tally: writers.three_writers(
            tally, "bucket", seeds
        ),
        "journal, requests to a bucket": writers.requests,
        "beginning of a sweep on a disk": lambda tally: beginnings.on_disk(tally, texts),
        "change of the configuration on a disk": lambda tally: changes.on_disk(
            tally, sweep, texts, resumed=again, most=most
        ),
        "change of the configuration in a bucket": lambda tally: changes.in_bucket(
            tally, sweep, texts
        ),
        "token store": lambda tally: stores.prepared(tally, again=again),
        "token store, two processes": lambda tally: stores.two_processes(tally, seeds // 10),
        "results": lambda tally: written_results.on_disk(tally, sweep, again=again),
        "checkpoint on a disk": checkpoints.on_disk,
        "checkpoint in a bucket": checkpoints.archived,
    }
