"""
Reading a FAT filesystem inside a disk without mounting it: what it is called, and all that it holds.

Little endian. The boot sector, and how FAT12 and FAT16 (left) and FAT32 (right) go on from 36:

     3  8    who made it              36                           36 u32  sectors of a FAT
    11 u16   bytes of a sector        38 u8   28 or 29             44 u32  first cluster of the root
    13 u8    sectors of a cluster     39 u32  serial ("volume id") 66 u8   28 or 29
    14 u16   sectors before the FATs  43 11   label                67 u32  serial
    16 u8    FATs                     54 8    "FAT16   "           71 11   label
    17 u16   entries of the root, 0 for FAT32                      82 8    "FAT32   "
    19 u16   sectors, or 0: 32 u32
    22 u16   sectors of a FAT, 0 for FAT32; 28 u32 sectors before the filesystem
    then the FATs, the root (FAT12, FAT16), and the clusters, counted from 2

    entry of a directory, 32 bytes      a piece of a long name, before its entry
     0 11  name; e5: removed, 0: end     0 u8  number, from the last (with 40 added) down to 1
    11 u8  attributes: 01 read-only,     1 10  5 letters, UTF-16
           02 hidden, 04 system, 08     11 u8  0f
           label, 10 directory, 20      13 u8  sum of the 11 bytes of the name
    12 u8  08, 10: lower case           14 12  6 letters
    22 u16 time, u16 date               28 4   2 letters
    20, 26 u16 first cluster (high, low)
    28 u32 bytes
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from hupfast.errors import DataError
from hupfast.system import explained

_BLOCK = 1 << 20
_TABLE_LIMIT = 64 << 20
_DIRECTORY_LIMIT = 2 << 20
_DEPTH_LIMIT = 64
_READ_LABEL, _DIRECTORY, _LONG = 0x08, 0x10, 0x0F


@dataclass(frozen=True, slots=True)
class Item:
    """A file or directory. changed: date and time as the entry has them. digest: SHA-256, empty for a directory."""

    path: str
    attributes: int
    changed: tuple[int, int]
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    attributes: int
    changed: tuple[int, int]
    cluster: int
    size: int


class Fat:
    """
    The FAT filesystem at a place of an open disk or image. Methods raise DataError, HupfastError and MediumError.

    bits: 12, 16 or 32. size: its bytes. clusters: their number. sector: bytes of one.
    hidden: sectors that it says are before it.
    """

    def __init__(self, fd: int, offset: int, limit: int, what: str, boot: bytes | None = None) -> None:
        """
        limit: bytes that it may have at most. boot: its boot sector, where that is not in its place.

        Raises: DataError when there is none.
        """
        self._fd, self._offset, self._what = fd, offset, what
        boot = self._read(0, 512) if boot is None else boot
        if len(boot) < 512 or boot[510:] != b"\x55\xaa" or boot[0] not in (0xEB, 0xE9):
            raise DataError(f"there is no FAT filesystem in {what}")
        sector, cluster, reserved, fats, roots, sectors, _, short = struct.unpack_from("<HBHBHHBH", boot, 11)
        self.sector: int = sector
        self.hidden, long = struct.unpack_from("<II", boot, 28)
        sectors = sectors or long
        length: int = short or struct.unpack_from("<I", boot, 36)[0]
        powers = all(unit and unit & (unit - 1) == 0 for unit in (sector, cluster))
        if not powers or not 512 <= sector <= 4096 or not reserved or not 1 <= fats <= 2 or not length:
            raise DataError(f"there is no FAT filesystem in {what}")
        self.size: int = sectors * sector
        self.root_entries: int = roots
        self.maker: bytes = boot[3:11]
        self._cluster = cluster * sector
        root = reserved + fats * length
        data = root + -(-roots * 32 // sector)
        self._root, self._data = root * sector, data * sector
        self.clusters: int = max(sectors - data, 0) // cluster
        self.bits = 32 if not short else 12 if self.clusters < 4085 else 16
        table = -(-(self.clusters + 2) * self.bits // 8)
        if self.size > limit or not self.clusters or table > min(length * sector, _TABLE_LIMIT):
            raise DataError(f"the FAT filesystem in {what} is damaged: its sizes do not fit together")
        self._first: int = struct.unpack_from("<I", boot, 44)[0] if self.bits == 32 else 0
        extra = 66 if self.bits == 32 else 38
        self.serial: int = struct.unpack_from("<I", boot, extra + 1)[0] if boot[extra] in (0x28, 0x29) else 0
        self._boot_label = boot[extra + 5 : extra + 16] if boot[extra] == 0x29 else b""
        self._table = self._read(reserved * sector, table)
        if len(self._table) < table:
            raise DataError(f"the FAT filesystem in {what} is cut short")

    def label(self) -> bytes:
        """The label, of the root or else of the boot sector, without the blanks at its end; empty for none."""
        for raw in self._raw_entries(None):
            if raw[11] & (_READ_LABEL | _DIRECTORY) == _READ_LABEL and raw[11] & 0x3F != _LONG:
                return raw[:11].rstrip(b" ")
        label = self._boot_label.rstrip(b" \0")
        return b"" if label == b"NO NAME" else label

    def items(self) -> Iterator[Item]:
        """Everything in it, in the order of its directories, which some boot loaders care for."""
        left = self.clusters
        for item in self._items(None, "", set(), 0):
            left -= -(-item.size // self._cluster)
            if left < 0:
                raise self._damaged("its files are larger than it is")
            yield item

    def _items(self, cluster: int | None, above: str, seen: set[int | None], depth: int) -> Iterator[Item]:
        if depth > _DEPTH_LIMIT:
            raise self._damaged(f"there are directories inside more than {_DEPTH_LIMIT} others")
        if cluster in seen:
            raise self._damaged(f"the directory {above or '/'} is inside itself")
        seen.add(cluster)
        for entry in self._entries(cluster):
            path = f"{above}/{entry.name}"
            if entry.attributes & _DIRECTORY:
                yield Item(path, entry.attributes, entry.changed, 0, b"")
                yield from self._items(entry.cluster, path, seen, depth + 1)
            else:
                yield Item(path, entry.attributes, entry.changed, entry.size, self._digest(entry, path))

    def _digest(self, entry: _Entry, path: str) -> bytes:
        import hashlib

        state, rest = hashlib.sha256(), entry.size
        if rest:
            for data in self._chain(entry.cluster):
                state.update(data[:rest])
                rest -= min(len(data), rest)
                if not rest:
                    break
        if rest:
            raise self._damaged(f"the file {path} ends too early")
        return state.digest()

    def _entries(self, cluster: int | None) -> Iterator[_Entry]:
        pieces: list[bytes] = []
        for raw in self._raw_entries(cluster):
            if raw[11] & 0x3F == _LONG:
                pieces = [raw] if raw[0] & 0x40 else [*pieces, raw]
                continue
            long, pieces = _long_name(pieces, raw), []
            if raw[11] & _READ_LABEL or raw[:11] in (b".          ", b"..         "):
                continue
            high, time, date, low, size = struct.unpack_from("<HHHHI", raw, 20)
            first = low | high << 16 if self.bits == 32 else low
            yield _Entry(long or _short_name(raw), raw[11], (date, time), first, size)

    def _raw_entries(self, cluster: int | None) -> Iterator[bytes]:
        """The entries of a directory, None: of the root, that are not removed."""
        if cluster is None and self.bits != 32:
            data = self._read(self._root, self.root_entries * 32)
        else:
            data = b""
            for part in self._chain(self._first if cluster is None else cluster):
                data += part
                if len(data) > _DIRECTORY_LIMIT:
                    raise self._damaged("a directory is too large")
        for at in range(0, len(data) - 31, 32):
            if data[at] == 0:
                return
            if data[at] != 0xE5:
                yield data[at : at + 32]

    def _chain(self, cluster: int) -> Iterator[bytes]:
        """The bytes of a chain of clusters; neighbours are read together."""
        most, count = max(_BLOCK // self._cluster, 1), 0
        while True:
            start, length = cluster, 0
            while cluster == start + length and length < most:
                if not 2 <= cluster < self.clusters + 2 or count > self.clusters:
                    raise self._damaged("a chain of clusters leads nowhere")
                cluster, length, count = self._next(cluster), length + 1, count + 1
            size = length * self._cluster
            data = self._read(self._data + (start - 2) * self._cluster, size)
            if len(data) < size:
                raise self._damaged("it is cut short")
            yield data
            if cluster >= (1 << min(self.bits, 28)) - 8:
                return

    def _next(self, cluster: int) -> int:
        value: int
        if self.bits == 32:
            value = struct.unpack_from("<I", self._table, cluster * 4)[0] & 0x0FFFFFFF
        elif self.bits == 16:
            value = struct.unpack_from("<H", self._table, cluster * 2)[0]
        else:
            at = cluster * 3 // 2
            value = int.from_bytes(self._table[at : at + 2], "little") >> cluster % 2 * 4 & 0xFFF
        return value

    def _read(self, offset: int, length: int) -> bytes:
        with explained(f"cannot read {self._what}"):
            data = b""
            while len(data) < length and (
                more := os.pread(self._fd, length - len(data), self._offset + offset + len(data))
            ):
                data += more
            return data

    def _damaged(self, why: str) -> DataError:
        return DataError(f"the FAT filesystem in {self._what} is damaged: {why}. Repair it first (fsck.fat)")


def _long_name(pieces: list[bytes], raw: bytes) -> str:
    """The long name of an entry; empty when it has none, or pieces of another one."""
    numbers = [piece[0] & 0x3F for piece in pieces]
    total = 0
    for byte in raw[:11]:
        total = ((total & 1) << 7 | total >> 1) + byte & 0xFF
    if not pieces or numbers != list(range(len(pieces), 0, -1)) or any(piece[13] != total for piece in pieces):
        return ""
    letters = b"".join(piece[1:11] + piece[14:26] + piece[28:32] for piece in reversed(pieces))
    return letters.decode("utf-16-le", "replace").partition("\0")[0]


def _short_name(raw: bytes) -> str:
    name = (b"\xe5" if raw[0] == 5 else raw[:1]) + raw[1:11]
    base, end = name[:8].decode("cp850").rstrip(" "), name[8:].decode("cp850").rstrip(" ")
    base, end = base.lower() if raw[12] & 0x08 else base, end.lower() if raw[12] & 0x10 else end
    return f"{base}.{end}" if end else base
