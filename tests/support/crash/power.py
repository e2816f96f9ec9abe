"""A model of a disk that loses power, over the calls that real code makes.

`Disk` records what a process does to a folder: after every system call that writes, changes names
or flushes, the tree as processes see it, and what of it is safe: the content of a file as of its
last fsync, the names in a folder as of the folder's last fsync. What is not safe may be lost after
a power cut, in any part: of a file's new bytes any sector and any tail, of a folder's new names
any.
"""

import functools
import itertools
import math
import os
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

SECTOR = 64
"""Bytes that reach the model's disk together; small, so that groups of a few lines have several.
More in a file of more than `MAX_TORN` of them.
"""
MAX_TORN = 24
"""Sectors of a file's new bytes that are lost one by one, and lines at which they are cut."""

MAX_CHANGES = 6
"""Changes of one folder's names up to which every set of them is tried."""
CALLS = (
    "fsync",
    "write",
    "pwrite",
    "ftruncate",
    "mkdir",
    "rmdir",
    "link",
    "rename",
    "replace",
    "unlink",
    "open",
)
"""Functions of `os` at which the folder is looked at, before and after."""

Change = tuple[str | None, str | None, int]
"""In a folder: name before, name after, node. (None, new): made; (old, None): removed."""


@dataclass(frozen=True, slots=True)
class State:
    """A moment. Nodes have numbers; 0 is the root folder."""

    folders: dict[int, dict[str, int]]
    """{folder: {name: node}} as processes see it."""
    contents: dict[int, bytes]
    """{file: bytes} as processes see it, or saw it last."""
    safe_names: dict[int, dict[str, int]]
    """{folder: {name: node}} as of its last fsync."""
    changes: dict[int, tuple[Change, ...]]
    """{folder: what happened to its names since}."""
    safe_contents: dict[int, bytes]
    """{file: bytes} as of its last fsync."""
    acknowledged: tuple[object, ...] = ()
    """What the process under test was told is safe."""

    @classmethod
    def of(cls, root: Path) -> "State":
        """A real folder, all of it safe."""
        numbers = itertools.count(1)
        folders: dict[int, dict[str, int]] = {0: {}}
        contents: dict[int, bytes] = {}

        def visit(path: Path, number: int) -> None:
            for entry in sorted(path.iterdir()):
                node = folders[number][entry.name] = next(numbers)
                if entry.is_dir():
                    folders[node] = {}
                    visit(entry, node)
                else:
                    contents[node] = entry.read_bytes()

        visit(root, 0)
        return cls(folders, contents, folders, dict.fromkeys(folders, ()), contents)

    def after_power_cut(self, most: int | None = None) -> Iterator["State"]:
        """What the disk may hold, all of it safe.

        Args:
            most: at most so many choices of names, and of contents for each; the choices are then
                nothing new, everything new and a seeded sample. Default: all.
        """
        for names in _choices({node: self._names(node) for node in self.folders}, most):
            reached = _reached(names)
            files = {node: self._contents(node) for node in reached if node in self.contents}
            for contents in _choices(files, most):
                folders = {node: names[node] for node in reached if node in names}
                yield State(
                    folders,
                    contents,
                    folders,
                    dict.fromkeys(folders, ()),
                    contents,
                    self.acknowledged,
                )

    def tree(self) -> dict[str, bytes | None]:
        """{path: content, None of a folder}."""
        found: dict[str, bytes | None] = {}

        def visit(folder: int, prefix: str) -> None:
            for name, node in sorted(self.folders.get(folder, {}).items()):
                found[prefix + name] = self.contents.get(node)
                if node in self.folders:
                    visit(node, f"{prefix}{name}/")

        visit(0, "")
        return found

    def lay_out(self, root: Path) -> None:
        """Make the tree in an empty folder."""
        for path, content in self.tree().items():
            if content is None:
                (root / path).mkdir()
            else:
                (root / path).write_bytes(content)

    def _names(self, node: int) -> list[dict[str, int]]:
        """What a folder may hold after a power cut."""
        changes, found = self.changes[node], []
        for kept in _kept(len(changes)):
            names = dict(self.safe_names[node])
            for (old, new, what), there in zip(changes, kept, strict=True):
                if there and old is not None:
                    names.pop(old, None)
                if there and new is not None:
                    names[new] = what
            if names not in found:
                found.append(names)
        return found

    def _contents(self, node: int) -> Sequence[bytes]:
        """What a file may hold after a power cut."""
        safe, now = self.safe_contents.get(node, b""), self.contents[node]
        return [safe, now] if not now.startswith(safe) else _torn(safe, now[len(safe) :])


