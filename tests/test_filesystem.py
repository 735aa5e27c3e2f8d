"""Making images for demos and tests."""

import os
from pathlib import Path

import pytest

from hupfast import filesystem
from hupfast.errors import HupfastError
from hupfast.ext4 import Ext4


def test_files_of_the_machine_are_collected_up_to_a_limit(tmp_path: Path) -> None:
    """Never more bytes or entries than asked for, and what is counted is there."""
    count, size = filesystem.collect(tmp_path, 3 << 20, files=200)
    files = [path for path in tmp_path.rglob("*") if not path.is_dir() or path.is_symlink()]

    assert 0 < size <= 3 << 20
    assert 0 < count <= 200
    assert sum(path.lstat().st_size for path in files if not path.is_symlink()) == size


def test_a_machine_without_files_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is pretended."""
    monkeypatch.setattr(filesystem, "_SOURCES", (str(tmp_path / "none"),))
    with pytest.raises(HupfastError, match="no file below"):
        filesystem.collect(tmp_path / "tree", 1 << 20, files=10)


def test_changes_change_files(tmp_path: Path) -> None:
    """One of so many, links left alone; the number told is the number changed."""
    for number in range(10):
        (tmp_path / f"{number}").write_bytes(b"x")
    (tmp_path / "link").symlink_to("0")

    assert filesystem.change(tmp_path, every=3) == 3
    assert sum(path.read_bytes() != b"x" for path in tmp_path.iterdir() if not path.is_symlink()) == 3


@pytest.mark.skipif(bool(filesystem.missing_tools()), reason="e2fsprogs is not installed")
def test_an_image_is_made_and_judged(tmp_path: Path) -> None:
    """It has the size and the files; e2fsck finds a clean one clean and a damaged one damaged."""
    filesystem.put(tmp_path, "tree/etc/name", b"data")
    filesystem.make(tmp_path / "tree", tmp_path / "x.img", 1 << 20)

    assert (tmp_path / "x.img").stat().st_size == 1 << 20
    assert Ext4(tmp_path / "x.img").read("/etc/name", tmp_path / "scratch") == b"data"
    assert filesystem.is_clean(tmp_path / "x.img")
    with (tmp_path / "x.img").open("r+b") as file:
        file.seek(1024 + 1024)
        file.write(os.urandom(3000))
    assert not filesystem.is_clean(tmp_path / "x.img")


def test_an_image_that_is_too_small_is_an_error(tmp_path: Path) -> None:
    """mkfs.ext4's own words come along."""
    if filesystem.missing_tools():
        pytest.skip("e2fsprogs is not installed")
    filesystem.put(tmp_path, "tree/big", os.urandom(2 << 20))
    with pytest.raises(HupfastError, match=r"mkfs\.ext4 .* ended with status"):
        filesystem.make(tmp_path / "tree", tmp_path / "x.img", 1 << 20)
