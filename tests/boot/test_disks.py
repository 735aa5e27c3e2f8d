"""Each shipped profile on a disk that is laid out like its board's: real partition table, real FAT, real kernel."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from boot.board import UBOOT, Qemu
from boot.disk import MIB
from boot.packages import run
from boot.test_boards import make_board, pytestmark
from test_profiles import NAMES, lay_out

from hupfast.board import SHIPPED, read_board

pytestmark = [*pytestmark, pytest.mark.slow_boot]

BOOT, SLOT, SMALL = 4, 8, 1
"""Sizes in MiB: of the boot partition, a slot, and of any other partition."""


def make_disk(name: str, disk: Path) -> None:
    """MBR with what does not fit into four partitions in an extended one, or GPT where a slot has a high number."""
    board = read_board(SHIPPED / f"{name}.toml")
    slots = [slot.partition for slot in board.slots]
    is_gpt = max(slots) > 4
    sizes = {number: SLOT if number in slots else SMALL for number in range(1, max(slots) + 1)}
    sizes[1] = BOOT
    starts, start = {}, 1
    for number, size in sizes.items():
        starts[number], start = start, start + size
    lines = [f"label: {'gpt' if is_gpt else 'dos'}"] + ([] if is_gpt else ["label-id: 0x1234abcd"])
    for number, size in sizes.items():
        kind = ("U" if is_gpt else "c") if number == 1 else "L"
        lines.append(f"start={starts[number]}MiB, size={size}MiB, type={kind}")
    if not is_gpt:  # as balenaOS has them: state and data in an extended partition
        lines += [f"start={start}MiB, size=4MiB, type=5", f"start={start + 1}MiB, size=1MiB", f"start={start + 3}MiB"]
    with disk.open("wb") as file:
        file.truncate((start + 6) * MIB)
    subprocess.run(["sfdisk", "-q", str(disk)], input="\n".join(lines) + "\n", text=True, check=True)
    work = disk.with_suffix(".work")
    lay_out(work, board)
    _put(disk, starts[1], _boot(work, board.boot.directory))
    for slot, number in zip(board.slots, slots, strict=True):
        image = work / "slot"
        image.unlink(missing_ok=True)
        with image.open("wb") as file:
            file.truncate(SLOT * MIB)
        run("mkfs.ext4", "-q", "-F", "-L", slot.label or "", image)
        _put(disk, starts[number], image)
    shutil.rmtree(work)


def _boot(work: Path, directory: str) -> Path:
    """A FAT with the bootloader's files; those of a U-Boot environment among them."""
    image = work / "fat"
    with image.open("wb") as file:
        file.truncate(BOOT * MIB)
    run("mkfs.vfat", image)
    for path in (work / directory[1:]).rglob("*"):
        if path.is_file():  # the name that the disk will have is not known yet
            path.write_bytes(path.read_bytes().replace(b"root=/dev/mmcblk0p2", b"root=PARTUUID=1234abcd-02"))
    files = [*(work / directory[1:]).iterdir()] if (work / directory[1:]).is_dir() else []
    for path in (*files, *work.glob("env?")):
        run("mcopy", "-s", "-i", image, path, "::")
    return image


def _put(disk: Path, start: int, image: Path) -> None:
    run("dd", f"if={image}", f"of={disk}", "bs=1M", f"seek={start}", "conv=notrunc,sparse", "status=none")


def _fill(payload: Path) -> None:
    (payload / "laid_out.py").write_text(Path(__file__).with_name("laid_out.py").read_text())


def _tried(machine: Qemu, names: Sequence[str], folder: Path) -> list[str]:
    disks = {}
    for number, name in enumerate(names):
        disks[f"x{number}"] = folder / f"{name}.img"
        make_disk(name, folder / f"{name}.img")
    machine.others = disks
    words = " ".join(f"x{number}={name}" for number, name in enumerate(names))
    console = machine.boot(f"python3 /mnt/laid_out.py {words} 2>&1\n")
    found = re.findall(r"^PROFILE (\S+) ok$", console, re.MULTILINE)
    assert found == list(names), console
    return found


def test_every_profile_on_a_disk_like_its_board(tmp_path: Path) -> None:
    """Its slots are found in the kernel's numbers, and its bootloader's files are changed on a real FAT."""
    machine = make_board(UBOOT, tmp_path, fill=_fill)
    names = [name for name in NAMES if read_board(SHIPPED / f"{name}.toml").bootloader_kind != "efi"]
    tried = [name for at in range(0, len(names), 10) for name in _tried(machine, names[at : at + 10], tmp_path)]
    assert tried == names
