"""
Where it is measured: a device, a file, or a file that is made in a folder, and that nobody sees.

That file has no name: whatever becomes of this process, nothing is left. It is opened by /proc/self/fd/N.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from hupfast.engine import reserve
from hupfast.errors import HupfastError, TargetError
from hupfast.target import check_target

MIB = 1 << 20
STEP = 4 * MIB
"""The part that is used is a multiple of this, and so of every block."""

SIZE = 256 * MIB
"""Bytes that are used, when nobody says so, and the mode wants no more."""


@dataclass(frozen=True)
class Place:
    """path: what is opened. name: what the user calls it. size: bytes of the part from its start that are used."""

    path: str
    name: str
    size: int
    whole: int


def check_place(target: str, size: int | None, most_used: int = SIZE) -> tuple[int, int]:
    """
    How much of a target is used, and how much there is, in bytes; nothing is done to it yet.

    size: what the user wants. None: SIZE, or a quarter of the target where that is more, up to `most_used`; and no more
    than there is, nor in a folder than a quarter of what is free. Raises: TargetError.
    """
    folder = os.path.isdir(target)
    if folder:
        if not os.access(target, os.W_OK | os.X_OK, effective_ids=True):
            raise TargetError(f"no file can be made in {target}: you may not write there")
        facts = os.statvfs(target)
        free = facts.f_bavail * facts.f_frsize
        whole, most = free, free // 4
        what = f"a quarter of what is free on the file system of {target}"
    else:
        whole = most = check_target(target).size
        what = f"the size of {target}"
    share = max(whole // 4, SIZE)
    wanted = min(most_used, most, share) if size is None else size
    used = wanted // STEP * STEP
    if size is not None and used > (whole if folder else most):
        raise TargetError(f"{target} has room for {whole} bytes, and not for {size}: choose a smaller --size")
    if used < STEP:
        raise TargetError(f"{wanted} bytes ({what}) are too few to measure with: {STEP} are needed at least")
    return used, whole


@contextmanager
def placed(target: str, size: int | None, most_used: int = SIZE) -> Iterator[Place]:
    """The place to measure in; a file that was made is gone afterwards. Raises: TargetError, HupfastError."""
    used, whole = check_place(target, size, most_used)
    if not os.path.isdir(target):
        yield Place(target, target, used, whole)
        return
    fd = _nameless(target)
    try:
        try:
            reserve(fd, used)
            os.ftruncate(fd, used)
        except OSError as error:
            raise HupfastError(f"cannot make a file of {used} bytes in {target}: {error.strerror}") from error
        yield Place(f"/proc/self/fd/{fd}", target, used, used)
    finally:
        os.close(fd)


def _nameless(folder: str) -> int:
    """A new file in a folder, without a name from its start, or at least from now on."""
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(folder, flags | os.O_TMPFILE, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            raise HupfastError(f"cannot make a file in {folder}: {error.strerror}") from error
    path = os.path.join(folder, f".hupfast-bench-{os.getpid()}")
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise HupfastError(f"cannot make a file in {folder}: {error.strerror}") from error
    with suppress(OSError):
        os.unlink(path)
    return fd
