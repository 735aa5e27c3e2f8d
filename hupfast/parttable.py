"""
Partition tables, MBR and GPT: read, change places, written so that a power cut leaves the old table or the new one.

    MBR, the first 512 bytes of the disk        entry    0  u8   80: active, else 0
      0  440  boot code                                  1  3    first sector as head, sector, cylinder
    440  u32  signature of the disk                      4  u8   type; 05, 0f, 85: extended; ee: there is a GPT
    446  64   four entries                               5  3    last sector, likewise
    510  2    55 aa                                      8  u32  first sector
                                                        12  u32  sectors
    An extended partition has a chain of tables of that form, which is only read here. In each one an entry for a
    logical partition (counted from that table; they are number 5 and up) and one of type 05 for the next table
    (counted from the start of the extended partition). The GPT is drawn in hupfast.gpt.

An MBR is one sector, and a medium writes a sector whole or not at all. For a GPT see hupfast.gpt too: is_atomic()
says whether one sector is enough for that. Where it is not, firmware that knows the backup is safe, Linux is not.

Places and sizes are bytes here. This module is imported on boards: no pathlib.
"""

import fcntl
import itertools
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hupfast.errors import HupfastError, MismatchError, Refused
from hupfast.gpt import Gpt, entries_of, guid_text, is_one_sector, read_gpt, steps, with_places
from hupfast.system import explained

_BLKSSZGET = 0x1268
_ENTRIES = 446
_PROTECTIVE = 0xEE
_EXTENDED = (0x05, 0x0F, 0x85)
_CHAIN_LIMIT = 256
"""Tables of a chain that are followed; Linux has fewer partitions than that."""


@dataclass(frozen=True, slots=True)
class Partition:
    """
    A partition. start, size: bytes. type: hexadecimal number (MBR) or GUID, uuid and name as sfdisk prints them.

    raw: the bytes of its entry.
    """

    number: int
    start: int
    size: int
    type: str
    uuid: str
    name: str
    raw: bytes

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """
    A table. kind: "mbr" or "gpt". id: signature (0x and 8 digits) or GUID of the disk. mbr: the first 512 bytes.

    partitions: by number. usable: first byte for partitions, and the first behind them.
    """

    kind: str
    sector_size: int
    disk_size: int
    id: str
    partitions: tuple[Partition, ...]
    usable: tuple[int, int]
    mbr: bytes
    gpt: Gpt | None = None

    @property
    def damaged(self) -> str:
        """Which copy of a GPT is damaged ("primary": this was read from the backup; "backup"), or ""."""
        return self.gpt.damaged if self.gpt else ""

    def find(self, number: int) -> Partition | None:
        """The partition with this number, or None."""
        return next((part for part in self.partitions if part.number == number), None)


def read_table(disk: int | str | os.PathLike[str], sector_size: int | None = None) -> PartitionTable:
    """
    The partition table of a disk or an image of one. disk: open file, or path.

    sector_size: None asks the device; 512 for a file. Raises: HupfastError, MediumError.
    """
    if not isinstance(disk, int):
        with explained(f"cannot read the partition table of {os.fspath(disk)}"):
            fd = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return _read(fd, os.fspath(disk), sector_size)
            finally:
                os.close(fd)
    with explained("cannot read the partition table"):
        return _read(disk, "the disk", sector_size)


