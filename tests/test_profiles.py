"""Every shipped profile on a board that is laid out like its own: detected, its slots found, switched and confirmed."""

import json
import os
from pathlib import Path

import pytest
from systree import SysTree

from hupfast.board import SHIPPED, Board, load_board, read_board
from hupfast.bootloaders import BootState
from hupfast.detect import Signs
from hupfast.efivars import GLOBAL
from hupfast.grubenv import HEADER
from hupfast.profile import load_profile
from hupfast.uboot_env import serialize

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="device nodes need root")

NAMES = sorted(path.stem for path in SHIPPED.glob("*.toml") if path.stem != "virtual")
HEX = {2: "2", 12: "c", 24: "18"}


def sample(pattern: str) -> str:
    """A text that a pattern of [detect] fits."""
    return pattern.replace("[0-9]", "2").replace("[2-9]", "2").replace("*", "x")


def show_signs(root: Path, signs: Signs) -> None:
    """What the kernel and the system of such a board tell."""
    tree = SysTree(root)
    if signs.device_tree:
        tree.write("proc/device-tree/compatible", f"{sample(signs.device_tree[0])}\0brcm,any\0")
    if signs.dmi:
        tree.write("sys/class/dmi/id/product_name", sample(signs.dmi[0]) + "\n")
    if signs.device_type:
        tree.write("mnt/boot/config.json", json.dumps({"deviceType": sample(signs.device_type[0])}))
    if signs.os_release:
        tree.write("etc/os-release", sample(signs.os_release[0]) + "\n")


def lay_out(root: Path, board: Board) -> None:
    """A card or disk with the partitions of the board, the first slot running, and its bootloader's files."""
    tree = SysTree(root)
    tree.disk("mmcblk0", "179:0")
    for number in range(1, max(slot.partition for slot in board.slots) + 1):
        tree.partition("mmcblk0", f"mmcblk0p{number}", number, f"179:{number}", f"1234abcd-{number:02x}")
    first = board.slots[0]
    tree.mount(f"179:{first.partition}", first.sysroot)
    keys = load_profile(board.path, [SHIPPED / "layouts"]).as_dict()["bootloader"]
    assert isinstance(keys, dict)
    device, root_value = f"/dev/mmcblk0p{first.partition}", f"root=PARTUUID=1234abcd-{first.partition:02x}"
    name = str(keys.get("slot_variable", "resin_root_part"))
    file = str(keys.get("file", ""))
    texts = {
        "cmdline": f"console=tty1 root={device} rootwait\n",
        "grub-cfg": f"menuentry 'x' {{\nlinux /vmlinuz root={device} rootwait\n}}\n",
        "extlinux": f"DEFAULT primary\nLABEL primary\n  LINUX /Image\n  APPEND {root_value} rw\n",
        "uenv-bootpart": f"mmcdev=1\nbootpart=1:{first.partition}\n",
        "uenv-root-part": f"resin_root_part={first.partition}\n",
        "grub": (HEADER + f"{name}={first.partition}\n".encode()).ljust(1024, b"#").decode(),
        "bootenv": (HEADER + b"resin_root_part=A\n").ljust(1024, b"#").decode(),
    }
    kind = board.bootloader_kind
    if kind in texts:
        tree.write(file.lstrip("/"), texts[kind])
    elif kind == "uboot":
        tree.write("etc/fw_env.config", "/env0 0 0x1000\n/env1 0 0x1000\n")
        for number in (0, 1):
            (root / f"env{number}").write_bytes(serialize({name: str(first.partition)}, number, 0x1000))
    else:
        for path, data in SEVERAL[kind](first.partition).items():
            tree.write(path, "")
            (root / path).write_bytes(data)


def _balena(partition: int) -> dict[str, bytes]:
    return {"mnt/boot/resinOS_uEnv.txt": f"resin_root_part={HEX[partition]}\nupgrade_available=0\n".encode()}


def _systemd_boot(partition: int) -> dict[str, bytes]:
    return {f"boot/loader/entries/hup-{slot}.conf": b"sort-key hup\nversion %d\n" % (slot == "a") for slot in "ab"}


def _tryboot(partition: int) -> dict[str, bytes]:
    command_line = f"console=tty1 root=/dev/mmcblk0p{partition} rootwait\n".encode()
    config = b"[pi4]\narm_boost=1\n[all]\nos_prefix=a/\n"
    return {"boot/config.txt": config, "boot/a/cmdline.txt": command_line, "boot/b/cmdline.txt": command_line}


def _efi(partition: int) -> dict[str, bytes]:
    variables = {"BootOrder": b"\1\0\2\0", "BootCurrent": b"\1\0"}
    for number, slot in enumerate("ab", 1):
        description = f"hup-{slot}\0".encode("utf-16-le")
        variables[f"Boot{number:04X}"] = b"\1\0\0\0\4\0" + description + b"\x7f\xff\4\0"
    return {f"sys/firmware/efi/efivars/{name}-{GLOBAL}": b"\7\0\0\0" + data for name, data in variables.items()}


def _extlinux(partition: int) -> dict[str, bytes]:
    text = "DEFAULT hup-a\nLABEL hup-a\n  LINUX /a/Image\nLABEL hup-b\n  LINUX /b/Image\n"
    return {"boot/extlinux/extlinux.conf": text.encode()}


SEVERAL = {
    "extlinux-labels": _extlinux,
    "balena-uboot": _balena,
    "systemd-boot": _systemd_boot,
    "tryboot": _tryboot,
    "efi": _efi,
}
"""Files of the bootloaders that have several, for the partition of the slot that runs."""


@pytest.mark.parametrize("name", NAMES)
def test_a_board_laid_out_like_the_profile(tmp_path: Path, name: str) -> None:
    """Detected by its signs, and one whole way of the bootloader: try the other slot, make it permanent."""
    board = read_board(SHIPPED / f"{name}.toml")
    show_signs(tmp_path, board.signs)
    lay_out(tmp_path, board)
    if any((board.signs.device_tree, board.signs.dmi, board.signs.device_type)):
        assert load_board(None, tmp_path).name == name
    bootloader = load_board(name, tmp_path).bootloader(tmp_path)

    assert bootloader.current() == "a"
    assert bootloader.state() == BootState("a", None, 0, None)
    bootloader.switch("b")
    state = bootloader.state()
    assert (state.default, state.trial, state.next) == ("a", "b", "b")
    bootloader.confirm()
    assert bootloader.state() == BootState("b", None, 0, None)
    bootloader.switch("a", trial=False)
    assert bootloader.state() == BootState("a", None, 0, None)


def test_every_board_of_the_old_tool_is_there() -> None:
    """balenaHUP's six in their first layout, and the families after it."""
    first = {"raspberry-pi", "raspberry-pi2", "raspberrypi3", "intel-nuc", "beaglebone-black", "artik5"}
    later = {"raspberrypi4-64", "raspberrypi5", "generic-amd64", "generic-aarch64", "jetson"}

    assert {f"{name}-balena1" for name in first} | first | later <= set(NAMES)


def test_a_denied_pair_of_model_and_version() -> None:
    """The Raspberry Pi 4 whose EEPROM cannot boot 2.83.10."""
    rules = read_board(SHIPPED / "raspberrypi4-64-balena.toml").deny
    assert any(rule.forbids("Raspberry Pi 4 Model B Rev 1.4", "2.83.10+rev1") for rule in rules)
    assert not any(rule.forbids("Raspberry Pi 4 Model B Rev 1.4", "2.85.2") for rule in rules)
