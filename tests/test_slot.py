"""The slot stage: what it plans, and that what it does is durable and leaves no scratch."""

from dataclasses import replace
from pathlib import Path

import pytest

from hupfast.board import Board, load_board
from hupfast.errors import DataError, Refused
from hupfast.ext4 import Ext4
from hupfast.filesystem import is_clean, make, missing_tools, put
from hupfast.keep import Keep, KeptFile
from hupfast.slot import Stamp, apply_stamp, plan_stamp, slot_path

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason="e2fsprogs is not installed")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """The virtual board, with an old system in slot a and a new one in slot b."""
    for slot, name in (("a", b"old\n"), ("b", b"new\n")):
        put(tmp_path, f"tree-{slot}/etc/hostname", name)
        (tmp_path / "slots").mkdir(exist_ok=True)
        make(tmp_path / f"tree-{slot}", tmp_path / f"slots/{slot}.img", 1 << 20)
    return load_board("virtual", tmp_path)


def test_only_kept_files_that_exist_are_planned(board: Board, tmp_path: Path) -> None:
    """Label and UUID are those of the profile."""
    stamp = plan_stamp(board, board.slot("b"), Ext4(tmp_path / "slots/a.img"))

    assert stamp == Stamp("ext4", "hup-root-b", True, (KeptFile("/etc/hostname", "/etc/hostname", "regular", 4),))


def test_a_directory_needs_its_slash(board: Board, tmp_path: Path) -> None:
    """Refused in the plan, with the profile's name and what to write."""
    wide = replace(board, filesystem=replace(board.filesystem, keep=(Keep("/etc", "/etc"),)))
    with pytest.raises(Refused, match=r'virtual\.toml asks to keep /etc, which is a directory.* write "/etc/"'):
        plan_stamp(wide, board.slot("b"), Ext4(tmp_path / "slots/a.img"))


def test_the_stamp_is_applied(board: Board, tmp_path: Path) -> None:
    """Label and kept file are there, e2fsck is content, the old slot and the scratch directory are as before."""
    old = (tmp_path / "slots/a.img").read_bytes()
    stamp = plan_stamp(board, board.slot("b"), Ext4(tmp_path / "slots/a.img"))
    apply_stamp(stamp, tmp_path / "slots/b.img", Ext4(tmp_path / "slots/a.img"), tmp_path / "scratch")

    assert Ext4(tmp_path / "slots/b.img").label() == "hup-root-b"
    assert Ext4(tmp_path / "slots/b.img").read("/etc/hostname", tmp_path / "x") == b"old\n"
    assert is_clean(tmp_path / "slots/b.img")
    assert (tmp_path / "slots/a.img").read_bytes() == old
    assert list((tmp_path / "scratch").iterdir()) == []


def test_nothing_to_do_touches_nothing(tmp_path: Path) -> None:
    """A profile without a kind of filesystem works for images of any kind."""
    (tmp_path / "slot").write_bytes(b"squashfs")
    apply_stamp(Stamp("none", "", False, ()), tmp_path / "slot", Ext4(tmp_path / "none"), tmp_path / "scratch")

    assert (tmp_path / "slot").read_bytes() == b"squashfs"
    assert not (tmp_path / "scratch").exists()


def test_an_image_of_another_kind_is_bad_data(tmp_path: Path) -> None:
    """Before any tool touches it."""
    (tmp_path / "slot").write_bytes(bytes(8192))
    with pytest.raises(DataError, match="no ext4 filesystem"):
        apply_stamp(Stamp("ext4", "x", False, ()), tmp_path / "slot", Ext4(tmp_path / "none"), tmp_path / "scratch")


def test_a_missing_slot_is_refused(board: Board, tmp_path: Path) -> None:
    """With its name and path."""
    (tmp_path / "slots/b.img").unlink()
    with pytest.raises(Refused, match="slot b is missing"):
        slot_path(board.slot("b"), tmp_path)
