"""
A larger boot partition as the first part of an update: `[boot] grow` of a profile (grow.py tells how it is done).

    update          slot b runs, the boot partition has less than `grow`: it grows into slot a. Exit 10
    reboot          the kernel learns of the new table
    update          hupfast-resume.service goes on at boot, or the same command: the image goes to the smaller slot a

It needs the slot right behind the boot partition to be the inactive one; when that one runs, the update goes on
without, and the next one grows. Until the reboot the boot partition is read-only, and no update is let in.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hupfast.blockdev import Device, find_device, number_of
from hupfast.durable import make_directory
from hupfast.errors import HupfastError, Refused
from hupfast.grow import Growth, apply_grow, make_boot, missing_programs, plan_grow, unlike_kernel
from hupfast.hold import on_host
from hupfast.machine import Machine
from hupfast.parttable import read_table
from hupfast.slots import Slot
from hupfast.system import explained, run


@dataclass(frozen=True)
class Enlargement:
    """What is to be done. growth: None when nothing is; warning: why not, although the profile asks for it, or ""."""

    growth: Growth | None = None
    disk: Path = Path()
    warning: str = ""

    @property
    def sentence(self) -> str:
        """For the user, before it is done."""
        if self.growth is None:
            return ""
        old, new = self.growth.old_boot.size, self.growth.new_boot.size
        return f"the boot partition grows from {old} to {new} bytes first, into the slot; then a reboot is needed"


def plan_enlargement(machine: Machine, target: Slot, image_size: int) -> Enlargement:
    """
    Whether the boot partition has to grow for an update into `target`. Changes nothing.

    Raises: Refused when it cannot grow although it must, or has grown and the reboot is missing.
    """
    wanted = machine.board.boot.grow
    if not target.partition:
        return Enlargement()
    try:
        disk = machine.disk(target)
        table = read_table(disk.path)
    except HupfastError:
        if wanted is None:  # a table that is not understood is no reason to refuse an update
            return Enlargement()
        raise
    with explained(f"cannot look at {disk.path}"):
        device = find_device(number_of(disk.path.stat()), str(machine.root))
    boot = _boot_number(machine) if wanted is not None else 1
    ours = {boot, *(slot.partition for slot in machine.board.slots)}
    if device is not None and ours & set(unlike_kernel(table, device)):
        raise Refused(f"the partitions of {disk.path} have changed, and the kernel does not know it yet; reboot first")
    if wanted is None:
        return Enlargement()
    found = table.find(boot)
    if found is not None and found.size >= wanted:
        return Enlargement()
    try:
        growth = plan_grow(disk.path, table, boot, target.partition, wanted, least_slot=image_size)
    except Refused as error:
        return Enlargement(warning=f"the boot partition has less than the {wanted} bytes that it should: {error}")
    if growth is not None and not machine.boot_directory.is_mount():
        raise Refused(f"the boot partition has to grow, and {machine.boot_directory} is not where it is mounted")
    missing = missing_programs()
    if growth is not None and missing:
        raise Refused(
            f"the boot partition has to grow, which needs {', '.join(missing)}; install dosfstools and mtools"
        )
    return Enlargement(growth, disk.path)


def enlarge(machine: Machine, plan: Enlargement) -> None:
    """
    Make the boot partition grow. It is read-only from here on, until the reboot.

    Raises: HupfastError, MediumError, MismatchError, TargetError: the old boot partition is used then, as before.
    """
    assert plan.growth is not None
    make_directory(machine.scratch_directory)
    try:
        _remount(machine, "ro")
        make_boot(plan.growth, plan.disk, machine.scratch_directory, machine.root)
        apply_grow(plan.growth, plan.disk)
    except BaseException:
        # What would be written to the old boot partition once the table is the new one would be lost.
        with suppress(HupfastError):
            if read_table(plan.disk).partitions == plan.growth.table.partitions:
                _remount(machine, "rw")
        raise


def _remount(machine: Machine, mode: str) -> None:
    run(on_host(machine.root, ["mount", "-o", f"remount,{mode}", machine.board.boot.directory]))


def _boot_number(machine: Machine) -> int:
    """The number of the partition that the boot directory is on."""
    device = _device_of(machine)
    with explained(f"cannot look at {device.name}"):
        return int((Path(device.directory) / "partition").read_text())


def _device_of(machine: Machine) -> Device:
    with explained(f"cannot look at {machine.boot_directory}"):
        number = machine.boot_directory.stat().st_dev
    found = find_device(f"{os.major(number)}:{os.minor(number)}", str(machine.root))
    if found is None or found.disk is None:
        raise Refused(f"{machine.boot_directory} is not a partition of its own, so it cannot grow; is it mounted?")
    return found