def torn(safe: bytes, new: bytes) -> Iterator[bytes]:
    """A file whose last bytes were not flushed: cut anywhere about a line's end, or with lost
    sectors.
    """
    ends = {0, 1, len(new) // 2, len(new) - 1, len(new)}
    for end in [number for number, byte in enumerate(new) if byte == 0x0A][:MAX_TORN]:
        ends |= {end, end + 1, end + 9}
    for end in sorted(end for end in ends if 0 <= end <= len(new)):
        yield safe + new[:end]
    whole, start = safe + new, len(safe)
    size = max(SECTOR, len(new) // MAX_TORN)
    sectors = range(start // size, -(-len(whole) // size))
    for lost in sectors if len(sectors) > 1 else ():
        for chosen in ({lost}, set(sectors) - {lost}):
            data = bytearray(whole)
            for sector in chosen:
                at = slice(max(start, sector * size), (sector + 1) * size)
                data[at] = bytes(len(data[at]))
            yield bytes(data)


@functools.lru_cache(maxsize=128)
def _torn(safe: bytes, new: bytes) -> tuple[bytes, ...]:
    return tuple(torn(safe, new))


def _kept(count: int) -> Iterator[tuple[bool, ...]]:
    """Which of a folder's changes reach the disk: every set of few; of many the first so many, all
    but one, and one alone.
    """
    if count <= MAX_CHANGES:
        yield from itertools.product((False, True), repeat=count)
        return
    for number in range(count + 1):
        yield tuple(place < number for place in range(count))
    for number in range(count):
        yield tuple(place != number for place in range(count))
        yield tuple(place == number for place in range(count))


def _choices(options, most=None):
    """Ways to choose one of each node's options: every way, or `most` of them."""
    if most is None or math.prod(map(len, options.values())) <= most:
        ways = itertools.product(*options.values())
    else:
        choose = random.Random(len(options))
        ways = [
            [one[0] for one in options.values()],
            [one[-1] for one in options.values()],
            *([choose.choice(one) for one in options.values()] for _ in range(most - 2)),
        ]
    for chosen in ways:
        yield dict(zip(options, chosen, strict=True))


def _reached(names: dict[int, dict[str, int]]) -> set[int]:
    reached, left = set(), [0]
    while left:
        node = left.pop()
        if node not in reached:
            reached.add(node)
            left += names.get(node, {}).values()
    return reached


class Disk:
    """Records states of a real folder while code runs. The folder is `begin` laid out."""

    def __init__(self, root: Path, monkeypatch, begin: State | None = None) -> None:
        self.root = root
        self._lock = threading.RLock()
        self._scandir = os.scandir
        self.states: list[State] = []
        self._numbers = itertools.count(
            1 + max(begin.safe_names | begin.contents if begin else [0])
        )
        state = begin or State({0: {}}, {}, {0: {}}, {0: ()}, {})
        state.lay_out(root)
        self._inodes = {root.stat().st_ino: 0}
        for path in state.tree():
            node = 0
            for part in path.split("/"):
                node = state.folders[node][part]
            self._inodes[(root / path).stat().st_ino] = node
        self.state = state
        self.states.append(state)
        for name in CALLS:
            monkeypatch.setattr(os, name, self._recorded(name, getattr(os, name)))

    def acknowledge(self, *what: object) -> None:
        self.state = replace(self.state, acknowledged=(*self.state.acknowledged, *what))
        self.states.append(self.state)

    def _recorded(self, name, act):
        def recorded(*args, **kwargs):
            with self._lock:
                self._look()
                if name == "fsync":
                    return self._flushed(os.fstat(args[0]).st_ino)
                answer = act(*args, **kwargs)
                self._look()
                return answer

        return recorded

    def _flushed(self, inode: int) -> None:
        node, state = self._inodes.get(inode), self.state
        if node in state.folders:
            names = state.safe_names | {node: state.folders[node]}
            self.state = replace(state, safe_names=names, changes=state.changes | {node: ()})
        elif node in state.contents:
            safe = state.safe_contents | {node: state.contents[node]}
            self.state = replace(state, safe_contents=safe)
        self.states.append(self.state)

    def _look(self) -> None:
        """See what changed in the real folder."""
        before, inodes = self.state, {self.root.stat().st_ino: 0}
        folders: dict[int, dict[str, int]] = {0: {}}
        contents: dict[int, bytes] = {}

        def visit(path: Path, number: int) -> None:
            for entry in sorted(self._scandir(path), key=lambda entry: entry.name):
                inode = entry.stat().st_ino
                node = self._inodes.get(inode)
                node = next(self._numbers) if node is None else node
                inodes[inode] = folders[number][entry.name] = node
                if entry.is_dir():
                    folders[node] = {}
                    visit(Path(entry.path), node)
                else:
                    data, known = Path(entry.path).read_bytes(), before.contents.get(node)
                    contents[node] = known if known == data else data  # shared, to need less memory

        visit(self.root, 0)
        self._inodes = inodes
        contents = before.contents | contents  # a file without a name may still have a safe one
        if folders == before.folders and contents == before.contents:
            return
        changes = {
            node: before.changes.get(node, ()) + _changes(before.folders.get(node, {}), names)
            for node, names in folders.items()
        }
        self.state = replace(
            before,
            folders=folders,
            contents=contents,
            safe_names={node: {} for node in folders} | before.safe_names,
            changes=before.changes | changes,
        )
        self._cut_short(before)
        self.states.append(self.state)

    def _cut_short(self, before: State) -> None:
        """A kill may come in the middle of a write."""
        for node, data in self.state.contents.items():
            old = before.contents.get(node, b"")
            if data.startswith(old) and len(data) - len(old) > 1:
                line = data.index(b"\n", len(old)) + 1 if b"\n" in data[len(old) :] else len(old)
                for end in sorted({(len(old) + len(data)) // 2, line, len(data) - 1}):
                    cut = self.state.contents | {node: data[:end]}
                    self.states.append(replace(self.state, contents=cut))


def _changes(before: dict[str, int], after: dict[str, int]) -> tuple[Change, ...]:
    gone = {node: name for name, node in before.items() if after.get(name) != node}
    come = {node: name for name, node in after.items() if before.get(name) != node}
    moved = [(gone.pop(node), name, node) for node, name in come.items() if node in gone]
    made = [
        (None, name, node)
        for node, name in come.items()
        if node not in dict.fromkeys(m[2] for m in moved)
    ]
    removed = [(name, None, node) for node, name in gone.items() if name not in after]
    return (*moved, *made, *removed)
