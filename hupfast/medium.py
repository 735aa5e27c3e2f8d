"""
A disk, or a file, in whole sectors and past the page cache (O_DIRECT).

Through the page cache of the whole disk, sectors beside a copy, which a partition has changed meanwhile, could be
written back as they once were.
"""

import errno
import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from hupfast.errors import MediumError, MismatchError
from hupfast.system import BLOCK, digest, explained

_SECTOR = 512
_BLKSSZGET = 0x1268


class Medium:
    """An open one; where O_DIRECT is unknown, what is written is flushed and forgotten."""

    def __init__(self, path: Path, flags: int) -> None:
        self.path = path
        self._buffer = memoryview(mmap.mmap(-1, BLOCK))
        with explained(f"cannot open {path}"):
            try:
                self._fd = os.open(path, flags | os.O_CLOEXEC | os.O_DIRECT)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._fd = os.open(path, flags | os.O_CLOEXEC)
            self.sector = self._sector()

    def __enter__(self) -> "Medium":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def rounded(self, size: int) -> int:
        """`size` rounded up to whole sectors."""
        return -(-size // self.sector) * self.sector

    def pieces(self, offset: int, size: int) -> Iterator[bytes]:
        """The bytes at `offset`, the start of a sector, from the medium. Raises: MediumError, HupfastError."""
        end = offset + size
        with explained(f"cannot read {size} bytes at {offset} of {self.path}"):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            while offset < end:
                view = self._buffer[: self.rounded(min(BLOCK, end - offset))]
                count = min(self._call(os.preadv, view, offset), end - offset)
                if count == 0 or (offset + count < end and count % self.sector):
                    raise MediumError(f"{self.path} ends at {offset + count}", offset=offset + count)
                yield bytes(view[:count])
                offset += count

    def holds(self, offset: int, size: int, sha256: bytes) -> bool:
        """Whether the bytes there have that SHA-256."""
        return digest(self.pieces(offset, size)) == sha256

    def is_blank(self, offset: int, size: int) -> bool:
        """Whether there is nothing: all 00 or all FF."""
        return all(not piece.strip(b"\0") or not piece.strip(b"\xff") for piece in self.pieces(offset, size))

    def filled_up(self, offset: int, data: bytes) -> bytes:
        """`data`, and what is behind it to the end of its last sector if it is put at `offset`."""
        start = len(data) // self.sector * self.sector
        tail = b"".join(self.pieces(offset + start, self.rounded(len(data)) - start))
        return data + tail[len(data) - start :]

    def replace(self, offset: int, data: bytes) -> None:
        """Write whole sectors, flush, read back. Raises: MediumError, MismatchError, HupfastError."""
        with explained(f"cannot write {len(data)} bytes at {offset} of {self.path}"):
            done = 0
            while done < len(data):
                view = self._buffer[: min(BLOCK, len(data) - done)]
                view[:] = data[done : done + len(view)]
                done += self._call(os.pwritev, view, offset + done)
            os.fsync(self._fd)
        done = 0
        for piece in self.pieces(offset, len(data)):
            if piece != data[done : done + len(piece)]:
                raise MismatchError(
                    f"{self.path} does not hold what was written at {offset + done}",
                    offset=offset + done,
                    length=len(piece),
                )
            done += len(piece)

    def _call(self, call: Callable[[int, list[memoryview], int], int], view: memoryview, offset: int) -> int:
        try:
            return call(self._fd, [view], offset)
        except OSError as error:
            flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
            if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
                raise
            fcntl.fcntl(self._fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
            return call(self._fd, [view], offset)

    def _sector(self) -> int:
        if not stat.S_ISBLK(os.fstat(self._fd).st_mode):
            return _SECTOR
        return int(struct.unpack("I", fcntl.ioctl(self._fd, _BLKSSZGET, bytes(4)))[0])
