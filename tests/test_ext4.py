"""Changing ext4 without mounting it; e2fsck and debugfs are the judges."""

import os
from pathlib import Path

import pytest

from hupfast.errors import DataError, HupfastError, Refused
from hupfast.ext4 import Ext4, Node
from hupfast.filesystem import is_clean, make, missing_tools, put
from hupfast.keep import copy_kept
from hupfast.system import run

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason="e2fsprogs is not installed")

SIZE = 2 << 20


def filesystem(folder: Path, name: str, files: dict[str, bytes], size: int = SIZE) -> Ext4:
    """An image with these files."""
    tree = folder / f"{name}.tree"
    tree.mkdir()
    for path, data in files.items():
        put(tree, path, data)
    make(tree, folder / f"{name}.img", size)
    return Ext4(folder / f"{name}.img")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Ext4, Ext4]:
    """An old system with files to keep, and a new one."""
    old = filesystem(tmp_path, "old", {"etc/hostname": b"old\n", "etc/ssh/key": os.urandom(3000)})
    new = filesystem(tmp_path, "new", {"etc/hostname": b"a much longer name of the new system\n"})
    return old, new


def debugfs(filesystem: Ext4, *commands: str) -> str:
    """What debugfs says to commands."""
    return run(["debugfs", "-w", "-f", "-", str(filesystem.image)], text="\n".join(commands) + "\n").output


def test_label_and_uuid(pair: tuple[Ext4, Ext4]) -> None:
    """blkid sees the new label and another UUID, and e2fsck is content."""
    _, new = pair

    def uuid() -> bytes:
        with new.image.open("rb") as file:
            file.seek(1024 + 0x68)
            return file.read(16)

    before = uuid()
    new.set_label("hup-root-b")
    new.fresh_uuid()

    assert new.label() == "hup-root-b"
    assert run(["e2label", str(new.image)]).output == "hup-root-b\n"
    assert uuid() != before
    assert is_clean(new.image)


def test_a_filesystem_that_was_mounted_gets_its_uuid_too(pair: tuple[Ext4, Ext4]) -> None:
    """tune2fs wants a fresh check of it first; that is done, not reported as a failure."""
    _, new = pair
    debugfs(new, "ssv mtime @4000000000", "ssv lastcheck @1000000000")
    refused = run(["tune2fs", "-U", "random", str(new.image)], check=False)
    assert "freshly checked" in refused.output + refused.error

    new.fresh_uuid()
    assert is_clean(new.image)


