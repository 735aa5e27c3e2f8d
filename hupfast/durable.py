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
  the medium points to it: signals wait until then, and when a flush fails it stays open until the process ends.
- A name and the first bytes of a new directory are flushed together, in any order, so a cut can leave a directory of
  what was in its cluster before. So a directory is made and flushed under another name too, and renamed then. Nobody
  may look at what is left of that (Linux sets the filesystem read-only here as well), so it is not removed. The
  renamed directory is flushed before the one that it is in: until then its new name has no first cluster.
- On a partition that somebody mounted "sync", or flushed in between, a cut can leave the old and the new name of a
  rename with the same clusters. A leftover is not removed before it is known to have other ones.
"""

import os
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import ioctl
from itertools import count
from pathlib import Path

from hupfast.errors import HupfastError
from hupfast.system import explained

SUFFIX = ".hupfast-new"
"""End of the name of a file that is not finished yet."""

_LARGE = 256 * 1024
"""Bytes from which the kernel may write some of a file before all of it is there."""

_FIBMAP = 1
_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def fsync_path(path: Path) -> None:
    """Flush a file's data, or a directory's entries, to the medium. Raises: OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: Path, mode: int = 0o755) -> None:
    """Make a directory and its parents, durably. It may exist. Raises: HupfastError, MediumError."""
    with explained(f"cannot make the directory {path}"):
        if path.is_dir():
            return
        make_directory(path.parent)
        beside = _make_beside(path, mode)
        _flush_table(beside)
        fsync_path(path.parent)
        try:
            os.rename(beside, path)
        except OSError:
            with suppress(OSError), _kept(beside):
                os.rmdir(beside)
                fsync_path(path.parent)
            if not path.is_dir():
                raise
        fsync_path(path)
        fsync_path(path.parent)


def _make_beside(path: Path, mode: int) -> Path:
    """Make a directory under a name that is free. Of one that is there, only the name may be looked at."""
    taken = {name.casefold() for name in os.listdir(path.parent)}
    names = (f"{path.name}{number if number > 1 else ''}{SUFFIX}" for number in count(1))
    while True:
        beside = path.with_name(next(name for name in names if name.casefold() not in taken))
        with suppress(FileExistsError):  # of another run, this very moment
            os.mkdir(beside, mode)
            return beside


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
                entry.name
                for entry in entries
                if not entry.name.endswith(SUFFIX) and entry.is_dir(follow_symlinks=False)
            ]
        top = top / next(iter(beside), "")
    if top != path.parent and top.stat().st_dev == device:
        fsync_path(top)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; short writes are finished. Raises: OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_chunks(
    path: Path, chunks: Iterator[bytes], mode: int = 0o644, *, exact: bool = False, size: int | None = None
) -> None:
    """
    Replace the file `path` by the bytes of `chunks`, atomically and durably.

    exact: the file has this mode whatever the umask says. size: bytes that will come, where that is known: a large
    file gets its room before its bytes. `path` is as it was when an exception comes out, whoever raised it (the
    iterator may). Only when the flush after the rename failed, or a signal had to wait for it, the new bytes are
    there. Raises: HupfastError, MediumError.
    """
    beside = path.with_name(path.name + SUFFIX)
    with explained(f"cannot write {path}"):
        _unlink_durably(beside)
        try:
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
            try:
                if exact:
                    os.fchmod(fd, mode)
                if size is not None and size >= _LARGE:
                    from hupfast.engine import reserve

                    reserve(fd, size)
                    fsync_path(path.parent)
                for chunk in chunks:
                    write_all(fd, chunk)
                _flush(path.parent, fd)
                with _kept(path):
                    os.rename(beside, path)
                    _flush(path.parent, fd)
            finally:
                os.close(fd)
        except BaseException:
            with suppress(OSError, HupfastError):  # what failed first is what has to be told
                _unlink_durably(beside)
            raise


def _flush(directory: Path, fd: int) -> None:
    fsync_path(directory)
    os.fsync(fd)


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    """
    Around what takes the name of a file away, and the flush of that: the file stays open, and no signal comes between.
    """
    with _signals_later():
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            yield
            return
        yield
        # Not after an exception: the name on the medium may still point to the clusters, and closing would give them
        # to the next file, or tell the table on the medium that they are free. The end of the process closes it.
        os.close(fd)


@contextmanager
def _signals_later() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # One that has come already may raise right here, with the signals blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _unlink_durably(path: Path) -> None:
    check_leftover(path)
    with _kept(path):
        try:
            path.unlink()
        except FileNotFoundError:
            return
        fsync_path(path.parent)


def check_leftover(path: Path, error: type[HupfastError] = HupfastError) -> None:
    """
    Whether an unfinished file can be removed; any other name can. Raises: `error` when the clusters that removing it
    would give back are those of the finished file too.
    """
    if not path.name.endswith(SUFFIX):
        return
    finished = path.with_name(path.name.removesuffix(SUFFIX))
    block = _first_block(path)
    if block and block == _first_block(finished):
        raise error(
            f"{path} and {finished} are in the same place of the medium since a power cut, so that removing the one"
            " would damage the other; unmount the partition and run fsck.fat on it"
        )


def _first_block(path: Path) -> int:
    """0 for none, and where it cannot be told: without root, and on some filesystems."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return 0
    try:
        block: int = struct.unpack("i", ioctl(fd, _FIBMAP, struct.pack("i", 0)))[0]
    except OSError:
        return 0
    finally:
        os.close(fd)
    return block


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace the file `path` by `data`, atomically and durably. Raises: HupfastError, MediumError."""
    write_chunks(path, iter((data,)), mode)


def remove_durably(path: Path) -> None:
    """Remove a file; it may be missing. Raises: HupfastError, MediumError."""
    with explained(f"cannot remove {path}"):
        _unlink_durably(path)
