"""Finds where the tokens of a file lie: their number format, their first byte and, where the format
says so, the ends of the documents.

| format | recognised by | number format | documents |
| --- | --- | --- | --- |
| Megatron `.bin` | a `.idx` beside it | code in the `.idx` | document indices of the `.idx` |
| litdata chunk | `index.json` beside it | code in `index.json` | items of the chunk |
| llm.c `.bin` | magic number | by the magic number | - |
| NumPy `.npy` | magic bytes | in the header | - |
| raw `.bin` or `.npy` (nanoGPT, OLMo) | none of these | as stated, or by the vocabulary | - |

Sources: megatron/core/datasets/indexed_dataset.py of Megatron-LM; litdata/streaming/writer.py and
constants.py; dev/data/data_common.py of llm.c; numpy.lib.format.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import fs

from bimix_sweep import locations
from bimix_sweep.data.finding.stored_file import StoredFile
from bimix_sweep.errors import DataError

Ints = npt.NDArray[np.int64]
MEGATRON_MAGIC = b"MMIDIDX\x00\x00"
"""First bytes of a Megatron `.idx` file; its version, 1, follows as uint64."""
MEGATRON_DTYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
"""{code: number format} of the whole numbers of a Megatron `.idx` file."""
LLMC_DTYPES = {20240520: "<u2", 20240801: "<u4"}
"""{magic number: number format} of llm.c, for GPT-2 and for Llama 3."""
LLMC_HEADER_BYTES = 1024
"""Bytes of the header of llm.c: 256 numbers of 4 bytes, of which the third is the number of
tokens."""
LITDATA_DTYPES = {
    "no_header_tensor": {11: "u1", 12: "i1", 13: "<i2", 14: "<i2", 15: "<i4", 16: "<i4",
                         17: "<i8", 18: "<i8", 20: "<u2"},
    "no_header_numpy": {0: "i1", 1: "<i2", 2: "<i4", 3: "<i8", 4: "u1", 5: "<u2", 6: "<u4"},
}  # fmt: skip
"""{kind of item: {code: number format}} of the whole numbers of litdata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLayout:
    """Where the tokens of one file lie."""

    dtype: np.dtype[Any]
    """Number format, little-endian."""
    start: int
    """First byte of the tokens."""
    count: int
    """Number of tokens."""
    ends: Ints | None = None
    """(documents,) number of tokens before the end of each document, ascending, the last one
    `count`; None: the format does not say."""
    raw: bool = False
    """True if nothing in the file states the number format."""


def opened_tokens(file: StoredFile, path: str | None = None) -> pa.NativeFile:
    """Opens a file, or the file at `path` beside it; a local file is mapped into memory."""
    place = file.path if path is None else path
    if isinstance(file.filesystem, fs.LocalFileSystem):
        return pa.memory_map(place)
    return file.filesystem.open_input_file(place)


