"""
One update at a time: an advisory lock (flock) on a file in the state directory.

The kernel lets go of it when the process ends, however it ends, so there is no stale lock to clean up. The
file stays; the process number in it is for the message only.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hupfast.durable import make_directory
from hupfast.errors import Busy
from hupfast.system import explained


@contextmanager
def exclusive(state_directory: Path) -> Iterator[None]:
    """Hold the lock of a board. Raises: Busy (exit 9) at once when somebody else has it."""
    make_directory(state_directory)
    path = state_directory / "lock"
    with explained(f"cannot open the lock {path}"):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        with explained(f"cannot lock {path}"):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
                who = f" (process {holder})" if holder.isdigit() else ""
                raise Busy(f"another update is running on this board{who}; wait until it has ended") from None
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(fd)
