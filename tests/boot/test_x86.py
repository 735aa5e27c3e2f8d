"""Real firmware, real bootloaders, a real kernel: updates from slot to slot, confirmed and not."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from boot.board import SLOT_SIZE, Qemu, make_disk, make_filesystem
from boot.rootfs import PROFILES, build, install_hupfast, run

from conftest import sanitized
from hupfast.bundling import create_bundle
from hupfast.image import pack
from hupfast.system import find_program

TOOLS = (
    "qemu-system-x86_64",
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


CACHE = Path(__file__).parents[2] / "build/boot/x86-64"

pytestmark = [
    pytest.mark.skipif(sanitized(), reason="the engine in the guest would need the sanitizer's libraries"),
    pytest.mark.skipif(not has_tools(), reason=f"needs {', '.join(TOOLS)}: `make boot-test` installs them"),
]


def _pack(source: Path, out: Path) -> None:
    pack(source, out, level=3, chunk_size=1 << 20)


@pytest.fixture(params=["grub", pytest.param("systemd-boot", marks=pytest.mark.slow_boot)])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Qemu:
    """A board that runs 1.0, with bundles of 2.0 and 3.0 at hand. `make test` has the first, `make boot-test` all."""
    folder = tmp_path
    build(CACHE)
    install_hupfast(CACHE / "tree")
    boot = folder / "boot"
    boot.mkdir()
    files = {"vmlinuz": CACHE / "vmlinuz", "initrd": CACHE / "initrd"}
    for name, path in files.items():
        shutil.copy(path, boot / name)
    payload = folder / "payload"
    payload.mkdir()
    for version in ("1.0", "2.0", "3.0"):
        (CACHE / "tree/etc/os-release").unlink(missing_ok=True)
        (CACHE / "tree/etc/os-release").write_text(f'ID=os\nVERSION_ID="{version}"\n')
        image = folder / f"{version}.img"
        make_filesystem(CACHE / "tree", image, SLOT_SIZE)
        if version != "1.0":
            bundle = payload / f"{version}.hup"
            create_bundle(bundle, name="os", version=version, boards=list(PROFILES), image=image, boot=boot, pack=_pack)
    make_disk(folder / "disk.img", folder / "1.0.img", files, request.param)
    size = sum(path.stat().st_size for path in payload.iterdir()) // (1 << 20) + 32
    make_filesystem(payload, folder / "payload.img", size)
    return Qemu(folder / "disk.img", folder / "payload.img")


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
    1.0 -> 2.0 from A to B, confirmed; 2.0 -> 3.0 from B to A, never confirmed: two tries, then back on B with the
    reason in `status`; and the file systems are whole.
    """
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
    for _ in range(2):
        assert booted(machine.boot("")) == ("/dev/vda2", "3.0")

    console = machine.boot("hupfast confirm; hupfast status --json\n")
    assert booted(console) == ("/dev/vda3", "2.0")
    assert "EXIT 8" in console, console
    status = document(console)
    assert (status["running"], status["last"]["result"], status["last"]["version"]) == ("b", "fell back", "3.0")

    fat = machine.disk.with_suffix(".fat")
    run("dd", f"if={machine.disk}", f"of={fat}", "bs=1M", "skip=4", "count=96", "status=none")
    run("fsck.fat", "-n", fat)
