"""Decides what happens to broken documents and files: the first one is an error, or they are left
out and counted."""

from bimix_sweep.errors import DataError

MAX_NAMED = 20
"""Maximum number of messages about broken documents that a store's notes keep."""


class BadInput:
    """The broken documents and files of one source."""

    def __init__(self, most: int | None) -> None:
        """Args:
        most: maximum number of broken documents and files that are left out; None: the first one
            is an error.
        """
        self._most = most
        self.messages: list[str] = []
        """A message about each of them, which names its place."""

    def met(self, error: DataError) -> None:
        """Counts a broken document or file.

        Raises:
            DataError: broken documents are errors, or there are too many of them.
        """
        if self._most is None:
            raise error
        if (message := str(error)) in self.messages:  # the place is read again
            return
        self.messages.append(message)
        if len(self.messages) > self._most:
            raise DataError(
                f"{message}; more documents and files are broken than the {self._most} that "
                "data.max_bad allows: repair them, or raise data.max_bad"
            ) from error
