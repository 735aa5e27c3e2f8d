"""Power cuts in a whole update, and then the board is switched on again: it boots, and the update can be repeated."""

import os
import random
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boot.board import UBOOT, Qemu
from boot.disk import BOOT_START, MIB
from boot.packages import run
from boot.test_boards import booted, make_board, pytestmark
from boot.writelog import Cut, Write, cuts, read_log

pytestmark = [*pytestmark, pytest.mark.slow_boot]

UPDATE = "hupfast update /mnt/2.0.hup --allow-unsigned -q --json\n"
OLD, NEW = ("/dev/vda2", "1.0"), ("/dev/vda3", "2.0")
SAMPLE = 60
KILLS = 30


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Qemu:
    """A board that runs 1.0, with a bundle of 2.0."""
    return make_board(UBOOT, tmp_path_factory.mktemp("board"))


def copy_of(board: Qemu, disk: Path) -> Qemu:
    """The same board with a disk of its own."""
    run("cp", "--sparse=always", board.disk, disk)
    return Qemu(board.board, disk, board.payload, board.uboot)


def test_every_sampled_cut_boots_the_old_or_the_new(board: Qemu, tmp_path: Path) -> None:
    """
    Of a recorded update, cuts at and after the first boot file, with all, none or a part of what was not flushed. What
    comes up is whole, and knows where it stands.
    """
    recorded = copy_of(board, tmp_path / "recorded.img")
    recorded.log = tmp_path / "log"
    assert "EXIT 10" in recorded.boot(UPDATE)
    writes = read_log(recorded.log)
    first = next(number for number, write in enumerate(writes) if _is_boot(write))
    chosen = random.Random(1).sample(list(cuts(writes, samples=2, seed=1, first=first)), SAMPLE)

    def boot(cut: Cut) -> tuple[str, tuple[str, str]]:
        machine = copy_of(board, tmp_path / f"{cut.name.replace(' ', '-')}.img")
        _cut(machine.disk, writes, cut)
        console = machine.boot("hupfast status --json\n")
        found = booted(console)
        assert "EXIT 0" in console, (cut.name, console)
        _check_slot(machine.disk, found)
        machine.disk.unlink()
        return cut.name, found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(boot, chosen))
    assert {found for _, found in results} == {OLD, NEW}, results


def test_an_update_that_is_killed_is_done_by_the_same_command(board: Qemu, tmp_path: Path) -> None:
    """The machine is killed at a random moment of an update, 30 times. It boots, and the same command brings 2.0."""
    choice = random.Random(os.environ.get("HUPFAST_SEED", "1"))
    length = _duration(copy_of(board, tmp_path / "whole.img"))
    moments = [choice.uniform(0, length) for _ in range(KILLS)]

    def kill(number: int) -> tuple[str, str]:
        machine = copy_of(board, tmp_path / f"{number}.img")
        _run_until(machine, moments[number])
        console = machine.boot(UPDATE)
        found = booted(console)
        if found == OLD:
            assert "EXIT 10" in console, (moments[number], console)
            assert booted(machine.boot("hupfast confirm\n")) == NEW
        else:
            assert found == NEW, (moments[number], console)
            assert re.search("EXIT [03]", console), (moments[number], console)
        machine.disk.unlink()
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(kill, range(KILLS)))
    assert OLD in results


def _is_boot(write: Write) -> bool:
    return BOOT_START * MIB <= write.sector * 512 < (BOOT_START + 1) * MIB and bool(write.data)


def _cut(disk: Path, writes: list[Write], cut: Cut) -> None:
    with disk.open("r+b") as file:
        for write in (*writes[: cut.flushed], *cut.pieces):
            file.seek(write.sector * 512)
            file.write(write.data)


def _check_slot(disk: Path, found: tuple[str, str]) -> None:
    """The root that came up is a whole file system."""
    number = int(found[0][-1])
    table = run("sfdisk", "-d", disk)
    start, size = re.findall(r"start=\s*(\d+), size=\s*(\d+)", table)[number - 1]
    image = disk.with_suffix(".slot")
    run("dd", f"if={disk}", f"of={image}", "bs=512", f"skip={start}", f"count={size}", "conv=sparse", "status=none")
    run("e2fsck", "-fn", image)
    image.unlink()


def _start(machine: Qemu) -> "subprocess.Popen[bytes]":
    command = machine.command(UPDATE)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(b"BOOTED"):
            return process
    raise AssertionError("the board did not come up")


def _duration(machine: Qemu) -> float:
    process = _start(machine)
    start = time.monotonic()
    output, _ = process.communicate(timeout=180)
    assert b"EXIT 10" in output, output
    return time.monotonic() - start


def _run_until(machine: Qemu, seconds: float) -> None:
    process = _start(machine)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
