"""Durable files: what is replaced is replaced whole, and flushed in an order that FAT can be trusted with."""

import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from hupfast import durable
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
        held.append(path.stat().st_ino == inode or is_open(inode))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", traced)
    write_atomic(path, b"new")
    assert held == [True] * 4
    assert not is_open(inode)


def is_open(inode: int) -> bool:
    """Whether this process has the file open."""
    fds = [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
    return inode in [os.fstat(int(name)).st_ino for name in fds]


@pytest.mark.parametrize("moment", ["rename", "flush"])
def test_what_is_replaced_stays_when_its_end_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A failure between the rename and the end of the flush leaves the old file open for good."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    inode, rename = path.stat().st_ino, os.rename

    def fails(fd: int) -> None:
        raise OSError(5, "Input/output error")

    def renamed(source: Path, target: Path) -> None:
        rename(source, target)
        if moment == "rename":
            raise KeyboardInterrupt
        monkeypatch.setattr(os, "fsync", fails)

    monkeypatch.setattr(os, "rename", renamed)
    with pytest.raises(KeyboardInterrupt if moment == "rename" else MediumError):
        write_atomic(path, b"new")
    assert is_open(inode)


def test_what_is_removed_stays_when_its_end_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same when the flush of a removal fails."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    inode = path.stat().st_ino

    def fails(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(MediumError):
        remove_durably(path)
    assert is_open(inode)


def test_a_signal_waits_for_the_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGINT during the flush after the rename arrives when that is done, and signals come again after it."""
    (tmp_path / "file").write_bytes(b"old")
    done, fsync, rename = [], os.fsync, os.rename

    def flushed(fd: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        fsync(fd)
        done.append(fd)

    def renamed(source: Path, target: Path) -> None:
        rename(source, target)
        monkeypatch.setattr(os, "fsync", flushed)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    monkeypatch.setattr(os, "rename", renamed)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"new")
    assert len(done) == 2
    assert (tmp_path / "file").read_bytes() == b"new"
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_what_failed_first_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that became read-only by an error does not hide that error."""

    def read_only(path: Path) -> None:
        raise OSError(30, "Read-only file system")

    def fails(fd: int) -> None:
        monkeypatch.setattr(Path, "unlink", read_only)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(MediumError, match="Input/output error"):
        write_atomic(tmp_path / "file", b"new")


@pytest.mark.parametrize(("leftover", "finished", "is_safe"), [(7, 7, False), (7, 8, True), (0, 0, True)])
def test_a_leftover_with_the_clusters_of_the_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leftover: int, finished: int, is_safe: bool
) -> None:
    """Removing it would free what the file is made of."""
    path, beside = tmp_path / "file", tmp_path / ("file" + SUFFIX)
    path.write_bytes(b"old")
    beside.write_bytes(b"half")
    blocks = {path.stat().st_ino: finished, beside.stat().st_ino: leftover}

    def fibmap(fd: int, request: int, argument: bytes) -> bytes:
        assert (request, argument) == (1, bytes(4))
        return struct.pack("i", blocks[os.fstat(fd).st_ino])

    monkeypatch.setattr(durable, "ioctl", fibmap)
    if is_safe:
        write_atomic(path, b"new")
        assert os.listdir(tmp_path) == ["file"]
        return
    for change in (lambda: write_atomic(path, b"new"), lambda: remove_durably(beside)):
        with pytest.raises(HupfastError, match=r"file\.hupfast-new and .*/file .*fsck\.fat"):
            change()
    assert (path.read_bytes(), beside.read_bytes()) == (b"old", b"half")


def test_a_leftover_whose_place_cannot_be_asked_for_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root, or on a filesystem that does not tell."""

    def refused(fd: int, request: int, argument: bytes) -> bytes:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(durable, "ioctl", refused)
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / ("file" + SUFFIX)).write_bytes(b"half")
    write_atomic(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_a_directory_is_made_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushed before the rename, and itself before its parent after it; what an earlier cut left is not looked at."""
    for name in ("new" + SUFFIX, "new2" + SUFFIX):
        (tmp_path / name).mkdir()
    calls, fsync, rename, stat = [], os.fsync, os.rename, os.stat

    def flushed(fd: int) -> None:
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        fsync(fd)

    def renamed(source: Path, target: Path) -> None:
        calls.append(f"{source.name} {target.name}")
        rename(source, target)

    def looked(path: str | Path, **how: bool) -> os.stat_result:
        assert os.path.basename(path) not in ("new" + SUFFIX, "new2" + SUFFIX)
        return stat(path, **how)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", flushed)
        patch.setattr(os, "rename", renamed)
        patch.setattr(os, "stat", looked)
        make_directory(tmp_path / "new")
    at = calls.index(f"new3{SUFFIX} new")
    assert calls[at - 1 :] == [tmp_path.name, f"new3{SUFFIX} new", "new", tmp_path.name]
    assert sorted(os.listdir(tmp_path)) == ["new", "new" + SUFFIX, "new2" + SUFFIX]


def test_a_directory_that_somebody_else_makes_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes between the look and the rename, with a file in it."""
    rename = os.rename

    def renamed(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "file").touch()
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    make_directory(tmp_path / "new")
    assert os.listdir(tmp_path) == ["new"]
    assert os.listdir(tmp_path / "new") == ["file"]


def test_two_that_make_a_directory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one has taken the name since the look at what is there."""
    (tmp_path / ("new" + SUFFIX)).mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", lambda path: [])
        make_directory(tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["new", "new" + SUFFIX]
