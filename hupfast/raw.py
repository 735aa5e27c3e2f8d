"""
Bootloaders at fixed places of the disk, outside of any partition (MLO at 128 KiB, idbloader at 32 KiB).

A range in the profile:

[[raw]]
name = "MLO"                    member raw/MLO of the bundle
offsets = ["128K", "256K"]      where on the disk that has the slots, in the order in which the boot ROM looks;
                                several: copies, of which it takes the first whole one
size = "128K"                   room of each copy
single = "allow"                optional, default "refuse": with one offset only, a power cut in its write needs a
                                new card

A power cut may tear the copy that is being written, so another one must be whole then. The ROM's first copy is the
one that is known to be: the board has booted with it. So it stays until all others are new and read back: the last
copy is written first, the first one last.

    first second    the ROM takes
    old   old       the first: old
    old   torn      the first: old             (also when nobody has ever written a second one)
    old   new       the first: old
    torn  new       the second: new, which was read back and compared
    new   new       the first: new

The other way round, a second copy that nobody has ever written would be all there is while the first is torn. Only a
copy that is blank, all 00 or FF, goes before the others: the ROM cannot have taken it. undo_raw goes back through the
same states. A run that was cut off is undone before another begins, because what it has torn looks like a copy.

The profile and the plan are here, the writing is in rawwrite.py.
"""

import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hupfast.blockdev import find_device, number_of
from hupfast.errors import Refused
from hupfast.manifest import RAW_NAME, RawMember
from hupfast.medium import Medium
from hupfast.profile import Table
from hupfast.system import explained, read_small, under

_SECTOR = 512


@dataclass(frozen=True)
class RawRange:
    """A table [[raw]]. offsets: of the copies, as the ROM looks; size: room of each. All in bytes."""

    name: str
    offsets: tuple[int, ...]
    size: int
    single_allowed: bool


@dataclass(frozen=True)
class RawChange:
    """
    What happens to one copy. action: "write", or "same" (it is there already). offset: bytes, of the disk.

    single: it is the only copy, so that a power cut in its write needs a new card.
    """

    member: RawMember
    disk: Path
    offset: int
    action: str
    single: bool


@dataclass(frozen=True)
class Disk:
    """The disk that has the slots. size: bytes; partitions: start and size of each in bytes, as the kernel has them."""

    path: Path
    size: int
    partitions: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Taken:
    """Bytes of the disk that no copy may touch, and what is there."""

    start: int
    end: int
    what: str


# ---- the profile -------------------------------------------------------------------------------------------


def read_raw(table: Table) -> RawRange:
    """One table [[raw]]. Raises: Refused with the line."""
    size = table.size("size")
    if size is None:
        raise table.fail("size", "this key is missing")
    found = RawRange(
        name=table.text("name", pattern=RAW_NAME),
        offsets=table.sizes("offsets"),
        size=size,
        single_allowed=table.choice("single", ("allow", "refuse"), "refuse") == "allow",
    )
    if size % _SECTOR:
        raise table.fail("size", f"{size} is no multiple of {_SECTOR}")
    if not found.offsets or any(offset % _SECTOR for offset in found.offsets):
        raise table.fail("offsets", f"it has no offset, or one that is no multiple of {_SECTOR}")
    for index, offset in enumerate(found.offsets):
        if _overlap(found.offsets[:index], size, offset, size):
            raise table.fail("offsets", f"the copy at {offset} overlaps another one")
    if len(found.offsets) == 1 and not found.single_allowed:
        raise table.fail(
            "offsets",
            "there is one copy only, and a power cut in its write leaves a board that does not start;"
            ' add the offset of a second copy, or single = "allow"',
        )
    table.finish()
    return found


def read_ranges(tables: Sequence[Table]) -> tuple[RawRange, ...]:
    """All tables [[raw]] of a profile: no two of a name, none in another. Raises: Refused with the line."""
    found: list[RawRange] = []
    for table in tables:
        new = read_raw(table)
        for other in found:
            if new.name == other.name:
                raise table.fail("name", f"there is a range {new.name!r} already")
            if any(_overlap(other.offsets, other.size, offset, new.size) for offset in new.offsets):
                raise table.fail("offsets", f"a copy overlaps one of the range {other.name!r}")
        found.append(new)
    return tuple(found)


def _overlap(offsets: Sequence[int], size: int, offset: int, length: int) -> bool:
    """Whether one of the ranges at `offsets`, each of `size`, has a byte of that at `offset`."""
    return any(other < offset + length and offset < other + size for other in offsets)


# ---- the plan ----------------------------------------------------------------------------------------------


