"""The virtual board's firmware is as plain and as strict as a bootloader."""

import os
from pathlib import Path
from typing import Any

import pytest

from hupfast import virtual
from hupfast.errors import HupfastError, Refused, UsageError

Board = Any


def env(board: Board, text: str | None = None) -> str:
    """Read or write the bootloader file."""
    path: Path = board.root / "boot/bootloader.env"
    if text is not None:
        path.write_text(text)
    return path.read_text()


def test_it_counts_before_it_boots(board: Board) -> None:
    """A power cut during a boot has cost a try."""
    board.update("2.0")
    assert env(board) == "default=a\ntrial=b\ntries=3\n"
    board.boot()
    assert env(board) == "default=a\ntrial=b\ntries=2\n"


def test_it_goes_back_when_the_tries_are_used_up(board: Board) -> None:
    """And notes what has failed."""
    board.update("2.0")
    env(board, "default=a\ntrial=b\ntries=0\n")
    booted = board.boot()

    assert booted.slot == "a"
    assert booted.attempts == ("slot b has used up its tries", "slot a boots")
    assert env(board) == "default=a\nfailed=b\n"


@pytest.mark.parametrize("missing", ["kernel", "empty kernel", "filesystem", "short slot"])
def test_a_slot_that_is_not_whole_does_not_boot(board: Board, missing: str) -> None:
    """Each try fails, and then the default boots: all in one power cycle, as with a watchdog."""
    board.update("2.0")
    kernel, slot = board.root / "boot/b/kernel", board.slot("b")
    if missing == "kernel":
        kernel.unlink()
    elif missing == "empty kernel":
        kernel.write_bytes(b"")
    elif missing == "filesystem":
        slot.write_bytes(bytes(slot.stat().st_size))
    else:
        os.truncate(slot, 1 << 20)
    booted = board.boot()

    assert booted.slot == "a"
    assert len(booted.attempts) == 5
    assert board.status().situation == "fell back"


def test_a_board_that_cannot_boot_says_so(board: Board) -> None:
    """It is the error that must never happen."""
    (board.root / "boot/a/kernel").unlink()
    with pytest.raises(HupfastError, match="does not boot any more"):
        board.boot()


def test_each_boot_has_its_own_id_and_command_line(board: Board) -> None:
    """As on a real board."""
    first = (board.root / "proc/sys/kernel/random/boot_id").read_text()
    board.boot()

    assert (board.root / "proc/sys/kernel/random/boot_id").read_text() != first
    assert "hupfast.slot=a" in (board.root / "proc/cmdline").read_text()


def test_a_power_cycle_from_the_shell(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    """python -m hupfast.virtual boot FOLDER tells each attempt; wrong use ends in 2."""
    assert virtual.main(["boot", str(board.root)]) == 0
    assert capsys.readouterr().out == "firmware: slot a boots\n"
    assert virtual.main(["fly"]) == 2
    assert virtual.main(["boot", "/no/such/board"]) == 2
    (board.root / "boot/a/kernel").unlink()
    assert virtual.main(["boot", str(board.root)]) == 1
    assert "does not boot" in capsys.readouterr().err


def test_a_board_is_made_in_an_empty_folder_only(board: Board, tmp_path: Path, shelf: Any) -> None:
    """Nothing of anybody is overwritten, and the image must fit."""
    arguments = {"image": shelf.image("1.0"), "boot_files": {"kernel": b"k"}, "name": "os", "version": "1.0"}
    with pytest.raises(UsageError, match="not an empty folder"):
        virtual.create(board.root, slot_size=1 << 22, **arguments)
    with pytest.raises(Refused, match="a slot is to have"):
        virtual.create(tmp_path / "new", slot_size=1 << 20, **arguments)
    with pytest.raises(HupfastError, match="cannot read"):
        virtual.create(tmp_path / "new", slot_size=1 << 22, **{**arguments, "image": tmp_path / "none"})
    assert virtual.create(tmp_path / "new", slot_size=1 << 22, **arguments).version == "1.0"
    assert (tmp_path / "new/slots/a.img").read_bytes()[: 2 << 20] == shelf.image("1.0").read_bytes()
