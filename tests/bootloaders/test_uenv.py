"""uEnv.txt of BeagleBone and Artik, and balena's pair of files."""

import os
from pathlib import Path

import pytest

from hupfast.bootloaders import BootState
from hupfast.bootloaders.counted import Names
from hupfast.bootloaders.uenv import BalenaUBoot, UEnv
from hupfast.errors import HupfastError
from hupfast.slots import Places

UENV = "# made by the factory\nmmcdev=1\nbootpart=1:2\nuenvcmd=run x; run y\n"


@pytest.fixture
def uenv(tmp_path: Path, places: Places) -> UEnv:
    """A BeagleBone's."""
    (tmp_path / "uEnv.txt").write_text(UENV)
    return UEnv(tmp_path, lambda: places, file="/uEnv.txt", variable="bootpart", spelling="{partition_hex}")


def test_the_partition_is_switched_and_the_device_stays(uenv: UEnv, tmp_path: Path) -> None:
    """In hex, as U-Boot reads it, with a mark in the same file; the rest byte for byte."""
    uenv.switch("b")

    assert (tmp_path / "uEnv.txt").read_text() == UENV.replace("1:2", "1:a") + "hupfast_trial=b\n"
    assert uenv.state() == BootState("a", "b", 1, None)
    uenv.confirm()
    assert (tmp_path / "uEnv.txt").read_text() == UENV.replace("1:2", "1:a")
    assert uenv.state() == BootState("b", None, 0, None)
    uenv.switch("a", trial=False)
    assert (tmp_path / "uEnv.txt").read_text() == UENV
    with pytest.raises(HupfastError, match="no trial"):
        uenv.confirm()


def test_a_number_without_a_device_and_in_decimal(tmp_path: Path, places: Places) -> None:
    """As Artik has it, with a profile that says decimal."""
    (tmp_path / "uEnv.txt").write_text("resin_root_part=2")
    uenv = UEnv(tmp_path, lambda: places, file="/uEnv.txt", variable="resin_root_part", spelling="{partition}")
    uenv.switch("b", trial=False)

    assert (tmp_path / "uEnv.txt").read_text() == "resin_root_part=10"
    assert uenv.state().default == "b"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mmcdev=1\n", "no variable bootpart, so there is nothing to switch"),
        ("# bootpart=1:2\n", "no variable bootpart"),
        ("bootpart=1:7\n", "bootpart=1:7, which is neither"),
        ("bootpart=1:\n", "neither"),
        ("bootpart=1:2\nbootpart=1:3\n", "bootpart twice"),
    ],
)
def test_nothing_to_replace_is_an_error(uenv: UEnv, tmp_path: Path, text: str, reason: str) -> None:
    """Never a success; the file stays."""
    (tmp_path / "uEnv.txt").write_text(text)
    with pytest.raises(HupfastError, match=reason):
        uenv.switch("b")
    assert (tmp_path / "uEnv.txt").read_text() == text


@pytest.fixture
def balena(tmp_path: Path, places: Places) -> BalenaUBoot:
    """balenaOS that runs resin-rootA."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/resinOS_uEnv.txt").write_text("resin_root_part=2\nupgrade_available=0\n")
    names = Names("resin_root_part", "upgrade_available", "bootcount", "hex", 3)
    return BalenaUBoot(tmp_path, lambda: places, names, directory="/boot")


def test_a_balena_switch_makes_the_count_file_beforehand(balena: BalenaUBoot, tmp_path: Path) -> None:
    """U-Boot writes over its 13 bytes and cannot make it; numbers are in hex."""
    balena.switch("b")

    assert (tmp_path / "boot/resinOS_uEnv.txt").read_text() == "resin_root_part=a\nupgrade_available=1\n"
    assert (tmp_path / "boot/bootcount.env").read_bytes() == b"bootcount=0\n\0"
    assert (tmp_path / "boot/bootcount.env").stat().st_size == 0xD
    assert balena.state() == BootState("a", "b", 3, None)


@pytest.mark.parametrize(
    ("count", "state"),
    [(1, BootState("a", "b", 2, None)), (3, BootState("a", "b", 0, None)), (4, BootState("a", None, 0, "b"))],
)
def test_what_u_boot_counts_is_understood(balena: BalenaUBoot, tmp_path: Path, count: int, state: BootState) -> None:
    """The 4th boot goes to the old slot; U-Boot notes nothing but the count."""
    balena.switch("b")
    (tmp_path / "boot/bootcount.env").write_bytes(b"bootcount=%d\n\0" % count)
    assert balena.state() == state


def test_a_balena_confirm_ends_trial_and_count(balena: BalenaUBoot, tmp_path: Path) -> None:
    """As balena's own rollback-stop leaves it."""
    balena.switch("b")
    (tmp_path / "boot/bootcount.env").write_bytes(b"bootcount=1\n\0")
    balena.confirm()

    assert (tmp_path / "boot/resinOS_uEnv.txt").read_text() == "resin_root_part=a\nupgrade_available=0\n"
    assert balena.state() == BootState("b", None, 0, None)


def test_duplicates_of_the_count_file_are_removed(balena: BalenaUBoot, tmp_path: Path) -> None:
    """U-Boot has made them on FAT; the count of the trial must be the one that it reads."""
    (tmp_path / "boot/.bootcount.env.tmp").write_bytes(b"x")
    balena.switch("b")
    assert sorted(os.listdir(tmp_path / "boot")) == ["bootcount.env", "resinOS_uEnv.txt"]


def test_a_cut_between_the_two_files_leaves_the_switch(
    balena: BalenaUBoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count goes first, so half a switch is none."""
    from hupfast.bootloaders import uenv

    real = uenv.replace_file

    def cut(path: Path, data: bytes) -> None:
        if path.name == "resinOS_uEnv.txt":
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(uenv, "replace_file", cut)
    with pytest.raises(KeyboardInterrupt):
        balena.switch("b")
    assert balena.state() == BootState("a", None, 0, None)
