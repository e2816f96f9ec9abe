"""What a training says besides its points: DIR/logs/<trial>.log, bounded, without credentials."""

import contextlib
from collections import deque
from pathlib import Path
from typing import TextIO

from bimix_sweep import files
from bimix_sweep.sweep.workspace.redaction import masked

MOST_BYTES = 1 << 20
"""Of a log; a longer one keeps its last part, and as much again in <trial>.log.1 where the sweep is a local folder."""
LONGEST_LINE = 4000
"""Characters kept of a line."""
NUM_LAST = 8
"""Lines that a failure quotes."""
MOST_QUOTED = 1000
"""Characters that a failure quotes."""


class TrainingLog:
    """The log of one attempt; those of earlier attempts stay above it. Used from one thread."""

    def __init__(self, folder: str, trial: str) -> None:
        """Args:
        folder: the sweep's, a local one or a URI; in a URI the log is written when the attempt ends.
        """
        self.place = files.join(folder, "logs", f"{trial}.log")
        self._remote = files.is_uri(folder)
        self._stream: TextIO | None = None  # of a local folder, opened with the first line
        self._kept: deque[str] | None = None  # of a URI, the same
        self._bytes = 0
        self._last: deque[str] = deque(maxlen=NUM_LAST)

    def say(self, text: str) -> None:
        """Add lines."""
        lines = []
        for line in masked(text).splitlines() or [""]:
            shown = (
                line
                if len(line) <= LONGEST_LINE
                else f"{line[:LONGEST_LINE]}... ({len(line)} characters)"
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
        """The last lines with a word in them, as one line."""
        said = " | ".join(self._last)
        return said if len(said) <= MOST_QUOTED else f"...{said[-MOST_QUOTED:]}"

    def close(self) -> None:
        """Make it whole.

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
            self._stream = Path(self.place).open("a", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by `close`
            self._bytes = self._stream.tell()
        self._stream.write(text)
        self._stream.flush()
        self._bytes += len(text.encode(errors="replace"))
        if self._bytes > MOST_BYTES:
            self._stream.close()
            self._stream = None
            Path(self.place).replace(self.place + ".1")

    def _keep(self, lines: list[str]) -> None:
        if self._kept is None:
            self._kept = deque()
            with contextlib.suppress(
                OSError, ValueError
            ):  # ValueError: half a character; the first attempt finds none
                lines = [files.read_text(self.place), *lines]
        for line in lines:
            self._kept.append(line)
            self._bytes += len(line)
        while self._bytes > MOST_BYTES and len(self._kept) > 1:
            self._bytes -= len(self._kept.popleft())