def test_a_kept_file_replaces_the_new_one(pair: tuple[Ext4, Ext4], tmp_path: Path) -> None:
    """Bytes, owner, mode, time to the nanosecond and attributes are those of the old file."""
    old, new = pair
    debugfs(
        old,
        "sif /etc/hostname mode 0100640",
        "sif /etc/hostname uid 1234",
        "sif /etc/hostname gid 70000",
        "sif /etc/hostname mtime @1500000000",
        "sif /etc/hostname mtime_extra 1000",
        "ea_set /etc/hostname user.note hello",
        "ea_set /etc/hostname security.test secret",
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    copy_kept(new, old, [("/etc/hostname", "/etc/hostname")], scratch)

    attributes = ("security.test", "user.note")
    assert new.find("/etc/hostname") == Node("regular", 0o640, 1234, 70000, 4, 1500000000, 1000, attributes)
    assert new.read("/etc/hostname", scratch / "x") == b"old\n"
    assert 'user.note (5) = "hello"' in debugfs(new, "ea_list /etc/hostname")
    assert is_clean(new.image)


def test_missing_directories_are_made_like_the_old_ones(pair: tuple[Ext4, Ext4], tmp_path: Path) -> None:
    """
    A kept file below a directory that the new system lacks brings the directory with its owner and mode.
    """
    old, new = pair
    debugfs(old, "sif /etc/ssh mode 040700", "sif /etc/ssh uid 99")
    copy_kept(new, old, [("/etc/ssh/key", "/etc/ssh/key")], tmp_path)
    directory = new.find("/etc/ssh")

    assert directory is not None
    assert (directory.type, directory.mode, directory.uid) == ("directory", 0o700, 99)
    assert new.read("/etc/ssh/key", tmp_path / "x") == old.read("/etc/ssh/key", tmp_path / "x")
    assert is_clean(new.image)


@pytest.mark.parametrize("target", ["../usr/share/zoneinfo/Europe/Berlin", "/" + "long/" * 40 + "end"])
def test_symbolic_links_are_kept_as_links(pair: tuple[Ext4, Ext4], tmp_path: Path, target: str) -> None:
    """Short ones that live in the inode and long ones that have a block, also in place of a file."""
    old, new = pair
    debugfs(old, f"symlink /etc/localtime {target}", "rm /etc/hostname", f"symlink /etc/hostname {target}")
    for path in ("/etc/localtime", "/etc/hostname"):
        copy_kept(new, old, [(path, path)], tmp_path)
        node = new.find(path)
        assert node is not None
        assert node.type == "symlink"
        assert new.read(path, tmp_path / "x").decode() == target
    assert is_clean(new.image)


def test_names_with_blanks(pair: tuple[Ext4, Ext4], tmp_path: Path) -> None:
    """A blank in a name does not cut it in two; a quote, which debugfs cannot be given, is refused."""
    old, new = pair
    put(tmp_path, "x", b"data")
    debugfs(old, 'mkdir "/my dir"', f'write {tmp_path}/x "/my dir/my file"')
    copy_kept(new, old, [("/my dir/my file", "/my dir/my file")], tmp_path)

    assert new.read("/my dir/my file", tmp_path / "y") == b"data"
    with pytest.raises(HupfastError, match="debugfs cannot be given"):
        new.find('/a"b')


def test_what_cannot_be_kept_is_an_error(pair: tuple[Ext4, Ext4], tmp_path: Path) -> None:
    """Special files, a directory in the way, and a file in the way of one; the new filesystem stays clean."""
    old, new = pair
    debugfs(old, "mkdir /x", "mknod fifo p", "mknod null c 1 3")
    debugfs(new, "rm /etc/hostname", "mkdir /etc/hostname", "symlink x /etc")
    assert [node and node.type for node in map(old.find, ("/fifo", "/null"))] == ["FIFO", "character special"]
    for path in ("/fifo", "/null", "/etc/hostname", "/x"):
        with pytest.raises(HupfastError, match="kept"):
            copy_kept(new, old, [(path, path)], tmp_path)
    assert is_clean(new.image)


def test_what_is_gone_is_left_out(pair: tuple[Ext4, Ext4], tmp_path: Path) -> None:
    """A file that the running system has removed since the plan does not stop the others."""
    old, new = pair
    copy_kept(new, old, [("/gone", "/gone"), ("/etc/hostname", "/etc/hostname")], tmp_path)

    assert new.find("/gone") is None
    assert new.read("/etc/hostname", tmp_path / "x") == b"old\n"


def test_names_of_a_directory(pair: tuple[Ext4, Ext4]) -> None:
    """With blanks and other letters; a missing directory has none."""
    old, _ = pair
    debugfs(old, 'mkdir "/etc/ssh/ a b "', 'symlink "/etc/ssh/é:日" x')

    assert sorted(old.names("/etc/ssh")) == [" a b ", "key", "é:日"]
    assert old.names("/none") == []


def test_a_name_with_a_line_break_is_refused(tmp_path: Path) -> None:
    """It must not pass as two names."""
    old = filesystem(tmp_path, "old", {"d/x\n": b"", "d/y": b""})
    with pytest.raises(Refused, match="line break"):
        old.names("/d")


def test_a_directory_with_too_many_names_is_refused(tmp_path: Path) -> None:
    """What debugfs says is cut off then, and must not pass as a few names."""
    old = filesystem(tmp_path, "old", {f"d/{i:0200}": b"" for i in range(400)}, size=4 * SIZE)
    with pytest.raises(Refused, match="too many names"):
        old.names("/d")


def test_a_full_filesystem_is_noticed(pair: tuple[Ext4, Ext4], tmp_path: Path) -> None:
    """debugfs ends with status 0 then; what it says, or the read-back, is what tells."""
    old, new = pair
    put(tmp_path, "big", os.urandom(SIZE * 3 // 4))
    debugfs(new, f"write {tmp_path}/big /big")
    make(tmp_path / "old.tree", tmp_path / "bigger.img", 2 * SIZE)
    bigger = Ext4(tmp_path / "bigger.img")
    debugfs(bigger, f"write {tmp_path}/big /etc/big")
    with pytest.raises(HupfastError):
        copy_kept(new, bigger, [("/etc/big", "/etc/big")], tmp_path)
    assert old.find("/etc/big") is None


def test_what_is_no_filesystem_is_bad_data(tmp_path: Path) -> None:
    """Zeros, noise and a short file: exit 5 from check_magic, an error from the rest."""
    for data in (bytes(4096), os.urandom(8192), b""):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(DataError, match="no ext4 filesystem"):
            Ext4(tmp_path / "x").check_magic()
        with pytest.raises(HupfastError):
            Ext4(tmp_path / "x").find("/etc/hostname")
    with pytest.raises(HupfastError):
        Ext4(tmp_path / "none").check_magic()


def test_a_damaged_filesystem_does_not_get_a_uuid_quietly(pair: tuple[Ext4, Ext4]) -> None:
    """When e2fsck cannot repair it by itself, that is bad data."""
    _, new = pair
    debugfs(new, "ssv mtime @4000000000", "ssv lastcheck @1000000000", "clri /etc", "clri /lost+found")
    with pytest.raises(HupfastError):
        new.fresh_uuid()
