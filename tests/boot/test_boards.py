"""Real firmware, real bootloaders, a real kernel: updates from slot to slot, confirmed and not."""

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from boot.board import EFI, GRUB, SYSTEMD_BOOT, UBOOT, Board, Qemu
from boot.disk import SIZES, SLOT_SIZE, Put, boot_partition, make_disk, make_filesystem
from boot.guest import PROFILES
from boot.packages import run
from boot.rootfs import ARM64, build, install_hupfast
from boot.uboot import build_uboot

from conftest import sanitized
from hupfast.bundling import create_bundle
from hupfast.image import pack
from hupfast.system import find_program

TOOLS = (
    "qemu-system-x86_64",
    "qemu-system-aarch64",
    "aarch64-linux-gnu-gcc",
    "bison",
    "flex",
    "mkenvimage",
    "grub-mkstandalone",
    "grub-editenv",
    "mcopy",
    "mkfs.vfat",
    "sfdisk",
    "cpio",
    "depmod",
    "apt-get",
)


def has_tools() -> bool:
    """Whether this machine can boot boards, and make their systems of its own packages."""
    return os.uname().machine == "x86_64" and all(map(find_program, TOOLS))


CACHE = Path(__file__).parents[2] / "build/boot"

pytestmark = [
    pytest.mark.skipif(sanitized(), reason="the engine in the guest would need the sanitizer's libraries"),
    pytest.mark.skipif(not has_tools(), reason=f"needs {', '.join(TOOLS)}: `make boot-test` installs them"),
]


BLOB = b"a bootloader, or what stands for one" * 1000
"""It goes to two places outside of the partitions, which nothing boots from."""


def _pack(source: Path, out: Path) -> None:
    pack(source, out, level=3, chunk_size=1 << 20)


def make_board(
    board: Board,
    folder: Path,
    put: Put | None = None,
    fill: Callable[[Path], None] = lambda folder: None,
    sizes: Sequence[int] = SIZES,
) -> Qemu:
    """
    A board that runs 1.0, with bundles of 2.0 and 3.0 at hand. put: what goes onto its boot partition instead of the
    bootloader's files alone; fill: puts more files where the guest sees them, at /mnt; sizes: of the partitions.
    """
    cache = CACHE / board.target.debian
    build(board.target, cache)
    install_hupfast(board.target, cache)
    boot = folder / "boot"
    boot.mkdir()
    files = {"vmlinuz": cache / "vmlinuz", "initrd": cache / "initrd"}
    for name, path in files.items():
        shutil.copy(path, boot / name)
    payload = folder / "payload"
    payload.mkdir()
    for version in ("1.0", "2.0", "3.0"):
        (cache / "tree/etc/os-release").unlink(missing_ok=True)
        (cache / "tree/etc/os-release").write_text(f'ID=os\nVERSION_ID="{version}"\n')
        image = folder / f"{version}.img"
        make_filesystem(cache / "tree", image, SLOT_SIZE)
        if version != "1.0":
            bundle = payload / f"{version}.hup"
            blob = folder / "blob"
            blob.write_bytes(BLOB)
            raw = {"blob": blob}
            create_bundle(
                bundle, name="os", version=version, boards=list(PROFILES), image=image, boot=boot, raw=raw, pack=_pack
            )
    make_disk(folder / "disk.img", folder / "1.0.img", files, put or board.put_loader, sizes)
    fill(payload)
    size = sum(path.stat().st_size for path in payload.iterdir()) // (1 << 20) + 32
    make_filesystem(payload, folder / "payload.img", size)
    uboot = build_uboot(CACHE / "u-boot") if board.target is ARM64 else None
    return Qemu(board, folder / "disk.img", folder / "payload.img", uboot)


BOARDS = [UBOOT, *(pytest.param(board, marks=pytest.mark.slow_boot) for board in (GRUB, SYSTEMD_BOOT, EFI))]


@pytest.fixture(params=BOARDS, ids=["u-boot", "grub", "systemd-boot", "efi"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Qemu:
    """`make test` has the fastest board, `make boot-test` all."""
    return make_board(request.param, tmp_path)


def booted(console: str) -> tuple[str, str]:
    """Partition and version that came up."""
    found = re.search(r"BOOTED root=(\S+) version (\S+)", console)
    assert found, console
    assert "GUEST-END" in console, console
    return found[1], found[2]


def document(console: str) -> Any:
    """The last JSON document that a command printed."""
    starts = [match.start() for match in re.finditer(r"^\{", console, re.MULTILINE)]
    return json.JSONDecoder().raw_decode(console[starts[-1] :])[0]


def test_updates_on_a_real_board(machine: Qemu) -> None:
    """
    1.0 -> 2.0 from A to B, confirmed; 2.0 -> 3.0 from B to A, never confirmed: all tries, then back on B with the
    reason in `status`; and the file systems are whole.
    """
    if machine.board.factory:
        machine.boot(machine.board.factory)
    console = machine.boot("hupfast update /mnt/2.0.hup --allow-unsigned -q --json\n")
    assert booted(console) == ("/dev/vda2", "1.0")
    assert "EXIT 10" in console, console
    assert document(console)["slot"] == "b"

    console = machine.boot("hupfast confirm --json\n")
    assert booted(console) == ("/dev/vda3", "2.0")
    assert document(console)["outcome"] == "confirmed"

    console = machine.boot("hupfast update /mnt/3.0.hup --allow-unsigned -q --json\n")
    assert booted(console) == ("/dev/vda3", "2.0")
    assert document(console)["slot"] == "a"
    for _ in range(machine.board.tries):
        assert booted(machine.boot("")) == ("/dev/vda2", "3.0")

    console = machine.boot("hupfast confirm; hupfast status --json\n")
    assert booted(console) == ("/dev/vda3", "2.0")
    assert "EXIT 8" in console, console
    status = document(console)
    assert (status["running"], status["last"]["result"], status["last"]["version"]) == ("b", "fell back", "3.0")

    with machine.disk.open("rb") as disk:
        for offset in (1 << 20, 2 << 20):
            disk.seek(offset)
            assert disk.read(len(BLOB)) == BLOB
    run("fsck.fat", "-n", boot_partition(machine.disk, machine.disk.with_suffix(".fat")))


HANGS = """
mkdir /tmp/boards; cp /etc/hupfast/boards/qemu-uboot.toml /tmp/boards
cat >> /tmp/boards/qemu-uboot.toml <<END
[reboot]
command = ["true"]
force = ["true"]
force_after = 1
kernel_after = 1
END
mount --bind /tmp/boards /etc/hupfast/boards
hupfast update /mnt/2.0.hup --allow-unsigned -q --reboot
sleep 100
echo STILL-UP
"""


@pytest.mark.slow_boot
def test_a_reboot_that_hangs_is_left_to_the_kernel(tmp_path: Path) -> None:
    """Neither the reboot nor the forced one does anything: the kernel resets, and the new system comes up."""
    machine = make_board(UBOOT, tmp_path)
    console = machine.boot(HANGS)
    assert "EXIT 0" in console, console
    assert "STILL-UP" not in console, console
    assert booted(machine.boot("hupfast confirm\n")) == ("/dev/vda3", "2.0")