def find_disk(slot: Path, root: Path) -> Disk:
    """The disk that a slot, a partition, is on. root: of the system. Raises: Refused, HupfastError."""
    with explained(f"cannot look at {slot}"):
        facts = slot.stat()
    device = find_device(number_of(facts), str(root)) if stat.S_ISBLK(facts.st_mode) else None
    disk = find_device(device.disk.number, str(root)) if device and device.disk else None
    if disk is None:
        raise Refused(f"the bundle has bootloaders for places of the disk, and the slot {slot} is no partition of one")
    node = under(root, f"/dev/{disk.name}")
    if not node.is_block_device() or number_of(node.stat()) != disk.number:
        raise Refused(f"the disk of {slot} cannot be found: {node} is not the block device {disk.number}")
    starts = [int((read_small(Path(part.directory, "start")) or b"0").strip()) for part in disk.partitions]
    sizes = [part.size for part in disk.partitions]
    return Disk(node, disk.size, tuple((_SECTOR * start, size) for start, size in zip(starts, sizes, strict=True)))


def plan_raw(
    ranges: Sequence[RawRange],
    members: Sequence[RawMember],
    disk: Path,
    partitions: Sequence[tuple[int, int]],
    disk_size: int,
) -> tuple[RawChange, ...]:
    """
    Compare the disk with what a bundle brings: one change for each copy, in the order of writing. Changes nothing.

    partitions: start and size of each; disk_size; all in bytes. Raises: Refused when a member has no place of its
    own and large enough, MediumError, HupfastError.
    """
    if not members:
        return ()
    changes = []
    places = {place.name: place for place in ranges}
    with Medium(disk, os.O_RDONLY) as medium:
        taken = [_Taken(start, start + size, f"the partition at {start}") for start, size in partitions]
        taken += _tables(medium, disk_size)
        for member in members:
            place = places.get(member.path)
            if place is None:
                raise Refused(
                    f"the bundle has {member.name}, and the board's profile has no [[raw]] of the name"
                    f" {member.path!r} to tell where it goes"
                )
            _check_place(place, member, medium, taken, disk_size)
            for offset in reversed(place.offsets):
                action = "same" if medium.holds(offset, member.size, member.sha256) else "write"
                changes.append(RawChange(member, disk, offset, action, len(place.offsets) == 1))
    return tuple(changes)


def members_to_fetch(changes: Sequence[RawChange]) -> list[RawMember]:
    """The members that will be read from the bundle, in its order."""
    return list(dict.fromkeys(change.member for change in changes if change.action == "write"))


def undo_size(changes: Sequence[RawChange]) -> int:
    """Bytes that the undo directory needs, at most."""
    return sum(change.member.size + 4096 for change in changes if change.action == "write")


def _check_place(place: RawRange, member: RawMember, medium: Medium, taken: Sequence[_Taken], disk_size: int) -> None:
    if member.size > place.size:
        raise Refused(f"{member.name} has {member.size} bytes, and the profile has room for {place.size}")
    for offset in place.offsets:
        end = offset + place.size
        where = f"the range {place.name!r} of the profile, {offset} to {end} of {medium.path},"
        if end > disk_size:
            raise Refused(f"{where} lies beyond the disk, which has {disk_size} bytes; is it the right profile?")
        if offset % medium.sector or place.size % medium.sector:
            raise Refused(f"{where} does not begin and end with a sector of {medium.sector} bytes")
        for other in taken:
            if offset < other.end and other.start < end:
                raise Refused(f"{where} overlaps {other.what}; is it the right profile?")


def _tables(medium: Medium, disk_size: int) -> list[_Taken]:
    """
    Where partition tables are.

    MBR   446  four entries of 16 bytes: 4 type, 8 start, 12 sectors (32 bits); 510 "55 AA". An entry counts as
               taken: of an extended partition, the kernel only shows the first sectors
    GPT   sector 1: 0 "EFI PART", 32 sector of the other header, 72 first sector of the entries (64 bits),
               80 number, 84 bytes of an entry (32 bits); little endian all
    """
    head = b"".join(medium.pieces(0, min(disk_size, 2 * 4096)))
    found = []
    for sector in (512, 4096):
        header = head[sector : sector + 92]
        if header.startswith(b"EFI PART") and len(header) == 92:
            other, entries = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<Q", header, 72)[0]
            length = struct.unpack_from("<I", header, 80)[0] * struct.unpack_from("<I", header, 84)[0]
            places = [
                (0, 34 * sector),
                (disk_size - 33 * sector, disk_size),
                (entries * sector, entries * sector + length),
            ]
            places.append(((other - 32) * sector, (other + 1) * sector))
            found += [_Taken(start, end, "the GPT, a partition table") for start, end in places]
    if found:
        return found
    found = [_Taken(0, medium.sector, "the MBR, a partition table")]
    if head[510:512] == b"\x55\xaa":
        for index in range(4):
            kind, start, count = struct.unpack_from("<4xB3xII", head, 446 + 16 * index)
            if kind:
                what = f"the partition at {start * medium.sector}"
                found.append(_Taken(start * medium.sector, (start + count) * medium.sector, what))
    return found
