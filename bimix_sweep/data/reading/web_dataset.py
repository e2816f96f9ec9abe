"""Reads the texts of WebDataset archives: tar files whose members of one document are neighbours
and have the same name before their ending.

`0001.txt` and `0001.json` are one document. For field `text`, its text is the content of the `.txt`
member. Otherwise it is the content of the member whose ending is the name of the field, or the
field of the `.json` member.
"""

import tarfile
from collections.abc import Iterator
from typing import Self

from bimix_sweep.data.finding.compression import OpenedFile
from bimix_sweep.data.reading.blocks import Portion
from bimix_sweep.data.reading.chosen import chosen
from bimix_sweep.data.reading.fields import MAX_TEXT_BYTES, missing_field, text_of, too_long
from bimix_sweep.data.reading.json_lines import parsed
from bimix_sweep.errors import DataError

MAX_HEADER_BYTES = 1 << 20
"""Maximum bytes of an extended header, which is held in memory."""
Sample = tuple[str, dict[str, bytes]]
"""(name, {ending: content} of the members that may hold text) of one document."""


def tar_texts(file: OpenedFile, portion: Portion, field: str) -> Iterator[str | None]:
    """Texts of the documents of an archive.

    Raises:
        DataError: a document has neither the member nor the field, or is too long.
        tarfile.TarError, OSError: the archive cannot be read.
    """
    wanted = ("txt", "text") if field == "text" else (field,)
    with tarfile.open(fileobj=file.stream, mode="r|", tarinfo=_Member) as archive:
        samples = _samples(archive, {*wanted, "json"}, portion.path)
        for name, members in chosen(samples, file, portion):
            where = f"{portion.path} member {name}"
            if (found := next((one for one in wanted if members.get(one)), None)) is not None:
                yield members[found].decode()
            elif members.get("json"):
                yield text_of(parsed(members["json"], f"{where}.json"), field, f"{where}.json")
            else:
                raise missing_field(where, field, [*members], None)


def _samples(archive: tarfile.TarFile, wanted: set[str], path: str) -> Iterator[Sample]:
    """The documents of an archive, with the content of their wanted members."""
    current, members = "", dict[str, bytes]()
    for member in archive:
        folder, slash, file_name = member.name.rpartition("/")
        if not member.isfile() or file_name.startswith("."):
            continue
        stem, _, ending = file_name.partition(".")
        if (name := folder + slash + stem) != current and members:
            yield current, members
            members = {}
        current, ending = name, ending.lower()
        if ending in members:
            raise DataError(f"{path} has two members {member.name}; need names that differ")
        members[ending] = b""
        if ending in wanted and (content := archive.extractfile(member)) is not None:
            if member.size > MAX_TEXT_BYTES:
                raise too_long(f"{path} member {member.name}")
            members[ending] = content.read()
    if members:
        yield current, members


class _Member(tarfile.TarInfo):
    """A member whose faulty header is an error; `tarfile` takes it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except (tarfile.TruncatedHeaderError, tarfile.InvalidHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"unexpected end of data ({error})") from error

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        extended = member.type in (
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.SOLARIS_XHDTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        )
        if extended and member.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {member.size} bytes")
        return member
