"""
Block devices as the kernel describes them, and what each is in use for.

    /sys/dev/block/8:1 -> ../../devices/.../block/sda/sda1    a directory for each device, found by its number
      dev                        "8:1"
      size                       in units of 512 bytes, whatever the device's sectors are
      ro                         1: read-only
      partition                  its number; a partition alone has it, and lies in the directory of its disk
      holders/                   devices that are built on this one (dm, md, bcache)
      queue/logical_block_size   bytes of a sector; a disk alone has it
      loop/backing_file  dm/name  device/model  device/name

    /proc/self/mountinfo   36 35 8:1 / /boot rw,noatime shared:1 - vfat /dev/sda1 rw
                                 |     |                           |    |
                            number     where                    type    source
    /proc/swaps            /dev/sda2  partition  1048572  0  -2

In the last two, a blank in a name is written as \\040. All paths start at the system root `root`; devices are
compared by number, files by inode, never by name. This module is imported on boards: no pathlib.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """
    A block device. number: "major:minor"; name: the kernel's; size and logical_block_size: bytes.

    disk: the disk that it is a partition of, or None. partitions: those of a disk.
    """

    number: str
    name: str
    directory: str
    size: int
    read_only: bool
    logical_block_size: int
    model: str
    disk: "Device | None"
    partitions: tuple["Device", ...]


def number_of(status: os.stat_result) -> str:
    """ "major:minor" of a block device node."""
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def find_device(number: str, root: str = "/") -> Device | None:
    """The device with this number, or None when sysfs does not know it."""
    directory = os.path.realpath(below(root, f"sys/dev/block/{number}"))
    if not os.path.isfile(f"{directory}/dev"):
        return None
    disk = None
    if os.path.exists(f"{directory}/partition"):
        disk = _describe(os.path.dirname(directory), None, ())
    partitions = tuple(
        _describe(f"{directory}/{name}", None, ())
        for name in sorted(os.listdir(directory))
        if os.path.exists(f"{directory}/{name}/partition")
    )
    return _describe(directory, disk, partitions)


def in_use(device: Device, root: str = "/") -> str | None:
    """Why the device must not be overwritten, and the way out; None when nothing speaks against it."""
    related = {device.number: "it"}
    related |= {part.number: f"its partition {part.name}" for part in device.partitions}
    devices = [device, *device.partitions]
    if device.disk:
        related[device.disk.number] = f"the whole disk {device.disk.name}"
        devices.append(device.disk)
    return (
        _mounted(related, root)
        or _swapping(related, root)
        or _held(devices, related, root)
        or _in_btrfs(related, root)
        or _behind_loop(lambda status: related.get(number_of(status)) if stat.S_ISBLK(status.st_mode) else None, root)
    )


def mounted_at(place: str, root: str = "/") -> str | None:
    """The number of the device that is mounted at `place`, the topmost one; None when it is no device."""
    for process in ("1", "self"):
        found = [number for number, where in _mounts(root, (process,)) if where == place]
        if found:
            return None if found[-1].startswith("0:") else found[-1]
    return None


def file_in_use(status: os.stat_result, root: str = "/") -> str | None:
    """As in_use, for a regular file: swap space or the backing file of a loop device."""

    def same(other: os.stat_result) -> str | None:
        return "it" if os.path.samestat(status, other) else None

    for path in _swaps(root):
        if (other := _stat(below(root, path))) and same(other):
            return f"it is swap space in use: turn that off first (swapoff {path})"
    return _behind_loop(same, root)


def below(root: str, path: str) -> str:
    """`path`, absolute or not, below the system root."""
    return os.path.join(root, path.lstrip("/"))


def _describe(directory: str, disk: Device | None, partitions: tuple[Device, ...]) -> Device:
    top = disk.directory if disk else directory
    backing = _text(f"{top}/loop/backing_file")
    return Device(
        number=_text(f"{directory}/dev"),
        name=os.path.basename(directory).replace("!", "/"),
        directory=directory,
        size=512 * int(_text(f"{directory}/size") or 0),
        read_only=_text(f"{directory}/ro") == "1",
        logical_block_size=int(_text(f"{top}/queue/logical_block_size") or 512),
        model=(
            _text(f"{top}/device/model")
            or _text(f"{top}/device/name")
            or _text(f"{top}/dm/name")
            or (f"loop device of {backing}" if backing else "")
        ),
        disk=disk,
        partitions=partitions,
    )


def _mounted(related: dict[str, str], root: str) -> str | None:
    found = None
    for number, where in _mounts(root):
        if number in related and where == "/":
            return f"the running system's root file system is on {related[number]}"
        if number in related and found is None:
            found = f"{related[number]} is mounted on {where}: unmount that first (umount {where})"
    return found


def _mounts(root: str, processes: tuple[str, ...] = ("1", "self")) -> Iterator[tuple[str, str]]:
    """Number and place of each mount. Process 1 is asked too: for a container it knows the host's mounts."""
    for process in processes:
        for line in _lines(below(root, f"proc/{process}/mountinfo")):
            fields, _, rest = line.partition(" - ")
            number, where = fields.split(" ")[2], _plain(fields.split(" ")[4])
            source = _plain(rest.split(" ")[1])
            if number.startswith("0:") and source.startswith("/dev/"):  # btrfs shows a number of its own
                status = _stat(below(root, source))
                if status and stat.S_ISBLK(status.st_mode):
                    number = number_of(status)
            yield number, where


def _swapping(related: dict[str, str], root: str) -> str | None:
    for path in _swaps(root):
        status = _stat(below(root, path))
        if status and stat.S_ISBLK(status.st_mode) and number_of(status) in related:
            return f"{related[number_of(status)]} is swap space in use: turn that off first (swapoff {path})"
    return None


def _swaps(root: str) -> Iterator[str]:
    for line in _lines(below(root, "proc/swaps"))[1:]:
        yield _plain(line.split()[0])


def _held(devices: list[Device], related: dict[str, str], root: str) -> str | None:
    for device in devices:
        for holder in _names(f"{device.directory}/holders"):
            name = _text(below(root, f"sys/block/{holder}/dm/name"))
            way = f"mdadm --stop /dev/{holder}" if holder.startswith("md") else "dmsetup ls --tree shows how"
            return f"{related[device.number]} is held by {name or holder}: take that down first ({way})"
    return None


def _in_btrfs(related: dict[str, str], root: str) -> str | None:
    """A btrfs of several devices shows only one of them in mountinfo."""
    base = below(root, "sys/fs/btrfs")
    for volume in _names(base):
        for name in _names(f"{base}/{volume}/devices"):
            number = _text(f"{base}/{volume}/devices/{name}/dev")
            if number in related:
                return f"{related[number]} belongs to the mounted btrfs volume {volume}: unmount that first"
    return None


def _behind_loop(which: Callable[[os.stat_result], str | None], root: str) -> str | None:
    for name in _names(below(root, "sys/block")):
        path = _text(below(root, f"sys/block/{name}/loop/backing_file")) if name.startswith("loop") else ""
        status = _stat(below(root, path)) if path else None
        if status and (what := which(status)):
            return f"{what} is in use behind /dev/{name}: detach that first (losetup -d /dev/{name})"
    return None


def _plain(name: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        name = name.replace(code, letter)
    return name


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _text(path: str) -> str:
    """What the kernel says there, without the newline; empty when it says nothing."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip("\n").strip(" ")
    except OSError:
        return ""


def _lines(path: str) -> list[str]:
    text = _text(path)
    return text.split("\n") if text else []  # not splitlines: a name may have other line separators in it
