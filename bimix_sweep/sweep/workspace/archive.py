"""Packs folders into archives: a sweep in a URI keeps its token store and checkpoints as archives.

Programs need local files, so a folder is uploaded as one object and unpacked on the machine that
needs it. The object is a tar archive whose last member marks it as complete; an archive without
that member is refused. No member of an archive can be unpacked outside of the target folder, and
nothing is unpickled here.
"""

import contextlib
import math
import os
import secrets
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bimix_sweep import disk, files, locations, uri_storage
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import DataError
from bimix_sweep.file_lock import lock
from bimix_sweep.sweep.workspace.paths import STORE, cache_folder, local_part

WHOLE = ".whole"
"""Name of the empty last member, which marks a complete archive."""
UPLOAD_FRACTION = 0.25
"""Largest fraction of a trial's time during which its checkpoint is being uploaded."""


def send(folder: Path, uri: str) -> None:
    """Uploads a folder as one object.

    Raises:
        OSError: the folder cannot be read, or the object cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
        packed = Path(scratch) / "archive.tar"
        pack(folder, packed)
        uri_storage.upload(packed, uri)


def pack(folder: Path, target: Path) -> None:
    """Packs a folder into a tar archive.

    Files that appear and disappear during the packing may be missing in the archive. Such files are
    those that a program writes beside their final place and then renames.
    """
    with tarfile.open(target, "w") as tar:
        for path in sorted(folder.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                tar.add(path, arcname=str(path.relative_to(folder)), recursive=False)
        tar.addfile(tarfile.TarInfo(WHOLE))


def fetch(uri: str, target: Path) -> None:
    """Downloads an archive and makes `target` the folder that was sent, completely or not at all.

    A folder that was at `target` before is replaced.

    Raises:
        FileNotFoundError: there is no such object.
        OSError: the object cannot be downloaded or stored.
        DataError: the object is not an archive that `send` wrote.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    packed = beside.with_suffix(".tar")
    try:
        uri_storage.download(uri, packed)
        try:
            with tarfile.open(packed, "r:") as tar:
                if not tar.getmembers() or tar.getmembers()[-1].name != WHOLE:
                    raise DataError(f"{uri} is cut off; put it there again")
                tar.extractall(beside, filter="data")
        except tarfile.TarError as error:
            raise DataError(f"{uri} cannot be used ({error}); put it there again") from error
        (beside / WHOLE).unlink()
        # Without a sync a power cut could leave an incomplete copy that looks complete.
        disk.sync_all(beside)
        shutil.rmtree(target, ignore_errors=True)
        beside.rename(target)
        disk.sync(target.parent)
    finally:
        packed.unlink(missing_ok=True)
        shutil.rmtree(beside, ignore_errors=True)


def at_hand(place: str) -> Path:
    """Returns a local folder with the content of `place`.

    A local `place` is returned unchanged. The archive of a URI is downloaded once on this machine
    and unpacked into the cache. The archive's name must identify its content. Several processes may
    call this function at the same time.

    Raises:
        OSError, DataError: same conditions as for `fetch`.
    """
    if not locations.is_uri(place):
        return Path(place)
    name = place.partition("?")[0].rpartition("/")[2].removesuffix(".tar")
    target = cache_folder() / "archives" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    lock_file = lock(target.with_name(f".{name}.lock"), math.inf)
    try:
        if not target.exists():
            fetch(place, target)
    finally:
        os.close(lock_file)
    return target


def keep_store(folder: str, store: Path, digest: str) -> str:
    """Returns the place at which the workers of a sweep find a token store.

    A local sweep folder has the store in the folder. For a sweep in a URI the store is uploaded as
    an archive.

    Raises:
        DataError: the archive cannot be written.
    """
    if not locations.is_uri(folder):
        return str(local_part(folder) / STORE)
    archive = locations.join(folder, "stores", f"{digest}.tar")
    try:
        if not files.exists(archive):
            send(store, archive)
    except OSError as error:
        raise DataError(
            f"{archive} cannot be written ({error.strerror or error}); need a place for the tokens"
        ) from error
    return archive


