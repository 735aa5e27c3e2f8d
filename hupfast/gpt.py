"""
GUID partition tables: bytes to entries and back. Pure, but for the `read` that it is given; see hupfast.parttable.

Numbers are little endian, places are sectors (of 512 or 4096 bytes). A disk has the table twice:

    sector 0        MBR with one entry of type EE (protective) or with others beside it (hybrid); never touched here
    sector 1        primary header      0  8   "EFI PART"          32 u64 sector of the other header
    2 and up        primary entries     8  u32 revision            40 u64 first usable sector
    ...             partitions         12  u32 header size, 92     48 u64 last usable sector
    near the end    backup entries     16  u32 CRC-32 of header    56 16  GUID of the disk
    last sector     backup header      24  u64 its own sector      72 u64 sector of its entries
                                                                   80 u32 number of entries, 128
    entry    0 16   type GUID, zero: unused                        84 u32 bytes of an entry, 128
            16 16   GUID of the partition                          88 u32 CRC-32 of all entries
            32 u64  first sector
            40 u64  last sector, itself included
            48 u64  attributes
            56 72   name, UTF-16, ends at the first zero

Changing it safely. The backup is no help to Linux: without "gpt" on its command line the kernel does not look for it
when the primary is broken, and finds no partition at all. So the primary must never be broken, not even between
the write of its entries and that of its header. It is not when the new entries have the CRC of the old ones: the
header stays as it is, and one sector of entries is the whole change. The CRC is kept by four bytes that no one reads,
the last ones of a name, behind the zero that ends it. CRC-32 is linear, so they are the answer of 32 equations. That
works when the changed entries lie in one sector: 1 to 4, 5 to 8, ... with sectors of 512 bytes.
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from hupfast.errors import HupfastError

PRIMARY = 1
"""Sector of the primary header."""

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_MAGIC = b"EFI PART"
_AREA_LIMIT = 1 << 20
_NAME = 56
_SPARE = 124
"""Place in an entry of the four bytes that keep the CRC: the last two letters of the name."""

Read = Callable[[int, int], bytes]
"""Bytes of the disk: offset, length. May give fewer at its end."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header whose own CRC is right. raw: its whole sector."""

    raw: bytes
    sector: int
    other: int
    first_usable: int
    last_usable: int
    guid: bytes
    entries: int
    count: int
    entry_size: int
    crc: int

    @property
    def length(self) -> int:
        """Bytes of all entries."""
        return self.count * self.entry_size

    def area(self, sector_size: int) -> int:
        """Sectors of all entries."""
        return -(-self.length // sector_size)


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of the table as the disk has it. area: the sectors of its entries. good: the CRC of those is right."""

    header: Header
    area: bytes
    good: bool


@dataclass(frozen=True, slots=True)
class Gpt:
    """
    A GPT. header, area: of the copy that counts. primary, backup: None when its header is broken or missing.
    """

    sector_size: int
    sectors: int
    header: Header
    area: bytes
    primary: Copy | None
    backup: Copy | None

    @property
    def damaged(self) -> str:
        """ "primary" or "backup" when that copy is damaged, or ""."""
        if self.primary is None or not self.primary.good:
            return "primary"
        return "" if self.backup is not None and self.backup.good else "backup"


@dataclass(frozen=True, slots=True)
class Entry:
    """A used entry; first and last are sectors. raw: all its bytes."""

    number: int
    type: str
    guid: str
    first: int
    last: int
    name: str
    raw: bytes


def read_gpt(read: Read, sector_size: int, sectors: int) -> Gpt | None:
    """The GPT of a disk, from its backup when the primary is damaged; None when neither copy is right."""
    primary = _copy(read, sector_size, sectors, PRIMARY)
    # A disk image that was written to a larger disk has its backup where the image ended, as its primary says.
    backup = _copy(read, sector_size, sectors, primary.header.other) if primary else None
    if backup is None:
        backup = _copy(read, sector_size, sectors, sectors - 1)
    for copy in (primary, backup):
        if copy is not None and copy.good:
            return Gpt(sector_size, sectors, copy.header, copy.area, primary, backup)
    return None


def entries_of(gpt: Gpt) -> list[Entry]:
    """The used entries, by number."""
    found = []
    for index in range(gpt.header.count):
        raw = gpt.area[index * gpt.header.entry_size :][: gpt.header.entry_size]
        kind, guid, first, last, _, name = _ENTRY.unpack_from(raw)
        if any(kind):
            text = name.decode("utf-16-le", "replace").partition("\0")[0]
            found.append(Entry(index + 1, guid_text(kind), guid_text(guid), first, last, text, raw))
    return found


def with_places(gpt: Gpt, places: Mapping[int, tuple[int, int]]) -> Gpt:
    """The table with other first and last sectors for some entries; its CRC is kept when it can be."""
    area = bytearray(gpt.area)
    for number, (first, last) in places.items():
        struct.pack_into("<QQ", area, (number - 1) * gpt.header.entry_size + 32, first, last)
    spare = _spare_place(gpt, sorted(places)) if area != gpt.area else None
    if spare is not None:
        _keep_crc(area, spare, gpt.header.length, gpt.header.crc)
    return replace(gpt, area=bytes(area), header=_with_crc(gpt.header, area))


def is_one_sector(old: Gpt, new: Gpt) -> bool:
    """Whether each copy becomes the new one by the write of one sector at most."""
    return new.header == old.header and len(_difference(old.area, new.area, old.sector_size)) <= old.sector_size


def steps(old: Gpt, new: Gpt) -> list[tuple[int, bytes]]:
    """
    The writes (offset, bytes) that make `old`, as the disk has it, into `new`. Each is flushed before the next.

    Backup entries, backup header, primary entries, primary header: what is right already is not written. A damaged
    primary is put right first, so that at any time one copy at least is whole.
    Raises: HupfastError when that cannot be.
    """
    primary = old.primary
    if primary is None:  # its header also says where the entries lie: a guess could hit a boot loader
        raise HupfastError("the primary GPT header is damaged: repair it first (gdisk: r, b, w)")
    writes = [] if primary.good else _steps(old, primary, old.area)
    if not primary.good:
        primary = Copy(_with_crc(primary.header, old.area), old.area, True)
    backup = old.backup or _new_backup(old, primary.header)
    if backup is not None:
        writes += _steps(old, backup, new.area)
    elif not is_one_sector(old, new):
        raise HupfastError("the backup GPT is missing, and without it this change is not safe: make one (sgdisk -e)")
    return writes + _steps(old, primary, new.area)


def guid_text(raw: bytes) -> str:
    """A GUID as it is printed; its first three fields are little endian."""
    first, second, third = struct.unpack_from("<IHH", raw)
    return f"{first:08X}-{second:04X}-{third:04X}-{raw[8:10].hex()}-{raw[10:16].hex()}".upper()


# ---- reading ------------------------------------------------------------------------------------------------


def _copy(read: Read, sector_size: int, sectors: int, sector: int) -> Copy | None:
    if not PRIMARY <= sector < sectors:
        return None
    header = _header(read(sector * sector_size, sector_size), sector, sector_size, sectors)
    if header is None:
        return None
    size = header.area(sector_size) * sector_size
    area = read(header.entries * sector_size, size)
    good = len(area) == size and zlib.crc32(area[: header.length]) == header.crc
    return Copy(header, area, good)


def _header(raw: bytes, sector: int, sector_size: int, sectors: int) -> Header | None:
    """None for anything that is not right, an absurd number too."""
    if len(raw) != sector_size or raw[:8] != _MAGIC:
        return None
    fields = _HEADER.unpack_from(raw)
    _, _, size, crc, _, own, other, first, last, guid, entries, count, entry_size, entries_crc = fields
    if not _HEADER.size <= size <= sector_size or _header_crc(raw) != crc or own != sector:
        return None
    header = Header(raw, own, other, first, last, guid, entries, count, entry_size, entries_crc)
    if entry_size < _ENTRY.size or entry_size & (entry_size - 1) or not 1 <= header.length <= _AREA_LIMIT:
        return None
    end = entries + header.area(sector_size)
    inside = entries > PRIMARY and end <= sectors and PRIMARY < first <= last < sectors
    return header if inside and not entries <= own < end else None


def _header_crc(raw: bytes | bytearray) -> int:
    size = struct.unpack_from("<I", raw, 12)[0]
    return zlib.crc32(raw[:16] + bytes(4) + raw[20:size])


# ---- changing -----------------------------------------------------------------------------------------------


def _packed(header: Header) -> Header:
    """With the fields in its raw bytes, and the CRC of those."""
    raw = bytearray(header.raw)
    struct.pack_into("<QQ", raw, 24, header.sector, header.other)
    struct.pack_into("<Q", raw, 72, header.entries)
    struct.pack_into("<I", raw, 88, header.crc)
    struct.pack_into("<I", raw, 16, _header_crc(raw))
    return replace(header, raw=bytes(raw))


def _with_crc(header: Header, area: bytes | bytearray) -> Header:
    return _packed(replace(header, crc=zlib.crc32(area[: header.length])))


def _new_backup(gpt: Gpt, primary: Header) -> Copy | None:
    """A backup where the primary says that it is, when the disk has the room there. Its area is empty: all is new."""
    entries = primary.other - primary.area(gpt.sector_size)
    if not primary.last_usable < entries < primary.other < gpt.sectors:
        return None
    header = replace(primary, sector=primary.other, other=PRIMARY, entries=entries)
    return Copy(header, b"", False)


def _steps(gpt: Gpt, copy: Copy, area: bytes) -> list[tuple[int, bytes]]:
    """The writes that give this copy the entries `area`."""
    size = gpt.sector_size
    header = _with_crc(copy.header, area)
    writes = []
    if copy.area != area:
        part = _difference(copy.area, area, size)
        writes.append((copy.header.entries * size + part.start, area[part.start : part.stop]))
    if header != copy.header or not copy.area:
        writes.append((header.sector * size, header.raw))
    return writes


def _difference(old: bytes, new: bytes, size: int) -> range:
    """The sectors that differ, from the first to the last one, in bytes."""
    differ = [at for at in range(0, len(new), size) if old[at : at + size] != new[at : at + size]]
    return range(differ[0], differ[-1] + size) if differ else range(0)


def _spare_place(gpt: Gpt, numbers: list[int]) -> int | None:
    """Where four bytes of a name are free, in the one sector that has these entries; None when there is none."""
    size = gpt.header.entry_size
    sectors = {(number - 1) * size // gpt.sector_size for number in numbers}
    if len(sectors) != 1:
        return None
    first = sectors.pop() * gpt.sector_size // size + 1
    beside = range(first, min(first + gpt.sector_size // size, gpt.header.count + 1))
    for number in (*numbers, *beside):
        start: int = (number - 1) * size
        units = [gpt.area[at : at + 2] for at in range(start + _NAME, start + _SPARE, 2)]
        if b"\0\0" in units:
            return start + _SPARE
    return None


def _keep_crc(area: bytearray, place: int, length: int, wanted: int) -> None:
    """Set the four bytes at `place` so that the CRC-32 of the first `length` bytes is `wanted`."""
    area[place : place + 4] = bytes(4)
    base = zlib.crc32(memoryview(area)[:length])
    rows: dict[int, tuple[int, int]] = {}  # highest bit of a change of the CRC: that change, and the bits that make it
    for bit in range(32):
        struct.pack_into("<I", area, place, 1 << bit)
        change, bits = zlib.crc32(memoryview(area)[:length]) ^ base, 1 << bit
        while change:
            top = change.bit_length()
            if top not in rows:
                rows[top] = (change, bits)
                break
            change, bits = change ^ rows[top][0], bits ^ rows[top][1]
    missing, answer = wanted ^ base, 0
    while missing:  # four bytes in a row reach every CRC, so each bit has its row
        change, bits = rows[missing.bit_length()]
        missing, answer = missing ^ change, answer ^ bits
    struct.pack_into("<I", area, place, answer)
