"""
Where the slots of a board are, and which of them runs.

A slot is a file (virtual board) or a partition of the disk that the running system's root is on. Partitions are
found by what sysfs says: the device number of the mount at "/", the disk that it is a partition of, and that
disk's partition with the number of the slot. A name is never put together from digits, and a label is never
searched for, so another disk with the same labels is never taken for this one.

    /proc/1/mountinfo        the mount at "/" -> 179:2
    /sys/dev/block/179:2 ->  .../mmcblk0/mmcblk0p2      partition (2), uevent (DEVNAME, PARTUUID, PARTNAME)
    .../dm-0/dm/uuid         "CRYPT-VERITY-...": a mapping that shows the partition as it is, followed to its
    .../dm-0/slaves/         device; through every other mapping (LUKS, LVM) the slots hold something else
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hupfast.blockdev import mounted_at, number_of
from hupfast.errors import Refused
from hupfast.system import find_program, read_small, run, under


@dataclass(frozen=True)
class Slot:
    """
    One of the two places for a system, as the profile has it.

    file: path from the system root, or "". partition: its number on the disk of the running system, or 0.
    boot_prefix: its directory on the boot partition with "/" at the end; "" when both slots share their boot
    files. label: for its filesystem, "" to leave it as the image has it. sysroot: where its filesystem is mounted
    while it runs; not "/" where the root is an overlay over it.
    """

    name: str
    file: str
    partition: int
    boot_prefix: str
    label: str
    sysroot: str = "/"


@dataclass(frozen=True)
class Place:
    """A slot that was found. device: "/dev/mmcblk0p2"; partuuid: "" when it is not known."""

    slot: str
    device: str
    partition: int
    partuuid: str = ""
    label: str = ""


@dataclass(frozen=True)
class Places:
    """The slots of the running board. running: name of the one that runs; places: by the slots' names."""

    running: str
    places: Mapping[str, Place]

    def other(self, name: str) -> str:
        """The slot that is not `name`."""
        return next(slot for slot in self.places if slot != name)

    def spell(self, template: str, name: str) -> str:
        """
        The template with {device}, {label}, {partuuid}, {partition} (decimal) and {partition_hex} of a slot.

        Raises: Refused when the template asks for what the slot does not have.
        """
        place = self.places[name]
        values = {
            "{device}": place.device,
            "{label}": place.label,
            "{partuuid}": place.partuuid,
            "{partition_hex}": f"{place.partition:x}",
            "{partition}": str(place.partition),
        }
        for key, value in values.items():
            if key in template and not value:
                raise Refused(f"the bootloader needs {key} of slot {name} ({place.device}), which is not known")
            template = template.replace(key, value)
        return template

    def slot_of(self, value: str) -> str | None:
        """The slot that a `root=` value means (/dev/..., LABEL=, PARTUUID=), or None when it means neither."""
        kind, _, rest = value.partition("=")
        for name, place in self.places.items():
            if (
                value == place.device
                or (kind == "LABEL" and place.label == rest != "")
                or (kind == "PARTUUID" and place.partuuid.casefold() == rest.casefold() != "")
            ):
                return name
        return None


def find_places(root: Path, slots: Sequence[Slot]) -> Places:
    """
    Where the slots of a board are and which one runs. Raises: Refused when it is not beyond doubt.
    """
    sysroot = slots[0].sysroot
    number = mounted_at(sysroot, str(root))
    if number is None:
        raise Refused(
            "cannot tell which slot is running: no block device is mounted at"
            f" {sysroot} in {under(root, '/proc/1/mountinfo')}"
        )
    directory = _partition(root, _sysfs(root, number))
    partition = int(_text(directory / "partition"))
    running = [slot.name for slot in slots if slot.partition == partition]
    if len(running) != 1:
        wanted = ", ".join(f"{slot.name} = partition {slot.partition}" for slot in slots)
        raise Refused(
            f"cannot tell which slot is running: the root is partition {partition} of {directory.parent.name},"
            f" and the slots are {wanted}; is it the right profile?"
        )
    return Places(running[0], {slot.name: _place(root, directory, slot) for slot in slots})


def _sysfs(root: Path, number: str) -> Path:
    path = under(root, f"/sys/dev/block/{number}")
    if not (path / "dev").is_file():
        raise Refused(
            f"cannot tell which slot is running: the root is on the device {number}, which is not in {path.parent}"
        )
    return Path(os.path.realpath(path))


def _partition(root: Path, directory: Path) -> Path:
    """The partition that the root is, also below dm-verity."""
    if _text(directory / "dm/uuid").startswith("CRYPT-VERITY-"):
        slaves = [_text(slave / "dev") for slave in sorted((directory / "slaves").iterdir())]
        below = [_sysfs(root, number) for number in slaves]  # data and hash tree, which may be on one device
        directory = below[0] if len(below) == 1 else directory
    if not (directory / "partition").is_file():
        kind = _text(directory / "dm/uuid").partition("-")[0]
        what = f"{directory.name}, a mapping ({kind})" if kind else f"{directory.name}, which is no partition"
        raise Refused(
            f"cannot tell which slot is running: the root is on {what}; hupfast writes plain partitions only,"
            " and an image in one would not be what the board boots"
        )
    return directory


def _place(root: Path, running: Path, slot: Slot) -> Place:
    """The partition with the slot's number on the disk of the running one."""
    disk = running.parent
    same = [
        entry
        for entry in sorted(disk.iterdir())
        if (entry / "partition").is_file() and int(_text(entry / "partition")) == slot.partition
    ]
    if len(same) != 1:
        what = f"has no partition {slot.partition}" if not same else f"has {len(same)} partitions {slot.partition}"
        raise Refused(f"slot {slot.name} cannot be found: the disk {disk.name} {what}; is it the right profile?")
    facts = dict(line.split("=", 1) for line in _text(same[0] / "uevent").splitlines() if "=" in line)
    device = f"/dev/{facts.get('DEVNAME', same[0].name.replace('!', '/'))}"
    node, number = under(root, device), _text(same[0] / "dev")
    if not node.is_block_device() or number_of(node.stat()) != number:
        raise Refused(f"slot {slot.name} cannot be found: {node} is not the block device {number} of {same[0].name}")
    return Place(slot.name, device, slot.partition, facts.get("PARTUUID") or _partuuid(root, number, node), slot.label)


def _partuuid(root: Path, number: str, node: Path) -> str:
    """What udev has noted of the partition table, or what blkid reads in it; "" when neither tells."""
    for line in (read_small(under(root, f"/run/udev/data/b{number}")) or b"").decode("utf-8", "replace").splitlines():
        if line.startswith("E:ID_PART_ENTRY_UUID="):
            return line.partition("=")[2]
    if find_program("blkid") is None:
        return ""
    found = run(["blkid", "-p", "-o", "value", "-s", "PART_ENTRY_UUID", str(node)], check=False)
    return found.output.strip() if found.status == 0 else ""


def _text(path: Path) -> str:
    return (read_small(path) or b"").decode("utf-8", "replace").strip()