def bring_store(folder: str, digest: str) -> None:
    """Downloads a sweep's token store from its URI, unless the driver's local folder has it.

    An earlier driver on another machine may have made the store.

    Raises:
        OSError, DataError: same conditions as for `fetch`.
    """
    place = local_part(folder) / STORE
    with contextlib.suppress(DataError):
        if TokenStore.open(place).digest == digest:
            return
    fetch(locations.join(folder, "stores", f"{digest}.tar"), place)


def _remove(checkpoint: Path) -> None:
    """Removes a trial's checkpoint folder, but not where the folder of all checkpoints is a link.

    Folders behind such a link may belong to somebody else.
    """
    if not checkpoint.parent.is_symlink():
        shutil.rmtree(checkpoint, ignore_errors=True)


class Checkpoint:
    """Checkpoint folder of one trial: local while the trial trains, and stored where the sweep is.

    In a sweep with a local folder both places are the same, and nothing is copied. In a URI the
    folder is uploaded in the background after points. The trial waits only while the folder is
    packed, which keeps its files consistent, and no second upload starts before the first has
    ended. A trial that goes on elsewhere starts from the last upload.

    A trial that begins anew uses another checkpoint name, because the deletion of an old checkpoint
    is not reliable: the earlier worker may live on for a while, and storage may execute a PUT after
    a later DELETE.
    """

    def __init__(self, checkpoints: str, trial: str, begun_anew: int = 0) -> None:
        """Determines the local folder and the object of a trial's checkpoint.

        Args:
            checkpoints: the sweep's folder of checkpoints.
            trial: name of the trial.
            begun_anew: number of times that the trial has begun anew.
        """
        self._checkpoints = checkpoints
        self._names = [trial, *(f"{trial}.{number}" for number in range(1, begun_anew + 1))]
        self._uri = self._archive(self._names[-1]) if locations.is_uri(checkpoints) else None
        place = local_part(checkpoints) if locations.is_uri(checkpoints) else Path(checkpoints)
        self.folder = place / self._names[-1]
        """Folder where the trial finds and writes its checkpoint; the folder may not exist yet."""
        self._thread: threading.Thread | None = None
        self._next = 0.0
        self._sent: object = None

    def fetch(self, say: Callable[[str], None]) -> None:
        """Downloads the checkpoint of an earlier attempt.

        A checkpoint that cannot be used is reported, and the trial begins anew.

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
            say(f"{error}; the trial begins anew")

    def keep(self, *, last: bool = False) -> None:
        """Uploads the current content of the folder if it changed.

        Args:
            last: wait until the upload is complete.

        Raises:
            OSError: with `last`, the upload failed; without `last`, the next call tries again.
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
            (str(path), (status := path.stat()).st_mtime_ns, status.st_size)
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
            uri_storage.upload(packed, self._uri)
            packed.unlink()
            return
        self._thread = threading.Thread(
            target=self._upload, args=(packed, now), name="checkpoint", daemon=True
        )
        self._thread.start()

    def drop(self) -> None:
        """Removes the checkpoint of a trial that has ended, and those from before it began anew."""
        self.close()
        for name in self._names:
            _remove(self.folder.with_name(name))
            if self._uri is not None:
                with contextlib.suppress(OSError):
                    files.delete(self._archive(name))

    def close(self) -> None:
        """Returns when no upload is in progress any more."""
        if self._thread is not None:
            self._thread.join()

    def _archive(self, name: str) -> str:
        return locations.join(self._checkpoints, f"{name}.tar")

    def _upload(self, packed: Path, state: object) -> None:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            uri_storage.upload(packed, str(self._uri))
            self._sent = state
            packed.unlink()
        self._next = time.monotonic() + (time.monotonic() - began) / UPLOAD_FRACTION
