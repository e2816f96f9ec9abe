"""Log of a trial, DIR/logs/<trial>.log: all its output besides points, bounded, no credentials."""

import contextlib
from collections import deque
from pathlib import Path
from typing import TextIO

from bimix_sweep import files, locations
from bimix_sweep.sweep.workspace.redaction import masked

MAX_BYTES = 1 << 20
"""Maximum bytes of a log; a longer log keeps its last part, and where the sweep is a local folder
as much again in <trial>.log.1.
"""
MAX_LINE = 4000
"""Maximum characters kept of a line."""
NUM_LAST = 8
"""Number of lines that a failure quotes."""
MAX_QUOTED = 1000
"""Maximum characters that a failure quotes."""


class TrialLog:
    """Writes the log of one attempt below the logs of earlier attempts; for one thread."""

    def __init__(self, folder: str, trial: str) -> None:
        """Prepares the log; the first line opens it.

        Args:
            folder: the sweep's folder, local or a URI; in a URI the log is written when the attempt
                ends.
            trial: name of the trial.
        """
        self.place = locations.join(folder, "logs", f"{trial}.log")
        self._remote = locations.is_uri(folder)
        # Log in a local folder; the first line opens the stream.
        self._stream: TextIO | None = None
        # Log in a URI; the first line makes the queue.
        self._kept: deque[str] | None = None
        self._bytes = 0
        self._last: deque[str] = deque(maxlen=NUM_LAST)

    def say(self, text: str) -> None:
        """Adds lines to the log."""
        lines = []
        for line in masked(text).splitlines() or [""]:
            shown = (
                line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}... ({len(line)} characters)"
            )
            shown = "".join(
                c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in shown
            )
            if any(c.isalnum() for c in shown):
                self._last.append(" ".join(shown.split()))
            lines.append(shown + "\n")
        if self._remote:
            self._keep(lines)
        else:
            self._write("".join(lines))

    def last_words(self) -> str:
        """Returns the last lines that hold a word, as one line."""
        quoted = " | ".join(self._last)
        return quoted if len(quoted) <= MAX_QUOTED else f"...{quoted[-MAX_QUOTED:]}"

    def close(self) -> None:
        """Completes the log.

        Raises:
            OSError: the sweep's storage cannot be written.
        """
        if self._stream is not None:
            self._stream.close()
        if self._kept is not None:
            files.write_text(self.place, "".join(self._kept))

    def _write(self, text: str) -> None:
        if self._stream is None:
            Path(self.place).parent.mkdir(parents=True, exist_ok=True)
            # `close` closes the stream.
            self._stream = Path(self.place).open(  # noqa: SIM115
                "a", encoding="utf-8", errors="replace"
            )
            self._bytes = self._stream.tell()
        self._stream.write(text)
        self._stream.flush()
        self._bytes += len(text.encode(errors="replace"))
        if self._bytes > MAX_BYTES:
            self._stream.close()
            self._stream = None
            Path(self.place).replace(self.place + ".1")

    def _keep(self, lines: list[str]) -> None:
        if self._kept is None:
            self._kept = deque()
            # OSError: the first attempt finds no log. ValueError: the log has half a character.
            with contextlib.suppress(OSError, ValueError):
                lines = [files.read_text(self.place), *lines]
        for line in lines:
            self._kept.append(line)
            self._bytes += len(line)
        while self._bytes > MAX_BYTES and len(self._kept) > 1:
            self._bytes -= len(self._kept.popleft())
