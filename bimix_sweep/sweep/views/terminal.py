"""Terminal view of a running sweep: trials, predicted optimum with its region, and time left.

The view is drawn from plain snapshots, so it knows nothing of Ray. On a terminal the view is
redrawn in place. Elsewhere (a log file, a job's output) every new line of the sweep's log is
printed once.
"""

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bimix_sweep.sweep.history.snapshot import Snapshot, describe, duration
from bimix_sweep.text import printable

SHOWN_TRIALS = 12
"""Most rows of the table; the table omits trials that were proposed earlier."""
NOT_ROWS = 11
"""Rows of a view beside those of its trials and domains: titles, times, decision, last line."""
SUMMARY_SECONDS = 30.0
"""Seconds between the lines of a log that summarise the progress of the whole sweep."""


class Progress:
    """Shows snapshots of a sweep; a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._live: Live | None = None
        self._printed = (0, 0)  # writer's epoch, number of lines printed
        self._summarised = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stops redrawing; the last view stays, and later lines are printed below it."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        """Prints one line that stays on the screen."""
        self.console.print(Text(printable(line)), soft_wrap=True)

    def show(self, snapshot: Snapshot) -> None:
        """Shows the current snapshot."""
        if not self.console.is_terminal:
            epoch, count = self._printed
            new = snapshot.num_lines - (count if epoch == snapshot.epoch else 0)
            for line in [*snapshot.lines][-new:] if new else ():
                self.say(line)
            self._printed = (snapshot.epoch, snapshot.num_lines)
            if time.monotonic() - self._summarised > SUMMARY_SECONDS:
                self._summarised = time.monotonic()
                self.say(f"{_title(snapshot)}; {_times(snapshot)}")
            return
        if self._live is None:
            self._live = Live(
                console=self.console,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(view(snapshot, self.console.size), refresh=True)


def view(snapshot: Snapshot, size: tuple[int, int] | None = None) -> RenderableType:
    """Draws a snapshot: times and decision, optimum with region, and the latest trials.

    What decides comes first, because a terminal cuts a view that is too tall at its end.

    Args:
        snapshot: the sweep at one moment.
        size: columns and rows of the terminal; None: no limit, as for a pipe.
    """
    parts: list[RenderableType] = [Text(_title(snapshot)), Text(_times(snapshot))]
    parts += [Text(snapshot.decision)] if snapshot.decision else []
    rows = SHOWN_TRIALS
    if snapshot.optimum is not None:
        shown = len(snapshot.optimum) if size is None else max(3, size[1] // 4)
        parts += [Text(), _optimum_table(snapshot, shown)]
        rows = rows if size is None else size[1] - NOT_ROWS - min(shown, len(snapshot.optimum))
    parts += [Text(), _trial_table(snapshot, max(3, min(rows, SHOWN_TRIALS)), size is not None)]
    parts += [
        Text(line)
        for line in (*snapshot.lines[-1:], *(snapshot.not_tested if snapshot.decision else ()))
        if line
    ]
    return Group(*parts)


def _trial_table(snapshot: Snapshot, count: int, narrow: bool) -> Table:
    """Table of the latest trials.

    Args:
        count: number of trials.
        narrow: fit the table into the width of the console by cutting the mixtures.
    """
    table = Table(box=None, pad_edge=False, expand=narrow)
    rows = [*snapshot.trials][-count:]
    sized = any(row.size is not None for row in rows)
    several = any(row.steps != snapshot.steps for row in rows)
    names = ["trial", *["size"] * sized, *["steps"] * several, "why", "progress", "loss"]
    for name in names:
        right = name in ("size", "steps", "loss")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    table.add_column("mixture", no_wrap=True, ratio=1 if narrow else None)
    for row in rows:
        table.add_row(
            Text(row.trial),  # rich reads no markup in a Text
            *((f"{row.size:.3g}",) if row.size is not None else ()),
            *((str(row.steps),) if several else ()),
            Text(row.reason),
            {"finished": "done", "failed": "failed"}.get(
                row.state, f"{'━' * (8 * row.step // row.steps):8} {row.step}"
            ),
            "" if row.objective is None else f"{row.objective:.4f}",
            Text(describe(row.mixture)),
        )
    return table


def _optimum_table(snapshot: Snapshot, count: int) -> Table:
    """Table of the predicted optimum: the `count` largest domains, in the order of the sweep."""
    optimum = snapshot.optimum or {}
    largest = sorted(optimum, key=lambda name: -optimum[name])[:count]
    others = len(optimum) - len(largest)
    title = "predicted optimum and the region that is as good"
    if others:
        title += f"; {others} domains with less are not shown"
    bars = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for name in ("domain", "proportion", "region", ""):
        bars.add_column(name, no_wrap=True)
    for name, proportion in optimum.items():
        if name in largest:
            low, high = snapshot.region.get(name, (proportion, proportion))
            cells = (f"{proportion:.3f}", f"{low:.2f}-{high:.2f}", _bar(proportion, low, high))
            bars.add_row(Text(name), *cells)
    return bars


def _title(snapshot: Snapshot) -> str:
    counts = {
        state: sum(by_state.get(state, 0) for by_state in snapshot.counts.values())
        for state in ("finished", "running", "failed")
    }
    counted = [f"{count} {state}" for state, count in counts.items() if count]
    if not counted:
        return f"{snapshot.name}: {'done' if snapshot.phase == 'done' else 'starting'}"
    return f"{snapshot.name}: " + ", ".join(
        counted if snapshot.phase == snapshot.name else [snapshot.phase, *counted]
    )


def _bar(proportion: float, low: float, high: float, width: int = 40) -> str:
    """Draws a line from 0 to 1 with a thick part for the region and a mark for the optimum."""
    cells = ["━" if low <= (cell + 0.5) / width <= high else "─" for cell in range(width)]
    cells[min(width - 1, int(proportion * width))] = "●"
    return "".join(cells)


def _times(snapshot: Snapshot) -> str:
    left = None if snapshot.phase == "done" else snapshot.seconds_left
    text = f"{duration(snapshot.elapsed_seconds)} so far"
    return (
        text
        if left is None
        else (
            f"{text}, at most about {duration(left)} left "
            f"({time.strftime('%H:%M', time.localtime(time.time() + left))})"
        )
    )
