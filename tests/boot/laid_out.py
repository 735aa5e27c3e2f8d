"""
Runs inside a machine that has a disk for each of some profiles: the disk's first slot is made the root of a system
of its own (a chroot that has its own process 1), with the kernel's /sys and /dev; there, the profile's slots are
looked for, and its bootloader is told to try the other slot and to keep it.

Arguments: SERIAL=PROFILE words. Prints `PROFILE name ok` for each.
"""

import subprocess
import sys
from pathlib import Path

from hupfast.board import load_board
from hupfast.bootloaders import BootState
from hupfast.slots import find_places

ROOT = Path("/tmp/root")
SHARED = ("usr", "lib", "lib64", "bin", "sbin", "sys", "dev")


def mount(*words: object) -> None:
    """A mount that must not fail."""
    subprocess.run(["busybox", "mount", *map(str, words)], check=True)


def disk_with(serial: str) -> str:
    """Name of the disk."""
    return next(path.name for path in Path("/sys/block").glob("vd*") if (path / "serial").read_text() == serial)


def run_in(name: str, disk: str) -> None:
    """Put the system together, and go into it."""
    board = load_board(name, Path("/"))
    first = board.slots[0]
    active = f"/dev/{disk}{first.partition}"
    if first.sysroot == "/":
        mount(active, ROOT)
    else:
        mount("-t", "tmpfs", "tmpfs", ROOT)
        (ROOT / first.sysroot[1:]).mkdir(parents=True)
        mount(active, ROOT / first.sysroot[1:])
    for folder in (*SHARED, "proc", "etc", "payload", board.boot.directory[1:]):
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
    for folder in SHARED:
        if Path("/", folder).exists():
            mount("-o", "rbind", f"/{folder}", ROOT / folder)
    mount("-o", "bind", "/mnt", ROOT / "payload")
    mount("-t", "vfat", f"/dev/{disk}1", ROOT / board.boot.directory[1:])
    (ROOT / "etc/fw_env.config").write_text("/boot/env0 0 0x1000\n/boot/env1 0 0x1000\n")
    inside = ["chroot", str(ROOT), "python3", "/payload/laid_out.py", "--inside", name, disk]
    subprocess.run(["unshare", "--pid", "--mount", "--fork", *inside], check=True)
    subprocess.run(["busybox", "umount", "-l", ROOT], check=True)


def try_profile(name: str, disk: str) -> None:
    """Everything that a profile says of a disk, on that disk."""
    mount("-t", "proc", "proc", "/proc")
    root = Path("/")
    board = load_board(name, root)
    first, second = board.slots
    places = find_places(root, board.slots)
    assert places.running == first.name, places
    for slot in board.slots:
        assert places.places[slot.name].device == f"/dev/{disk}{slot.partition}", places
    bootloader = board.bootloader(root)
    assert bootloader.state() == BootState(first.name, None, 0, None), bootloader.state()
    bootloader.switch(second.name)
    assert bootloader.state().next == second.name, bootloader.state()
    bootloader.confirm()
    assert bootloader.state() == BootState(second.name, None, 0, None), bootloader.state()
    print("PROFILE", name, "ok", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        try_profile(*sys.argv[2:])
    else:
        ROOT.mkdir()
        for word in sys.argv[1:]:
            serial, profile = word.split("=")
            run_in(profile, disk_with(serial))
