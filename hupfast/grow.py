"""
A larger boot partition, in a way that a power cut cannot break.

The FAT is never made anew where it stands. The inactive slot, which lies right behind it, gives its head:

    before      | boot    | slot a, inactive            | slot b, running    | ...
    make_boot   | boot    |[new boot]  (free)           | slot b             |       the table is the old one still
    apply_grow  | unused  | boot      | slot a, smaller | slot b             |       one sector of the table

Up to the write of that sector (hupfast.parttable) the board boots the old boot partition, from then on the new one,
which has been read back and compared before. Each step can be done again. The new one has the label and the serial
of the old one, and a system that looks for those must not find it in the slot: so its boot sector is veiled (every bit
inverted) until the table is written. What it costs: the content of the inactive
slot, its size, and the place of the old boot partition, which is left unused.

The kernel goes by the old table until it starts again. Until then whatever is written to the boot partition is lost,
and whatever is written to the inactive slot destroys the new boot partition: see unlike_kernel().
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from hupfast.blockdev import Device, find_device, in_use, number_of
from hupfast.durable import write_all
from hupfast.errors import DataError, HupfastError, MismatchError, Refused, TargetError
from hupfast.fat import Fat, Item
from hupfast.parttable import PartitionTable, is_atomic, moved, read_table, write_table
from hupfast.system import explained, find_program, free_space, run

PROGRAMS = ("mkfs.vfat", "mcopy")

_ALIGNMENT = 1 << 20
_BLOCK = 1 << 20
_SECTOR = 512
_FAT12_LIMIT = 16 << 20
_FAT16_LIMIT = 2 << 30
_FAT32_CLUSTERS = 65525
_TIMEOUT = 900.0


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of a disk."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What is to become of the partitions `boot` and `inactive`. table, new_table: before and after."""

    boot: int
    inactive: int
    old_boot: Extent
    new_boot: Extent
    old_slot: Extent
    new_slot: Extent
    table: PartitionTable
    new_table: PartitionTable


def missing_programs() -> list[str]:
    """Programs that make_boot() needs and that are not installed."""
    return [name for name in PROGRAMS if find_program(name) is None]