def moved(table: PartitionTable, places: Mapping[int, tuple[int, int]]) -> PartitionTable:
    """
    The table with other places (start, size) for some partitions, by number. Everything else of them stays.

    Raises: Refused when one would overlap another or leave the usable area, or is not in whole sectors.
    """
    for number, (start, size) in places.items():
        _check_place(table, number, start, size)
    parts = [
        replace(part, start=places[part.number][0], size=places[part.number][1]) if part.number in places else part
        for part in table.partitions
    ]
    for part, other in itertools.permutations((part for part in parts if not _is_logical(table, part)), 2):
        if part.number in places and part.start < other.end and other.start < part.end:
            raise Refused(f"partition {part.number} would overlap partition {other.number}: nothing was changed")
    unit = table.sector_size
    if table.gpt is not None:
        sectors = {number: (start // unit, (start + size) // unit - 1) for number, (start, size) in places.items()}
        gpt = with_places(table.gpt, sectors)
        return replace(table, gpt=gpt, partitions=_gpt_partitions(gpt))
    mbr, logicals = bytearray(table.mbr), tuple(part for part in parts if _is_logical(table, part))
    for number, (start, size) in places.items():
        at = _ENTRIES + 16 * (number - 1)
        mbr[at + 1 : at + 4] = _chs(start // unit)
        mbr[at + 5 : at + 8] = _chs((start + size) // unit - 1)
        struct.pack_into("<II", mbr, at + 8, start // unit, size // unit)
    return replace(table, mbr=bytes(mbr), partitions=_primaries(mbr, unit) + logicals)


def is_atomic(old: PartitionTable, new: PartitionTable) -> bool:
    """Whether one sector makes the old table into the new one, for everybody who reads it."""
    if old.gpt is not None and new.gpt is not None:
        return is_one_sector(old.gpt, new.gpt)
    return old.gpt is None and new.gpt is None


def write_table(path: str | os.PathLike[str], table: PartitionTable) -> None:
    """
    Write a table that moved() made. What the disk has already is not written, so it can be called again.

    Each write is flushed before the next, then all is read back. The kernel goes by the old table until it is told
    or starts again. Raises: HupfastError, MediumError, MismatchError.
    """
    name = os.fspath(path)
    with explained(f"cannot write the partition table of {name}"):
        fd = os.open(name, os.O_RDWR | os.O_CLOEXEC)
        try:
            old = _read(fd, name, table.sector_size)
            if _fixed(old) != _fixed(table):
                raise HupfastError(f"the partition table of {name} is not the one that was read before: start again")
            for offset, data in _steps(old, table, name):
                _write_at(fd, data, offset)
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            if _read(fd, name, table.sector_size).partitions != table.partitions:
                raise MismatchError(f"the partition table of {name} is not what was written there: check the medium")
        finally:
            os.close(fd)


# ---- reading ------------------------------------------------------------------------------------------------


def _read(fd: int, name: str, sector_size: int | None) -> PartitionTable:
    unit = sector_size or _ask_sector_size(fd)
    if unit < 512 or unit & (unit - 1):
        raise HupfastError(f"{name} cannot have sectors of {unit} bytes")
    size = os.lseek(fd, 0, os.SEEK_END)
    mbr = _read_at(fd, 0, 512)
    if len(mbr) < 512 or mbr[510:] != b"\x55\xaa" or any(mbr[_ENTRIES + 16 * i] & 0x7F for i in range(4)):
        raise HupfastError(f"there is no partition table in {name}: a whole disk with an MBR or a GPT is needed")
    if any(mbr[_ENTRIES + 16 * index + 4] == _PROTECTIVE for index in range(4)):
        gpt = read_gpt(lambda offset, length: _read_at(fd, offset, length), unit, size // unit)
        if gpt is None:
            raise HupfastError(f"both copies of the GPT of {name} are damaged: gdisk may be able to repair it")
        usable = (gpt.header.first_usable * unit, (gpt.header.last_usable + 1) * unit)
        return PartitionTable("gpt", unit, size, guid_text(gpt.header.guid), _gpt_partitions(gpt), usable, mbr, gpt)
    parts = _primaries(mbr, unit)
    for part in parts:
        if int(part.type, 16) in _EXTENDED:
            parts += _logicals(fd, name, part, unit, 5 + sum(other.number > 4 for other in parts))
    limit = min(size // unit, 1 << 32) * unit
    signature = struct.unpack_from("<I", mbr, 440)[0]
    parts = tuple(replace(part, uuid=f"{signature:08x}-{part.number:02x}") for part in parts)
    return PartitionTable("mbr", unit, size, f"0x{signature:08x}", parts, (unit, limit), mbr)


def _ask_sector_size(fd: int) -> int:
    if not stat.S_ISBLK(os.fstat(fd).st_mode):
        return 512
    answer: int = struct.unpack("=i", fcntl.ioctl(fd, _BLKSSZGET, bytes(4)))[0]
    return answer


def _read_at(fd: int, offset: int, length: int) -> bytes:
    if offset >= 1 << 63:  # more than a file can have
        return b""
    data = b""
    while len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
        data += more
    return data


def _gpt_partitions(gpt: Gpt) -> tuple[Partition, ...]:
    unit = gpt.sector_size
    parts = []
    for entry in entries_of(gpt):
        size = (entry.last - entry.first + 1) * unit
        if size <= 0:
            raise HupfastError(f"partition {entry.number} of the GPT ends before it starts: repair it first (gdisk)")
        parts.append(Partition(entry.number, entry.first * unit, size, entry.type, entry.guid, entry.name, entry.raw))
    return tuple(parts)


def _primaries(mbr: bytes | bytearray, unit: int) -> tuple[Partition, ...]:
    signature = struct.unpack_from("<I", mbr, 440)[0]
    parts = []
    for number in range(1, 5):
        raw = bytes(mbr[_ENTRIES + 16 * (number - 1) :][:16])
        start, size = struct.unpack_from("<II", raw, 8)
        if raw[4] and size:
            uuid = f"{signature:08x}-{number:02x}"
            parts.append(Partition(number, start * unit, size * unit, f"{raw[4]:x}", uuid, "", raw))
    return tuple(parts)


def _logicals(fd: int, name: str, extended: Partition, unit: int, number: int) -> tuple[Partition, ...]:
    """The logical partitions of an extended one, from `number` on. A chain that breaks ends there, as for Linux."""
    parts: list[Partition] = []
    seen = set[int]()
    at: int | None = extended.start
    while at is not None:
        if at in seen or len(seen) == _CHAIN_LIMIT:
            raise HupfastError(
                f"the extended partition of {name} is damaged: its tables lead in a circle, or to no end"
            )
        seen.add(at)
        sector = _read_at(fd, at, 512)
        entries = _primaries(sector, unit) if len(sector) == 512 and sector[510:] == b"\x55\xaa" else ()
        data = [part for part in entries if int(part.type, 16) not in _EXTENDED]
        parts += [replace(part, number=number + len(parts), start=at + part.start) for part in data[:1]]
        links = [extended.start + part.start for part in entries if part not in data]
        at = links[0] if links else None
    return tuple(parts)


# ---- changing -----------------------------------------------------------------------------------------------


def _is_logical(table: PartitionTable, part: Partition) -> bool:
    return table.kind == "mbr" and part.number > 4


def _check_place(table: PartitionTable, number: int, start: int, size: int) -> None:
    part, (first, end) = table.find(number), table.usable
    if part is None:
        raise Refused(f"the partition table has no partition {number}")
    if table.kind == "mbr" and (number > 4 or int(part.type, 16) in _EXTENDED):
        raise Refused(f"partition {number} is an extended or a logical one, which cannot be moved")
    if table.gpt is not None and _has_hybrid_entry(table, part):
        raise Refused(f"partition {number} is in a hybrid MBR too, and both cannot be changed at once")
    if start % table.sector_size or size % table.sector_size or size <= 0:
        raise Refused(f"partition {number} must be whole sectors of {table.sector_size} bytes: {start}, {size}")
    if start < first or start + size > end:
        raise Refused(f"partition {number} would not lie inside the bytes {first} to {end} of the disk")


def _has_hybrid_entry(table: PartitionTable, part: Partition) -> bool:
    others = _primaries(table.mbr, table.sector_size)
    return any(
        int(other.type, 16) != _PROTECTIVE and other.start < part.end and part.start < other.end for other in others
    )


def _chs(sector: int) -> bytes:
    """Head, sector, cylinder, as today's tools count them; nobody reads it where there are numbers of sectors."""
    cylinder, rest = divmod(sector, 255 * 63)
    if cylinder > 1023:
        return b"\xfe\xff\xff"
    return bytes((rest // 63, rest % 63 + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF))


def _fixed(table: PartitionTable) -> tuple[object, ...]:
    """What moved() leaves as it is."""
    parts = tuple((part.number, part.type, part.uuid, part.name) for part in table.partitions)
    return (table.kind, table.sector_size, table.disk_size, table.id, table.usable, parts)


def _steps(old: PartitionTable, new: PartitionTable, name: str) -> list[tuple[int, bytes]]:
    if old.gpt is not None and new.gpt is not None:
        try:
            return steps(old.gpt, new.gpt)
        except HupfastError as error:
            raise HupfastError(f"the partition table of {name} cannot be changed: {error}") from error
    mbr = old.mbr[:_ENTRIES] + new.mbr[_ENTRIES:510] + old.mbr[510:]  # boot code may be newer than what was read
    return [] if mbr == old.mbr else [(0, mbr)]


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done
