"""
Durable files: a power cut leaves the old bytes under a name or the new ones, on ext4 and on FAT.

New bytes are written and flushed under another name, which is then renamed over the old one. At most, a leftover
whose name ends in SUFFIX stays behind; of a name that is new, on FAT, perhaps an empty file.

What FAT asks for beyond that (tests/boot/test_cuts.py looks at every cut):

- The clusters of a chain (the table) and the first cluster and size of a name (the directory) are flushed by
  different calls. A flush of the *directory* writes the table and the names, but a file's first cluster and size
  only come with a flush of the *file*, after a rename as well. So the directory is flushed before the file, each
  time, a large file gets its clusters before its first byte, and something else is flushed before the directory
  that has a new directory in it: a name never points to clusters that the table does not have yet. (Linux sets a
  filesystem read-only when it comes upon such a name.)
- What is replaced or removed gives its clusters back when nobody has it open. So it is held open until no name on
  the medium points to it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hupfast.system import explained

SUFFIX = ".hupfast-new"
"""End of the name of a file that is not finished yet."""

_LARGE = 256 * 1024
"""Bytes from which the kernel may write some of a file before all of it is there."""


def fsync_path(path: Path) -> None:
    """Flush a file's data, or a directory's entries, to the medium. Raises: OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: Path, mode: int = 0o755) -> None:
    """Make a directory and its parents, durably. It may exist. Raises: HupfastError."""
    if path.is_dir():
        return
    make_directory(path.parent)
    with explained(f"cannot make the directory {path}"):
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if not path.is_dir():
                raise
        _flush_table(path)
        fsync_path(path.parent)


def _flush_table(path: Path) -> None:
    """
    Of FAT, without the names in the directory of `path`: by a flush of anything else on the filesystem. Best of its
    root, which has no name that would be written with it.
    """
    device, top = path.stat().st_dev, path.parent
    while top != top.parent and top.parent.stat().st_dev == device:
        top = top.parent
    if top == path.parent:
        with os.scandir(top) as entries:
            beside = [
                entry.name for entry in entries if entry.name != path.name and entry.is_dir(follow_symlinks=False)
            ]
        top = top / next(iter(beside), "")
    if top != path.parent and top.stat().st_dev == device:
        fsync_path(top)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; short writes are finished. Raises: OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_chunks(path: Path, chunks: Iterator[bytes], mode: int = 0o644, *, size: int | None = None) -> None:
    """
    Replace the file `path` by the bytes of `chunks`, atomically and durably.

    size: bytes that will come, where that is known: a large file gets its room before its bytes. Nothing of `path`
    has changed when an exception comes out, whoever raised it (the iterator may). Raises: HupfastError, MediumError.
    """
    beside = path.with_name(path.name + SUFFIX)
    with explained(f"cannot write {path}"), _held(path):
        try:
            _unlink_durably(beside)
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
            try:
                if size is not None and size >= _LARGE:
                    from hupfast.engine import reserve

                    reserve(fd, size)
                    fsync_path(path.parent)
                for chunk in chunks:
                    write_all(fd, chunk)
                _flush(path.parent, fd)
                os.rename(beside, path)
                _flush(path.parent, fd)
            finally:
                os.close(fd)
        except BaseException:
            _unlink_durably(beside)
            raise


def _flush(directory: Path, fd: int) -> None:
    fsync_path(directory)
    os.fsync(fd)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield
        return
    try:
        yield
    finally:
        os.close(fd)


def _unlink_durably(path: Path) -> None:
    with _held(path):
        try:
            path.unlink()
        except FileNotFoundError:
            return
        fsync_path(path.parent)


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace the file `path` by `data`, atomically and durably. Raises: HupfastError, MediumError."""
    write_chunks(path, iter((data,)), mode)


def remove_durably(path: Path) -> None:
    """Remove a file; it may be missing. Raises: HupfastError."""
    with explained(f"cannot remove {path}"):
        _unlink_durably(path)
