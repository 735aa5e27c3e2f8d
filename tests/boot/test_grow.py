"""A boot partition that is too small grows as the first part of an update, on a board that nobody attends to."""

import json
import random
import re
from pathlib import Path

import pytest
from boot.board import UBOOT, Qemu
from boot.disk import BOOT_SIZE, DATA_SIZE, MIB, SLOT_SIZE
from boot.packages import run
from boot.test_boards import booted, document, make_board, pytestmark
from boot.writelog import cuts, read_log

pytestmark = [*pytestmark, pytest.mark.slow_boot]

WANTED = BOOT_SIZE + 8
SIZES = (BOOT_SIZE, SLOT_SIZE + WANTED + 1, SLOT_SIZE, DATA_SIZE * 2)
GROWS = f"""
mkdir /tmp/boards; cp /etc/hupfast/boards/qemu-uboot.toml /tmp/boards
printf '[boot]\\ngrow = "{WANTED}M"\\n' >> /tmp/boards/qemu-uboot.toml
mount --bind /tmp/boards /etc/hupfast/boards
"""


def partitions(disk: Path) -> list[tuple[int, int]]:
    """Start and size of each in MiB, by sfdisk."""
    table = json.loads(run("sfdisk", "-J", disk))["partitiontable"]["partitions"]
    return [(part["start"] * 512 // MIB, part["size"] * 512 // MIB) for part in table]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Qemu:
    """One whose slot b runs 2.0, confirmed."""
    machine = make_board(UBOOT, tmp_path_factory.mktemp("grow"), sizes=SIZES)
    machine.boot("hupfast update /mnt/2.0.hup --allow-unsigned -q\n")
    assert booted(machine.boot("hupfast confirm\n")) == ("/dev/vda3", "2.0")
    return machine


def copy_of(board: Qemu, disk: Path) -> Qemu:
    """The same board with a disk of its own."""
    run("cp", "--sparse=always", board.disk, disk)
    return Qemu(board.board, disk, board.payload, board.uboot)


def test_the_boot_partition_grows_and_the_update_goes_on(board: Qemu, tmp_path: Path) -> None:
    """Grown, rebooted, gone on with by `--resume`: nobody has to know. Until the reboot no update is let in."""
    machine = copy_of(board, tmp_path / "disk.img")
    before = partitions(machine.disk)
    update = "hupfast update /mnt/3.0.hup --allow-unsigned -q --json\n"
    console = machine.boot(GROWS + update + update)
    assert re.findall("EXIT ([0-9]+)", console) == ["10", "4"], console
    assert "reboot first" in console

    after = partitions(machine.disk)
    assert after[0] == (before[1][0], WANTED)
    assert after[1] == (before[1][0] + WANTED, before[1][1] - WANTED)
    assert after[2:] == before[2:]

    console = machine.boot(GROWS + "df -k /boot | tail -1\nhupfast update --resume -q --json\n")
    assert booted(console) == ("/dev/vda3", "2.0")
    assert "EXIT 10" in console, console
    assert document(console)["outcome"] == "installed"
    assert booted(machine.boot("hupfast confirm\n")) == ("/dev/vda2", "3.0")


def test_every_sampled_cut_while_it_grows_boots(board: Qemu, tmp_path: Path) -> None:
    """The board comes up with the old boot partition or the new one; the same update then ends."""
    recorded = copy_of(board, tmp_path / "recorded.img")
    recorded.log = tmp_path / "log"
    update = GROWS + "hupfast update /mnt/3.0.hup --allow-unsigned -q --json\n"
    assert "EXIT 10" in recorded.boot(update)
    writes = read_log(recorded.log)
    chosen = random.Random(1).sample(list(cuts(writes, samples=1, seed=1)), 6)
    chosen += list(cuts(writes, samples=1, seed=1, first=len(writes) - 12))[::6]
    seen = set()
    for cut in chosen:
        machine = copy_of(board, tmp_path / "cut.img")
        with machine.disk.open("r+b") as file:
            for write in (*writes[: cut.flushed], *cut.pieces):
                file.seek(write.sector * 512)
                file.write(write.data)
        seen.add(partitions(machine.disk)[0])
        console = machine.boot(update)
        assert booted(console) == ("/dev/vda3", "2.0"), (cut.name, console)
        assert "EXIT 10" in console, (cut.name, console)
    assert len(seen) == 2, seen
