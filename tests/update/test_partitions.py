"""A whole update of a board whose slots are partitions: real loop devices, GRUB's block, the intel-nuc profile."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from systree import SysTree

from hupfast import grubenv
from hupfast.confirm import confirm
from hupfast.errors import Refused, RolledBack
from hupfast.ext4 import Ext4
from hupfast.filesystem import is_clean
from hupfast.status import status
from hupfast.transaction import UpdateResult, update

Shelf = Any
SLOT_SIZE = 3 << 20


class Machine:
    """A NUC with 1.0 in partition 2, running; `boots` is what its firmware and GRUB would do."""

    def __init__(self, root: Path, shelf: Shelf, loops: dict[int, str]) -> None:
        self.root, self.shelf = root, shelf
        self.tree = SysTree(root)
        self.numbers = {}
        self.tree.disk("sda", "8:0")
        self.tree.write("sys/class/dmi/id/product_name", "NUC7i3BNH\n")
        self.tree.write("proc/swaps", "Filename\n")
        for partition, loop in loops.items():
            status_ = os.stat(loop)
            number = f"{os.major(status_.st_rdev)}:{os.minor(status_.st_rdev)}"
            self.numbers[partition] = number
            self.tree.partition("sda", f"sda{partition}", partition, number, size=SLOT_SIZE)
        self.boots(2, "first")

    def boots(self, partition: int, boot_id: str) -> None:
        """The kernel comes up with that root; its own files are those of the slot."""
        (self.root / "proc/1/mountinfo").unlink(missing_ok=True)
        self.tree.mount(self.numbers[partition], source=f"/dev/sda{partition}")
        self.tree.write("proc/sys/kernel/random/boot_id", boot_id + "\n")
        release = Ext4(self.root / f"dev/sda{partition}").read("/etc/os-release", self.root / "scratch")
        self.tree.write("etc/os-release", release.decode())

    def variables(self) -> dict[str, str]:
        """What GRUB reads."""
        return grubenv.parse((self.root / "boot/grub/grubenv").read_bytes())

    def update(self, version: str) -> UpdateResult:
        """`hupfast update --root ROOT --allow-unsigned`."""
        return update(self.shelf.bundle(version, board="intel-nuc"), root=self.root, allow_unsigned=True)


@pytest.fixture
def machine(tmp_path: Path, shelf: Shelf) -> Iterator[Machine]:
    """Two slots on loop devices; boot and state on filesystems of their own."""
    if os.geteuid() != 0:
        pytest.skip("loop devices and mounts need root")
    root = tmp_path / "root"
    loops: dict[int, str] = {}
    mounts = []
    try:
        for partition in (2, 3):
            backing = tmp_path / f"slot{partition}"
            if partition == 2:
                shutil.copy(shelf.image("1.0"), backing)
            with backing.open("ab") as file:
                file.truncate(SLOT_SIZE)
            command = ["losetup", "--find", "--show", str(backing)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no loop device here: {done.stderr.strip()}")
            loops[partition] = done.stdout.strip()
        for name in ("boot", "data"):
            (root / name).mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", root / name], check=True)
            mounts.append(root / name)
        (root / "boot/grub").mkdir()
        block = (grubenv.HEADER + b"hup_root_part=2\n").ljust(1024, b"#")
        (root / "boot/grub/grubenv").write_bytes(block)
        (root / "etc").mkdir()
        (root / "etc/hostname").write_text("the board's own name\n")
        yield Machine(root, shelf, loops)
    finally:
        for mount in mounts:
            subprocess.run(["umount", mount], check=True)
        for loop in loops.values():
            subprocess.run(["losetup", "--detach", loop], check=True)


def test_an_update_is_tried_and_confirmed(machine: Machine) -> None:
    """The board is detected, partition 3 holds the new system with label and kept files, and GRUB tries it."""
    result = machine.update("2.0")

    assert (result.outcome, result.slot) == ("installed", "b")
    assert machine.variables() == {"hup_root_part": "3", "upgrade_available": "1", "bootcount": "0"}
    new = Ext4(machine.root / "dev/sda3")
    assert new.label() == "hup-root-b"
    assert new.read("/etc/hostname", machine.root / "scratch") == b"the board's own name\n"
    assert is_clean(machine.root / "dev/sda3")
    assert (machine.root / "boot/b/kernel").is_file()

    machine.boots(3, "second")
    with pytest.MonkeyPatch.context() as patch:  # this machine has no systemd that could be asked
        fake = machine.root / "fake"
        fake.mkdir()
        (fake / "systemctl").write_text("#!/bin/sh\n")
        (fake / "systemctl").chmod(0o755)
        patch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
        assert confirm(root=machine.root).outcome == "confirmed"
    assert machine.variables()["upgrade_available"] == "0"
    assert status(root=machine.root).running == "b"


def test_a_trial_that_is_never_confirmed_falls_back(machine: Machine) -> None:
    """GRUB has counted above the limit and booted the old slot: `confirm` ends in 8, and status tells why."""
    machine.update("2.0")
    block = (machine.root / "boot/grub/grubenv").read_bytes()
    (machine.root / "boot/grub/grubenv").write_bytes(grubenv.change(block, {"bootcount": "2"}))
    machine.boots(2, "third")

    with pytest.raises(RolledBack, match=r"slot b was tried and not confirmed"):
        confirm(root=machine.root)
    last = status(root=machine.root).last
    assert last is not None
    assert (last.result, last.version) == ("fell back", "2.0")
    assert machine.update("3.0").outcome == "installed"


@pytest.mark.parametrize("name", ["boot", "data"])
def test_boot_files_and_journal_in_a_slot_are_refused(machine: Machine, name: str) -> None:
    """Without its own filesystem mounted, the directory belongs to the system that will be overwritten some day."""
    grub = (machine.root / "boot/grub/grubenv").read_bytes()
    subprocess.run(["umount", machine.root / name], check=True)
    try:
        (machine.root / "boot/grub").mkdir(exist_ok=True)
        (machine.root / "boot/grub/grubenv").write_bytes(grub)
        with pytest.raises(Refused, match=rf"directory {machine.root}/{name}\S* is part of the running slot"):
            machine.update("2.0")
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", machine.root / name], check=True)


def test_a_mounted_target_is_refused(machine: Machine) -> None:
    """Exit 4, with the place where it is mounted."""
    machine.tree.mount(machine.numbers[3], "/mnt/other", source="/dev/sda3")
    with pytest.raises(Refused, match="mounted on /mnt/other"):
        machine.update("2.0")


def test_a_denied_version_is_refused(machine: Machine) -> None:
    """A [[deny]] rule of a local profile, by model and version."""
    rule = '[[deny]]\nmodel = "NUC7*"\nversion = "2.*"\nreason = "it is known to hang"\n'
    from hupfast.board import SHIPPED

    text = (SHIPPED / "intel-nuc.toml").read_text()
    machine.tree.write("etc/hupfast/boards/intel-nuc.toml", text + "\n" + rule)
    with pytest.raises(Refused, match="must not be installed on NUC7i3BNH: it is known to hang"):
        machine.update("2.0")
    assert machine.update("3.0").outcome == "installed"
