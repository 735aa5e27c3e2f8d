"""Durable files: what is replaced is replaced whole, and flushed in an order that FAT can be trusted with."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hupfast.durable import SUFFIX, make_directory, remove_durably, write_atomic, write_chunks
from hupfast.errors import HupfastError, MediumError


def test_write_atomic_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """The file has the new bytes, and there is no leftover."""
    path = tmp_path / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")

    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failing_writer_changes_nothing(tmp_path: Path) -> None:
    """When the bytes stop coming, the old file stays and the leftover goes."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise HupfastError("the bundle ends")

    with pytest.raises(HupfastError, match="the bundle ends"):
        write_chunks(path, broken())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_directory_and_file_are_flushed_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory first: on FAT, the file's own flush is what makes its name point to the new bytes."""
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def traced_fsync(fd: int) -> None:
        calls.append("directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")
        fsync(fd)

    def traced_rename(source: Path, target: Path) -> None:
        calls.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "rename", traced_rename)
    write_atomic(tmp_path / "file", b"data")

    assert calls == ["directory", "file", "rename", "directory", "file"]


@pytest.mark.parametrize(("number", "kind"), [(5, MediumError), (28, HupfastError), (30, HupfastError)])
def test_errors_of_the_medium_are_told_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[HupfastError]
) -> None:
    """EIO ends in exit 6, ENOSPC and EROFS in exit 1, each with its errno and the path."""

    def fails(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(HupfastError, match=str(tmp_path / "file")) as caught:
        write_atomic(tmp_path / "file", b"data")

    assert type(caught.value) is kind
    assert caught.value.errno == number
    assert os.listdir(tmp_path) == []


def test_a_link_in_the_way_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link under the temporary name does not lead the bytes elsewhere."""
    (tmp_path / ("file" + SUFFIX)).symlink_to(tmp_path / "victim")

    write_atomic(tmp_path / "file", b"data")

    assert (tmp_path / "file").read_bytes() == b"data"
    assert os.listdir(tmp_path) == ["file"]


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes three bytes at a time still brings all of them."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    write_atomic(tmp_path / "file", b"ten bytes.")

    assert (tmp_path / "file").read_bytes() == b"ten bytes."


def test_directories_are_made_with_their_parents(tmp_path: Path) -> None:
    """Every missing parent is made; an existing directory is fine, a file in the way is not."""
    make_directory(tmp_path / "a" / "b" / "c")
    make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()

    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(HupfastError, match="cannot make the directory"):
        make_directory(tmp_path / "file" / "below")


def test_removing_what_is_missing_is_fine(tmp_path: Path) -> None:
    """remove_durably may be repeated."""
    (tmp_path / "file").write_bytes(b"")
    remove_durably(tmp_path / "file")
    remove_durably(tmp_path / "file")
    remove_durably(tmp_path / "no" / "such" / "file")
    assert not (tmp_path / "file").exists()


def test_a_large_file_has_its_room_before_its_bytes(tmp_path: Path) -> None:
    """As long as it has no byte, its size is 0 and its blocks are there."""
    seen: list[tuple[int, int]] = []

    def chunks() -> Iterator[bytes]:
        facts = (tmp_path / ("file" + SUFFIX)).stat()
        seen.append((facts.st_size, facts.st_blocks * 512))
        yield bytes(1 << 20)

    write_chunks(tmp_path / "file", chunks(), size=1 << 20)
    assert seen == [(0, 1 << 20)]
    assert (tmp_path / "file").stat().st_size == 1 << 20


def test_a_file_that_cannot_have_its_room_leaves_nothing(tmp_path: Path) -> None:
    """A size that no disk has is an error before a byte, and the old file stays."""
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(HupfastError, match="reserve"):
        write_chunks(tmp_path / "file", iter((b"new",)), size=1 << 59)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_what_is_replaced_stays_on_the_medium_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its inode is in use at the last flush, so that its clusters are not given away before it."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    inode, held = path.stat().st_ino, []
    fsync = os.fsync

    def traced(fd: int) -> None:
        fds = [
            os.fstat(int(name)).st_ino
            for name in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{name}")
        ]
        held.append(inode in fds)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", traced)
    write_atomic(path, b"new")
    assert held
    assert all(held)
