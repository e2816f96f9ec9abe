"""Folders that travel: a sweep in a URI keeps its token store and its trainings' checkpoints there, and the programs want local files.

A folder goes up as one object, a tar whose last member says that it is whole; one without it is not taken. Nothing in it can
reach outside of the folder that it is unpacked into, and nothing is unpickled here.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bimix_sweep import disk, files
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import DataError
from bimix_sweep.sweep.workspace.paths import STORE, cache_folder, local_part

WHOLE = ".whole"
"""The empty last member."""
UPLOAD_SHARE = 0.25
"""Most of a training's time during which its checkpoint is on the way up."""


def send(folder: Path, uri: str) -> None:
    """Put a folder as one object.

    Raises:
        OSError: it cannot be read or put.
    """
    with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
        packed = Path(scratch) / "parcel"
        pack(folder, packed)
        files.upload(packed, uri)


def pack(folder: Path, target: Path) -> None:
    """A tar of a folder; files that come and go meanwhile (what is written beside, then renamed) may be missing in it."""
    with tarfile.open(target, "w") as tar:
        for path in sorted(folder.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                tar.add(path, arcname=str(path.relative_to(folder)), recursive=False)
        tar.addfile(tarfile.TarInfo(WHOLE))


def fetch(uri: str, target: Path) -> None:
    """Make `target` the folder that was sent, all of it or none; what was there before goes.

    Raises:
        FileNotFoundError: there is no such object. OSError: it cannot be fetched or kept. DataError: it is not what `send` wrote.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    packed = beside.with_suffix(".tar")
    try:
        files.download(uri, packed)
        try:
            with tarfile.open(packed, "r:") as tar:
                if not tar.getmembers() or tar.getmembers()[-1].name != WHOLE:
                    raise DataError(f"{uri} is cut off; put it there again")
                tar.extractall(beside, filter="data")
        except tarfile.TarError as error:
            raise DataError(f"{uri} cannot be used ({error}); put it there again") from error
        (beside / WHOLE).unlink()
        disk.sync_all(beside)  # a copy with holes would be taken for the folder after a power cut
        shutil.rmtree(target, ignore_errors=True)
        beside.rename(target)
        disk.sync(target.parent)
    finally:
        packed.unlink(missing_ok=True)
        shutil.rmtree(beside, ignore_errors=True)


def at_hand(place: str) -> Path:
    """A local folder with what lies at `place`: that folder itself, or of a URI's parcel a copy that this machine fetches once.

    The parcel's name must tell its content. Several processes may ask at a time.

    Raises:
        OSError, DataError: as for `fetch`.
    """
    if not files.is_uri(place):
        return Path(place)
    name = place.partition("?")[0].rpartition("/")[2].removesuffix(".tar")
    target = cache_folder() / "parcels" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    lock_file = os.open(
        target.with_name(f".{name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        if not target.exists():
            fetch(place, target)
    finally:
        os.close(lock_file)
    return target


def keep_store(folder: str, store: Path, digest: str) -> str:
    """Have a token store where the workers of a sweep find it: where it is, or for a sweep in a URI as a parcel there.

    Raises:
        DataError: it cannot be put there.
    """
    if not files.is_uri(folder):
        return str(local_part(folder) / STORE)
    parcel = files.join(folder, "stores", f"{digest}.tar")
    try:
        if not files.exists(parcel):
            send(store, parcel)
    except OSError as error:
        raise DataError(
            f"{parcel} cannot be written ({error.strerror or error}); need a place for the tokens"
        ) from error
    return parcel


def bring_store(folder: str, digest: str) -> None:
    """Have the token store of a sweep in a URI in the driver's local part, where an earlier driver on another machine made it.

    Raises:
        OSError, DataError: as for `fetch`.
    """
    place = local_part(folder) / STORE
    with contextlib.suppress(DataError):
        if TokenStore.open(place).digest == digest:
            return
    fetch(files.join(folder, "stores", f"{digest}.tar"), place)


def _remove(checkpoint: Path) -> None:
    """Of a training; where all of them lie behind a link, they may be anybody's folders."""
    if not checkpoint.parent.is_symlink():
        shutil.rmtree(checkpoint, ignore_errors=True)


class Checkpoint:
    """The checkpoint folder of one training: local while it trains, kept where the sweep is.

    In a sweep with a local folder that is the very folder, and there is nothing to do. In a URI the folder goes up after points, in
    the background: the training waits only while it is packed, which keeps what is in it together, and while nothing else is on the
    way up. If the training goes on elsewhere, it does so from what went up last.

    A training that begins anew has another name here, because that an old checkpoint is gone cannot be relied on: the worker
    before may live on for a while, and storage may carry out a PUT after a later DELETE.
    """

    def __init__(self, checkpoints: str, trial: str, begun_anew: int = 0) -> None:
        """Args:
        checkpoints: the sweep's folder of them.
        trial: name of the training.
        begun_anew: how often it has begun anew.
        """
        self._checkpoints = checkpoints
        self._names = [trial, *(f"{trial}.{number}" for number in range(1, begun_anew + 1))]
        self._uri = self._parcel(self._names[-1]) if files.is_uri(checkpoints) else None
        place = local_part(checkpoints) if files.is_uri(checkpoints) else Path(checkpoints)
        self.folder = place / self._names[-1]
        """Where the training finds and writes it; may not exist yet."""
        self._thread: threading.Thread | None = None
        self._next = 0.0
        self._sent: object = None

    def fetch(self, say: Callable[[str], None]) -> None:
        """Get what an earlier attempt kept; of one that cannot be used, say so, and the training begins anew.

        Raises:
            OSError: the storage fails.
        """
        if self._uri is None:
            return
        try:
            fetch(self._uri, self.folder)
        except FileNotFoundError:
            _remove(self.folder)
        except DataError as error:
            _remove(self.folder)
            say(f"{error}; the training begins anew")

    def keep(self, *, last: bool = False) -> None:
        """Send what is in the folder now, if it changed; `last`: wait until it is there.

        Raises:
            OSError: with `last`, it could not be sent; without, the next one tries again.
        """
        if self._uri is None or not self.folder.is_dir():
            return
        if not last and (
            time.monotonic() < self._next or (self._thread is not None and self._thread.is_alive())
        ):
            return
        if self._thread is not None:
            self._thread.join()
        now = sorted(
            (str(path), (found := path.stat()).st_mtime_ns, found.st_size)
            for path in self.folder.rglob("*")
            if path.exists()
        )
        if now == self._sent:
            return
        packed = self.folder.with_name(f".{self.folder.name}.tar")
        try:
            pack(self.folder, packed)
        except OSError:
            if last:
                raise
            return
        if last:
            files.upload(packed, self._uri)
            packed.unlink()
            return
        self._thread = threading.Thread(
            target=self._upload, args=(packed, now), name="checkpoint", daemon=True
        )
        self._thread.start()

    def drop(self) -> None:
        """The training ended: nothing of it is needed any more, nor of what it was before it began anew."""
        self.close()
        for name in self._names:
            _remove(self.folder.with_name(name))
            if self._uri is not None:
                with contextlib.suppress(OSError):
                    files.delete(self._parcel(name))

    def close(self) -> None:
        """Return when nothing is on its way up any more."""
        if self._thread is not None:
            self._thread.join()

    def _parcel(self, name: str) -> str:
        return files.join(self._checkpoints, f"{name}.tar")

    def _upload(self, packed: Path, state: object) -> None:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            files.upload(packed, str(self._uri))
            self._sent = state
            packed.unlink()
        self._next = time.monotonic() + (time.monotonic() - began) / UPLOAD_SHARE
