"""An object store in memory that loses, delays and repeats requests as told."""

import contextlib
import errno
import io
from collections.abc import Callable, Iterator
from typing import Literal
from urllib.parse import unquote

import pytest
from pyarrow import fs

from bimix_sweep import uri_storage
from bimix_sweep.journal import backends, lease, segments
from tests.support.crash.turns import Died, Inline

URI = "s3://bucket/sweep"

Fate = Literal["die before", "die after", "lose", "no answer", "late", "twice"]
"""Of a request: the client dies before it is carried out, or after; the client gets an error and
the request is lost, is carried out, or is carried out some calls later; the client gets an answer
and the network delivers the request again some calls later.
"""
FATES: tuple[Fate, ...] = ("die before", "die after", "lose", "no answer", "late", "twice")


class Bucket:
    """Stands for pyarrow's S3 filesystem: put, get, list and delete of whole objects."""

    type_name = "s3"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.num_calls = 0
        self.fates: dict[int, Fate] = {}
        """{number of a call: what happens to it}; other calls work."""
        self.delay = 3
        """Calls after which a late request arrives."""
        self.requests: list[str] = []
        self.give_way: Callable[[], None] = lambda: None
        """Called before each request."""
        self._late: list[tuple[int, Callable[[], object]]] = []
        self._dead = False

    def begin_process(self) -> None:
        """A new client; the late requests of an earlier one are still under way."""
        self._dead = False

    def arrive(self) -> None:
        """Carries out all late requests."""
        self._carry_out([act for _, act in self._late])
        self._late = []

    def open_output_stream(self, path, compression=None, *, single=False):
        stream = io.BytesIO()
        close = stream.close

        def put() -> None:
            if stream.closed:
                return
            data = stream.getvalue()
            close()
            if single:
                self._call(f"PUT {path}", lambda: self.objects.__setitem__(path, data))
                return
            upload: list[bytes] = []
            self._call(f"POST {path}", lambda: None)
            self._call(f"PART {path}", lambda: upload.append(data))

            def complete() -> None:
                if not upload:
                    raise OSError(errno.EIO, "NO_SUCH_UPLOAD")
                self.objects[path] = upload.pop()

            self._call(f"COMPLETE {path}", complete)

        stream.close = put
        return stream

    def open_input_stream(self, path, compression=None):
        def get() -> bytes:
            if path not in self.objects:
                raise FileNotFoundError(errno.ENOENT, "no such object", path)
            return self.objects[path]

        return io.BytesIO(self._call(f"GET {path}", get))

    def get_file_info(self, what):
        if isinstance(what, str):
            return self._call(f"HEAD {what}", lambda: self._info(what))
        folder = f"{what.base_dir}/"

        def names():
            return [
                self._info(path)
                for path in self.objects
                if path.startswith(folder) and "/" not in path.removeprefix(folder)
            ]

        return self._call(f"LIST {folder}", names)

    def delete_file(self, path):
        self._call(f"DELETE {path}", lambda: self.objects.pop(path, None))

    @staticmethod
    def _carry_out(late: list[Callable[[], object]]) -> None:
        """Carries out requests whose answers nobody reads."""
        for act in late:
            with contextlib.suppress(OSError):
                act()

    def _info(self, path):
        if path not in self.objects:
            return fs.FileInfo(path, type=fs.FileType.NotFound)
        return fs.FileInfo(path, type=fs.FileType.File, size=len(self.objects[path]))

    def _call(self, request, act):
        if self._dead:
            raise Died
        self.give_way()
        self.num_calls += 1
        self.requests.append(request)
        self._carry_out([late for due, late in self._late if due <= self.num_calls])
        self._late = [one for one in self._late if one[0] > self.num_calls]
        fate = self.fates.get(self.num_calls)
        if fate == "die before":
            self._dead = True
            raise Died
        if fate in ("late", "twice"):
            self._late.append((self.num_calls + self.delay, act))
        if fate in ("lose", "late"):
            raise OSError(errno.EIO, "no answer")
        answer = act()
        if fate == "die after":
            self._dead = True
            raise Died
        if fate == "no answer":
            raise OSError(errno.EIO, "no answer")
        return answer


class _Client:
    """A filesystem over a bucket that writes small objects with one request, or not."""

    type_name = Bucket.type_name

    def __init__(self, bucket: Bucket, single: bool) -> None:
        self._bucket, self._single = bucket, single

    def open_output_stream(self, path, compression=None):
        return self._bucket.open_output_stream(path, compression, single=self._single)

    def __getattr__(self, name):
        return getattr(self._bucket, name)


@contextlib.contextmanager
def stored_in(bucket: Bucket) -> Iterator[None]:
    """Every URI leads to a bucket; locks let everybody in, pauses take no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            uri_storage,
            "_filesystem",
            lambda folder, *, single: (
                _Client(bucket, single),
                unquote(folder.partition("?")[0].removeprefix("s3://")),
            ),
        )
        patch.setattr("time.sleep", lambda seconds: None)
        patch.setattr(lease.Lease, "wait", lambda *args, **kwargs: None)
        patch.setattr(segments, "ThreadPoolExecutor", Inline)
        patch.setattr(backends, "ThreadPoolExecutor", Inline)
        patch.setattr(backends, "OBJECT_BYTES", 500)
        patch.setattr(backends, "MAX_SUPERSEDED", 2)
        yield