def plan_grow(
    disk: Path, table: PartitionTable, boot: int, inactive: int, wanted: int, *, least_slot: int
) -> Growth | None:
    """
    How to give the boot partition `wanted` bytes; None when it has them. Writes nothing.

    boot, inactive: numbers of partitions. least_slot: bytes that the inactive slot must keep.
    Raises: Refused when that cannot be done safely.
    """
    old, slot = table.find(boot), table.find(inactive)
    if old is None or slot is None:
        raise Refused(f"{disk} has no partition {boot if old is None else inactive}")
    if old.size >= wanted:
        return None
    if slot.start < old.end or any(old.end <= part.start < slot.start for part in table.partitions):
        raise Refused(
            f"partition {inactive} of {disk} does not lie right behind the boot partition {boot}: when the first slot "
            f"is the running one, grow after the next update"
        )
    border = -(-(slot.start + wanted) // _ALIGNMENT) * _ALIGNMENT
    if slot.end - border < max(least_slot, 1):
        raise Refused(
            f"a boot partition of {wanted} bytes would leave {max(slot.end - border, 0)} bytes of partition "
            f"{inactive} of {disk}, and the system needs {least_slot}"
        )
    new_boot, new_slot = Extent(slot.start, border - slot.start), Extent(border, slot.end - border)
    places = {boot: (new_boot.start, new_boot.size), inactive: (new_slot.start, new_slot.size)}
    new_table = moved(table, places)
    if table.damaged == "primary":
        raise Refused(f"the primary GPT of {disk} is damaged: repair it first (gdisk)")
    if not is_atomic(table, new_table):
        raise Refused(f"the table of {disk} has partitions {boot} and {inactive} in two sectors: a power cut could hit")
    old_boot = Extent(old.start, old.size)
    _check_fat(disk, old_boot)
    return Growth(boot, inactive, old_boot, new_boot, Extent(slot.start, slot.size), new_slot, table, new_table)


def make_boot(growth: Growth, disk: Path, scratch: Path, root: Path = Path("/")) -> None:
    """
    Make the new boot partition in the head of the inactive slot, with all files of the old one, and compare it.

    scratch: a directory with room for those files. The old one must not be changed any more from here on: unmount it
    or mount it read-only. Raises: HupfastError, TargetError (the slot is in use), DataError, MediumError.
    """
    if _is_done(growth, disk):
        return
    _check_device(growth, disk, root)
    image, settings = scratch / "boot.img", scratch / "mtools.conf"
    with explained(f"cannot write the new boot partition to {disk}"):
        fd = os.open(disk, os.O_RDWR | os.O_CLOEXEC)
        try:
            if stat.S_ISBLK(os.fstat(fd).st_mode):
                os.sync()  # what is mounted has a cache of its own
            _forget(fd)
            old = Fat(fd, growth.old_boot.start, growth.old_boot.size, f"the boot partition of {disk}")
            items = list(old.items())
            _check_room(items, scratch)
            _format(old, growth, image)
            if items:
                _copy_files(disk, growth.old_boot.start, image, settings)
            _check_image(image, old, items)
            _copy_image(image, fd, growth.new_boot.start)
            _forget(fd)
            _check_same(fd, growth, disk)
        finally:
            os.close(fd)
            image.unlink(missing_ok=True)
            settings.unlink(missing_ok=True)


def apply_grow(growth: Growth, disk: Path) -> None:
    """
    Let the partition table point to the new boot partition, when that still has all that the old one has.

    A restart must follow. Raises: HupfastError, MismatchError, MediumError.
    """
    if _is_done(growth, disk):
        return
    with explained(f"cannot read {disk}"):
        fd = os.open(disk, os.O_RDWR | os.O_CLOEXEC)
        try:
            if stat.S_ISBLK(os.fstat(fd).st_mode):
                os.sync()
            _forget(fd)
            _write_at(fd, _check_same(fd, growth, disk), growth.new_boot.start)
            os.fsync(fd)
        finally:
            os.close(fd)
    write_table(disk, growth.new_table)


def unlike_kernel(table: PartitionTable, device: Device) -> list[int]:
    """
    Numbers of the partitions that the kernel has at another place than the table: a restart is due.

    While there are any, no slot and no boot file may be written. device: the disk, of hupfast.blockdev.
    """
    known = {_number(f"{part.directory}/partition"): part for part in device.partitions}
    unlike = []
    for part in table.partitions:
        there = known.get(part.number)
        if table.kind == "mbr" and int(part.type, 16) in (0x05, 0x0F, 0x85):
            continue  # the kernel shows two sectors of it
        if there is None or (512 * _number(f"{there.directory}/start"), there.size) != (part.start, part.size):
            unlike.append(part.number)
    return unlike


# ---- checks -------------------------------------------------------------------------------------------------


def _check_fat(disk: Path, extent: Extent) -> None:
    with explained(f"cannot read {disk}"):
        fd = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fat = Fat(fd, extent.start, extent.size, f"the boot partition of {disk}")
            label = fat.label()
        except DataError as error:
            raise Refused(str(error)) from error
        finally:
            os.close(fd)
    if fat.maker.startswith(b"SYSLINUX"):
        raise Refused(f"the boot partition of {disk} has SYSLINUX in its boot sector, which would not run after a move")
    if fat.bits == 32 and fat.clusters < _FAT32_CLUSTERS:  # Linux and mkfs.vfat allow it, the mtools of today do not
        raise Refused(
            f"the boot partition of {disk} is FAT32 with {fat.clusters} clusters, too few for mcopy to read it"
        )
    if any(not 0x20 < byte < 0x7F for byte in label.replace(b" ", b"")):
        raise Refused(f"the boot partition of {disk} has the label {label!r}, which mkfs.vfat cannot set")


def _is_done(growth: Growth, disk: Path) -> bool:
    """Whether the disk has the new table. Raises: HupfastError when it has neither that nor the old one."""
    now = read_table(disk, growth.table.sector_size).partitions
    if now not in (growth.table.partitions, growth.new_table.partitions):
        raise HupfastError(f"the partition table of {disk} is not the one of the plan: start again")
    return now == growth.new_table.partitions


def _check_device(growth: Growth, disk: Path, root: Path) -> None:
    """For a block device: the kernel knows this table, and nobody uses the inactive slot."""
    with explained(f"cannot look at {disk}"):
        status = os.stat(disk)
    device = find_device(number_of(status), str(root)) if stat.S_ISBLK(status.st_mode) else None
    if device is None:
        return
    if unlike_kernel(growth.table, device):
        raise TargetError(f"the kernel does not know the partition table of {disk} yet: restart the board first")
    for part in device.partitions:
        if _number(f"{part.directory}/partition") == growth.inactive and (reason := in_use(part, str(root))):
            raise TargetError(f"partition {growth.inactive} of {disk} cannot be overwritten: {reason}")


def _number(path: str) -> int:
    with explained(f"cannot read {path}"), open(path, encoding="ascii") as file:
        return int(file.read())


def _check_room(items: list[Item], scratch: Path) -> None:
    space = free_space(scratch)
    needed = 2 * _BLOCK + sum(item.size + space.cluster for item in items)
    if space.free < needed:
        raise HupfastError(f"{scratch} has {space.free} bytes free, and the boot files need {needed} there")


def _check_image(image: Path, old: Fat, items: list[Item]) -> None:
    fd = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    try:
        new = Fat(fd, 0, os.fstat(fd).st_size, f"the new boot partition in {image}")
        _compare(old, items, new, str(image))
    finally:
        os.close(fd)


def _check_same(fd: int, growth: Growth, disk: Path) -> bytes:
    """Whether both boot partitions hold the same; returns the boot sector of the new one, unveiled."""
    old = Fat(fd, growth.old_boot.start, growth.old_boot.size, f"the boot partition of {disk}")
    boot = os.pread(fd, _SECTOR, growth.new_boot.start)
    boot = boot if boot.endswith(b"\x55\xaa") else _inverted(boot)
    try:
        new = Fat(fd, growth.new_boot.start, growth.new_boot.size, f"the new boot partition on {disk}", boot)
        _compare(old, list(old.items()), new, str(disk))
    except DataError as error:
        raise MismatchError(f"{error}. The board goes on with the old one") from error
    return boot


def _compare(old: Fat, items: list[Item], new: Fat, where: str) -> None:
    if (new.serial, new.label()) != (old.serial, old.label()):
        raise MismatchError(f"the new boot partition in {where} has another label or serial than the old one")
    copied = list(new.items())
    if copied != items:
        differ = {item.path for item in set(items) ^ set(copied)}
        raise MismatchError(f"the new boot partition in {where} differs from the old one in {min(differ, default='/')}")


# ---- making -------------------------------------------------------------------------------------------------


def _format(old: Fat, growth: Growth, image: Path) -> None:
    """
    An empty FAT in the file `image`, like the old one but for its size.

    A boot ROM may know one type of FAT only: FAT32 and FAT16 stay what they are. FAT12 does not when it gets large.
    """
    size = growth.new_boot.size
    with explained(f"cannot write {image}"), image.open("wb") as file:
        file.truncate(size)
    bits = 32 if old.bits == 32 or size > _FAT16_LIMIT else 16 if old.bits == 16 or size >= _FAT12_LIMIT else 12
    unit = growth.table.sector_size
    hidden = growth.new_boot.start // unit if old.hidden == growth.old_boot.start // unit else old.hidden
    argv = ["mkfs.vfat", "-F", str(bits), "-S", str(old.sector), "-h", str(hidden), "-i", f"{old.serial:08x}"]
    if bits != 32:
        argv += ["-r", str(max(old.root_entries, 512))]
    if label := old.label().decode("ascii"):
        argv += ["-n", label]
    run([*argv, str(image)], timeout=_TIMEOUT)


def _copy_files(disk: Path, offset: int, image: Path, settings: Path) -> None:
    """
    mcopy from one FAT to the other, which keeps attributes, times, short and long names, and their order.

    It is told of the image by a settings file, for it takes one image on its command line; of the disk there,
    because the settings file cannot have offsets beyond 4 GiB.
    """
    if "@@" in str(disk) or '"' in str(image) or not str(image).isprintable():
        raise HupfastError(f"{disk} or {image} has a name that mcopy cannot be given")
    with explained(f"cannot write {settings}"):
        settings.write_text(f'drive n: file="{image}"\n', encoding="utf-8")
    environment = {
        "MTOOLSRC": str(settings),
        "MTOOLS_SKIP_CHECK": "1",  # else it wants whole tracks
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(settings.parent),
    }
    argv = ["mcopy", "-s", "-p", "-m", "-Q", "-D", "s", "-i", f"{disk}@@{offset}", "::/*", "n:/"]
    run(argv, timeout=_TIMEOUT, environment=environment)


def _copy_image(image: Path, fd: int, offset: int) -> None:
    """All bytes of the image, holes too: what the slot held there must not show through. The first sector is veiled."""
    with explained(f"cannot read {image}"), image.open("rb", buffering=0) as file:
        _write_at(fd, _inverted(file.read(_SECTOR)), offset)
        while chunk := file.read(_BLOCK):
            write_all(fd, chunk)
    os.fsync(fd)


def _write_at(fd: int, data: bytes, offset: int) -> None:
    os.lseek(fd, offset, os.SEEK_SET)
    write_all(fd, data)


def _inverted(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


def _forget(fd: int) -> None:
    """Read from the medium from here on, not from what the kernel remembers of it."""
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
