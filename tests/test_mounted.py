"""Kept files out of the running system: the same as debugfs says of them once they are in the new slot."""

import os
import subprocess
from pathlib import Path

import pytest

from hupfast.ext4 import Ext4
from hupfast.filesystem import is_clean, make, missing_tools, put
from hupfast.keep import copy_kept
from hupfast.mounted import Mounted

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason="e2fsprogs is not installed")


@pytest.fixture
def new(tmp_path: Path) -> Ext4:
    """A new slot with a file of its own."""
    put(tmp_path, "tree/etc/hostname", b"new\n")
    make(tmp_path / "tree", tmp_path / "new.img", 2 << 20)
    return Ext4(tmp_path / "new.img")


@pytest.mark.parametrize("seconds", [1_700_000_000, 2**31 + 5, 2**32 + 7, -5])
def test_a_kept_file_keeps_all_it_has(tmp_path: Path, new: Ext4, seconds: int) -> None:
    """Bytes, owner, mode, extended attribute and time to the nanosecond, before 1970 and after 2038 too."""
    old = tmp_path / "old"
    put(old, "etc/hostname", b"named by the user\n")
    path = old / "etc/hostname"
    os.chmod(path, 0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 70000)
    try:
        os.setxattr(path, "user.note", b"\0binary\xff")
    except OSError:
        pytest.skip("no extended attributes on this filesystem")
    os.utime(path, ns=(0, seconds * 10**9 + 123_456_789))
    if os.stat(path).st_mtime_ns != seconds * 10**9 + 123_456_789:
        pytest.skip("this filesystem cannot hold that time")

    copy_kept(new, Mounted(old), [("/etc/hostname", "/etc/hostname")], tmp_path)

    assert new.find("/etc/hostname") == Mounted(old).find("/etc/hostname")
    assert new.read("/etc/hostname", tmp_path / "out") == b"named by the user\n"
    assert is_clean(new.image)


def test_a_kept_link_stays_a_link(tmp_path: Path, new: Ext4) -> None:
    """Its target is kept, and what it points to is not looked at."""
    (tmp_path / "old/etc").mkdir(parents=True)
    (tmp_path / "old/etc/localtime").symlink_to("/usr/share/zoneinfo/Nowhere")

    copy_kept(new, Mounted(tmp_path / "old"), [("/etc/localtime", "/etc/localtime")], tmp_path)

    node = new.find("/etc/localtime")
    assert node is not None
    assert node.type == "symlink"
    assert new.read("/etc/localtime", tmp_path / "out") == b"/usr/share/zoneinfo/Nowhere"


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    """Missing, and below something that is no directory."""
    put(tmp_path, "file", b"x")

    assert Mounted(tmp_path).find("/none") is None
    assert Mounted(tmp_path).find("/file/below") is None


def test_names_of_a_directory(tmp_path: Path) -> None:
    """All of them, also of links to directories; a missing directory and a file have none."""
    put(tmp_path, "d/file", b"x")
    (tmp_path / "d/sub").mkdir()
    (tmp_path / "d/link").symlink_to("/usr")

    assert sorted(Mounted(tmp_path).names("/d")) == ["file", "link", "sub"]
    assert Mounted(tmp_path).names("/none") == []
    assert Mounted(tmp_path).names("/d/file") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_mount_points_are_left_out(tmp_path: Path) -> None:
    """What is mounted below a directory is not part of it."""
    (tmp_path / "d/mounted").mkdir(parents=True)
    put(tmp_path, "d/file", b"x")
    if subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "d/mounted"], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        assert Mounted(tmp_path).names("/d") == ["file"]
    finally:
        subprocess.run(["umount", tmp_path / "d/mounted"], check=True)
    assert sorted(Mounted(tmp_path).names("/d")) == ["file", "mounted"]