def token_layout(stream: pa.NativeFile, file: StoredFile, dtype: str) -> TokenLayout:
    """Finds where the tokens of an opened file lie.

    Args:
        stream: the opened file.
        file: the file.
        dtype: number format of a file that does not state its own.

    Raises:
        DataError: the file, or the index beside it, is damaged or holds no whole numbers.
        OSError, ValueError: the file cannot be read.
    """
    size, head = stream.size(), stream.read(LLMC_HEADER_BYTES)
    stream.seek(0)
    if head.startswith(b"\x93NUMPY"):
        return _npy(stream, file)
    if file.path.endswith(".bin"):
        if _is_file(file, index := f"{file.path.removesuffix('.bin')}.idx"):
            return _megatron(file, index, size)
        index = locations.join(locations.parent(file.path), "index.json")
        if PurePosixPath(file.path).name.startswith("chunk-") and _is_file(file, index):
            return _litdata(stream, file, index)
        magic, count = struct.unpack("<i4xi", head[:12]) if len(head) >= 12 else (0, 0)
        if magic in LLMC_DTYPES and len(head) == LLMC_HEADER_BYTES:
            kind = np.dtype(LLMC_DTYPES[magic])
            _check_size(file, size - LLMC_HEADER_BYTES, kind, count)
            return TokenLayout(dtype=kind, start=LLMC_HEADER_BYTES, count=count)
    kind = np.dtype(dtype).newbyteorder("<")
    _check_size(file, size, kind)
    return TokenLayout(dtype=kind, start=0, count=size // kind.itemsize, raw=True)


def _npy(stream: pa.NativeFile, file: StoredFile) -> TokenLayout:
    """Layout of a file that `numpy.save` wrote."""
    version = np.lib.format.read_magic(stream)
    header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, kind = header(stream)
    if len(shape) != 1 or not np.issubdtype(kind, np.integer):
        raise DataError(
            f"{file.path} holds a {kind} array of shape {shape}; need one row of whole numbers"
        )
    _check_size(file, stream.size() - stream.tell(), kind, shape[0])
    return TokenLayout(dtype=kind, start=stream.tell(), count=shape[0])


def _megatron(file: StoredFile, index: str, size: int) -> TokenLayout:
    """Layout of a Megatron `.bin` of `size` bytes, from its `.idx`.

    The `.idx` holds: magic bytes, version (uint64), dtype code (uint8), S = number of sequences
    (uint64), D = number of document indices (uint64), S lengths in tokens (int32), S pointers in
    bytes (int64), D numbers of the first sequence of each document (int64), of which the last is S.
    """
    with opened_tokens(file, index) as stream:
        content = stream.read_buffer()
    head = bytes(content[:34])
    if not head.startswith(MEGATRON_MAGIC) or len(head) < 34:
        raise DataError(
            f"{index} is no Megatron index; need one that belongs to {file.path}, or another name "
            "if the file is none of Megatron"
        )
    version, code, sequences, documents = struct.unpack_from("<QBQQ", head, len(MEGATRON_MAGIC))
    if version != 1 or code not in MEGATRON_DTYPES:
        raise DataError(
            f"{index} has version {version} and dtype code {code}; need version 1 and whole "
            f"numbers (codes {', '.join(map(str, MEGATRON_DTYPES))})"
        )
    kind = np.dtype(MEGATRON_DTYPES[code])
    if len(content) < 34 + 12 * sequences + 8 * documents or not documents:
        raise DataError(f"{index} is cut off: it has {len(content)} bytes; copy it again")
    lengths = np.frombuffer(content, "<i4", sequences, 34)
    pointers = np.frombuffer(content, "<i8", sequences, 34 + 4 * sequences)
    firsts = np.frombuffer(content, "<i8", documents, 34 + 12 * sequences)
    inside = firsts[1:-1]
    whole = firsts[0] == 0 and firsts[-1] == sequences and (np.diff(firsts) >= 0).all()
    count = int(lengths.sum(dtype=np.int64))
    if not whole or (sequences and int(pointers[-1]) // kind.itemsize + lengths[-1] != count):
        raise DataError(
            f"{index} does not list all sequences one after the other; write it again with "
            "Megatron's tools"
        )
    _check_size(file, size, kind, count)
    ends = np.full(documents - 1, count, dtype=np.int64)
    known = np.flatnonzero(inside < sequences)  # the others begin at the end of the file
    ends[known] = pointers[inside[known]] // kind.itemsize
    if (np.diff(ends) < 0).any():
        raise DataError(f"{index} lists its documents out of order; write it again")
    return TokenLayout(dtype=kind, start=0, count=count, ends=ends)


def _litdata(stream: pa.NativeFile, file: StoredFile, index: str) -> TokenLayout:
    """Layout of a litdata chunk, from its header and its `index.json`.

    The chunk holds: N = number of items (uint32), N + 1 byte offsets of the items (uint32), items.
    """
    try:
        with file.filesystem.open_input_file(index) as opened:
            config = json.loads(opened.read())["config"]
        (kind_of_item, code), packed = config["data_format"][0].split(":"), config["compression"]
        dtype = LITDATA_DTYPES[kind_of_item][int(code)]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise DataError(
            f"{index} does not describe tokens; need a litdata index whose items are rows of whole "
            "numbers, as its TokensLoader reads them"
        ) from error
    if packed or config.get("encryption") or len(config["data_format"]) != 1:
        raise DataError(
            f"{index} describes compressed or encrypted items, or items of several parts; need "
            "plain rows of tokens"
        )
    items = int.from_bytes(stream.read(4), "little")
    first = 4 * (items + 2)
    offsets = np.frombuffer(stream.read(min(4 * (items + 1), stream.size())), "<u4")
    if len(offsets) != items + 1 or offsets[0] != first or offsets[-1] != stream.size():
        raise DataError(f"{file.path} is cut off or is no litdata chunk; copy it again")
    kind = np.dtype(dtype)
    ends = (offsets[1:].astype(np.int64) - first) // kind.itemsize
    return TokenLayout(dtype=kind, start=first, count=int(ends[-1]) if items else 0, ends=ends)


def _check_size(
    file: StoredFile, num_bytes: int, kind: np.dtype[Any], count: int | None = None
) -> None:
    """Raises DataError unless so many bytes are `count` numbers, or any whole number of them."""
    if num_bytes % kind.itemsize or (count is not None and num_bytes != count * kind.itemsize):
        raise DataError(
            f"{file.path} has {num_bytes} bytes of numbers of {kind.itemsize} bytes each"
            f"{'' if count is None else f', and should have {count} numbers'}; it is cut off or of "
            "another dtype"
        )


def _is_file(file: StoredFile, path: str) -> bool:
    """True if there is a file at `path` in the same file system."""
    return bool(file.filesystem.get_file_info(path).type == fs.FileType.File)
