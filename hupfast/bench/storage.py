"""
The medium below a target: what it calls itself, and how it feels, by sysfs alone.

    /sys/dev/block/179:2 -> .../mmcblk0/mmcblk0p2     the target, or the device that a file's filesystem is on
    mmcblk0/device/type        "MMC" or "SD"; cid name serial manfid oemid date fwrev hwrev life_time pre_eol_info
    nvme0n1/device/            model serial firmware_rev
    sda/device/                vendor model rev; vpd_pg80: 4 bytes, then the serial number
    .../1d84000.ufshc/host0/target0:0:0/0:0:0:0/block/sda     a UFS, whose host tells of its health:
      health_descriptor/       eol_info life_time_estimation_a life_time_estimation_b
    vda/serial                 of a virtual disk
    loop0/loop/backing_file

life_time of an eMMC: two numbers, 0x01 for 0-10% used to 0x0A for 90-100%, 0x0B for more than that. pre_eol_info: 0x01
normal, 0x02 80% of the spare blocks are used, 0x03 nearly all. Of UFS, eol_info and the two estimations are the same.
An NVMe drive tells nothing of it in sysfs.

A medium is known again by its key: its CID, or model and serial number, or model and size. This module is imported on
every write: no pathlib.
"""

import os
import stat
from dataclasses import dataclass

from hupfast.blockdev import Device, below, find_device, number_of

_MMC_HEALTH = ("life_time", "pre_eol_info", "date", "manfid", "oemid", "fwrev", "hwrev", "prv")
_NVME_HEALTH = ("firmware_rev", "state")
_SCSI_HEALTH = ("rev", "state")
_UFS_HEALTH = ("life_time_estimation_a", "life_time_estimation_b", "eol_info")
_UFS_ABOVE = 8
"""Directories from a disk up to its UFS host, at most: block, the unit, the target, the SCSI host are between."""


@dataclass(frozen=True, slots=True)
class Medium:
    """
    A medium. kind: as in document.py. size: bytes of the whole medium, 0 when unknown. key: by which it is known
    again, None when nothing tells it from others. filesystem: type of the one that the target is a file on.
    """

    kind: str
    model: str | None
    serial: str | None
    cid: str | None
    size: int
    health: dict[str, str]
    key: str | None
    filesystem: str | None


def find_medium(path: str, root: str = "/") -> Medium:
    """The medium of a device or a file, or of the file that will be at `path`."""
    status = _status_near(path)
    if status is not None and stat.S_ISBLK(status.st_mode):
        number: str | None = number_of(status)
        filesystem: str | None = None
    else:
        number, filesystem = _mounted_below(os.path.realpath(path), root)
    device = find_device(number, root) if number else None
    if device is None:
        return Medium("file", None, None, None, 0, {}, None, filesystem)
    return _describe(_lowest(device, root), filesystem)


def _status_near(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _mounted_below(path: str, root: str) -> tuple[str | None, str | None]:
    """Number of the device and type of the filesystem that a file is on."""
    best = -1
    found: tuple[str | None, str | None] = (None, None)
    for line in _text(below(root, "proc/self/mountinfo")).splitlines():
        fields, _, rest = line.partition(" - ")
        words, more = fields.split(" "), rest.split(" ")
        if len(words) < 5 or len(more) < 2:
            continue
        place = _plain(words[4])
        inside = place == "/" or path == place or path.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= best:  # of two at one place, the later one is on top
            best, found = len(place), (_number(words[2], _plain(more[1]), root), more[0])
    return found


def _number(number: str, source: str, root: str) -> str | None:
    """The number of a device; btrfs shows one of its own."""
    if not number.startswith("0:"):
        return number
    status = _status_near(below(root, source)) if source.startswith("/dev/") else None
    return number_of(status) if status is not None and stat.S_ISBLK(status.st_mode) else None


def _lowest(device: Device, root: str) -> Device:
    """The disk of a partition, and what is below a device-mapper device that is built on one disk alone."""
    disk = device.disk or device
    for _ in range(8):
        try:
            slaves = os.listdir(f"{disk.directory}/slaves")
        except OSError:
            slaves = []
        number = _text(f"{disk.directory}/slaves/{slaves[0]}/dev") if len(slaves) == 1 else ""
        inner = find_device(number, root) if number else None
        if inner is None:
            break
        disk = inner.disk or inner
    return disk


def _describe(disk: Device, filesystem: str | None) -> Medium:
    kind, folder = _kind(disk), f"{disk.directory}/device"
    model, serial = _clean(disk.model.encode()) or None, ""
    cid: str | None = None
    health: tuple[str, ...] = ()
    if kind in ("mmc", "sd"):
        cid = _text(f"{folder}/cid") or None
        model, serial = _text(f"{folder}/name") or model, _text(f"{folder}/serial")
        health = _MMC_HEALTH
    elif kind == "nvme":
        serial, health = _text(f"{folder}/serial"), _NVME_HEALTH
    elif kind == "scsi":
        vendor = _text(f"{folder}/vendor")
        model, serial, health = f"{vendor} {model or ''}".strip() or None, _vpd_serial(folder), _SCSI_HEALTH
    elif kind == "virtio":
        serial = _text(f"{disk.directory}/serial")
    told = {name: text for name in health if (text := _text(f"{folder}/{name}"))}
    if kind == "scsi":
        told |= _ufs_health(disk)
    return Medium(kind, model, serial or None, cid, disk.size, told, _key(kind, cid, model, serial, disk), filesystem)


def _ufs_health(disk: Device) -> dict[str, str]:
    """What the UFS host above a disk tells; nothing when there is no such host."""
    folder = disk.directory
    for _ in range(_UFS_ABOVE):
        folder = os.path.dirname(folder)
        if os.path.isdir(f"{folder}/health_descriptor"):
            found = {name: _text(f"{folder}/health_descriptor/{name}") for name in _UFS_HEALTH}
            return {name: text for name, text in found.items() if text}
    return {}


def _kind(disk: Device) -> str:
    name = disk.name
    if name.startswith("mmcblk"):
        return "sd" if _text(f"{disk.directory}/device/type") == "SD" else "mmc"
    for start, kind in (("nvme", "nvme"), ("sd", "scsi"), ("vd", "virtio"), ("loop", "loop")):
        if name.startswith(start):
            return kind
    return "other"


def _key(kind: str, cid: str | None, model: str | None, serial: str | None, disk: Device) -> str | None:
    if cid:
        return f"{kind}:{cid}"
    if not model and not serial:
        return None
    return ":".join((kind, model or "", serial or str(disk.size)))


def _vpd_serial(folder: str) -> str:
    try:
        with open(f"{folder}/vpd_pg80", "rb") as file:
            return _clean(file.read(256)[4:])
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 20)
    except (OSError, ValueError):
        return ""
    return data.decode("utf-8", "replace").strip() if b"\n" in data.strip() else _clean(data)


def _clean(data: bytes) -> str:
    """What a device calls itself, without what does not belong into one line."""
    text = data.decode("utf-8", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _plain(name: str) -> str:
    """A name as mountinfo writes it: \\040 is a blank."""
    if "\\" not in name:
        return name
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        name = name.replace(code, letter)
    return name
