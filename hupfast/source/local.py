"""Sources on this machine: files, parts of files, pipes, file objects."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hupfast.errors import DataError, SourceError, UsageError
from hupfast.source.base import BinaryFile, Source

if TYPE_CHECKING:
    from hupfast.run import Pulled
    from hupfast.source.base import Take

# Page cache behind the reader is given back in steps of this size: smaller ones free next to nothing.
_DROP_STEP = 4 * 2**20


class FileSource(Source):
    """A regular file or a block device, from `offset` to its end. `owned`: close the descriptor too."""

    seekable = True

    def __init__(self, fd: int, name: str, *, offset: int, size: int, owned: bool) -> None:
        super().__init__(name, size)
        self._fd = fd
        self._offset = offset
        self._length = size
        self._owned = owned
        self._dropped = 0
        self._started = 0

    def fileno(self) -> int | None:
        os.lseek(self._fd, self._offset + self.taken, os.SEEK_SET)
        return self._fd

    def peek(self, n: int) -> bytes:
        n = max(min(self._within(n), self._length - self.taken), 0)
        try:
            return os.pread(self._fd, n, self._offset + self.taken)
        except OSError as error:
            raise failed(self.name, error) from error

    def close(self) -> None:
        if self._owned:
            self._owned = False
            os.close(self._fd)

    def _read(self, buffer: memoryview) -> int:
        left = self._length - self.taken
        if left <= 0 or not buffer:
            return 0
        position = self._offset + self.taken
        try:
            got = os.preadv(self._fd, [buffer[:left]], position)
        except OSError as error:
            raise failed(self.name, error) from error
        if not got:
            raise cut_short(self.name, self.taken, self._length)
        if self.taken - self._dropped >= _DROP_STEP:
            start, size = self._offset + self._started, self.taken - self._started
            os.posix_fadvise(self._fd, start, size, os.POSIX_FADV_DONTNEED)
            self._dropped = self.taken
        return got

    def _moved(self) -> None:
        self._dropped = self._started = self.taken


class SliceSource(FileSource):
    """
    `length` bytes of an open file from `offset` on: a member of a bundle. The descriptor stays the caller's.

    Raises DataError when the file ends before.
    """

    def __init__(self, fd: int, offset: int, length: int, name: str) -> None:
        end = os.lseek(fd, 0, os.SEEK_END)
        if offset + length > end:
            raise DataError(f"{name} is cut short: {offset + length} bytes were expected, {end} are there")
        super().__init__(fd, name, offset=offset, size=length, owned=False)


class PipeSource(Source):
    """A pipe, socket or character device: read once."""

    def __init__(self, fd: int, name: str, *, owned: bool) -> None:
        super().__init__(name, None)
        self._fd = fd
        self._owned = owned

    def fileno(self) -> int | None:
        return None if self._peeked else self._fd

    def close(self) -> None:
        if self._owned:
            self._owned = False
            os.close(self._fd)

    def _read(self, buffer: memoryview) -> int:
        while True:
            try:
                return os.readv(self._fd, [buffer])
            except BlockingIOError:  # the other end made the pipe non-blocking
                import select

                select.select([self._fd], [], [])
            except OSError as error:
                raise failed(self.name, error) from error


class ObjectSource(Source):
    """A binary file object of the caller, by readinto or else by read."""

    def __init__(self, file: BinaryFile, name: str) -> None:
        super().__init__(name, None)
        self._file = file
        self._readinto = getattr(file, "readinto", None)
        self._start = 0
        if getattr(file, "seekable", bool)():
            self.seekable = True
            self._start = file.tell()  # type: ignore[attr-defined]  # seekable() promises it

    def _moved(self) -> None:
        try:
            # seekable() promises it
            self._file.seek(self._start + self.taken + len(self._peeked))  # type: ignore[attr-defined]
        except OSError as error:
            raise failed(self.name, error) from error

    def _read(self, buffer: memoryview) -> int:
        try:
            if self._readinto is not None:
                got = self._readinto(buffer)
            else:
                data = self._file.read(len(buffer))
                got = data if data is None else len(data)
                buffer[: got or 0] = data or b""
        except OSError as error:
            raise failed(self.name, error) from error
        if got is None:
            raise SourceError(f"cannot read {self.name}: it is non-blocking, and has nothing to read now")
        return int(got)


class PartSource(Source):
    """
    The next `length` bytes of another source, for a member of a bundle that streams in.

    seek counts from the first of them. The other source moves along: it is not read beside this one, and needs a seek
    of its own after one here. readinto raises DataError when it ends before; closing this one leaves it open.
    """

    def __init__(self, whole: Source, length: int, name: str) -> None:
        super().__init__(name, length)
        self.seekable = whole.seekable and whole.format == "auto"  # what is decoded can only be started again
        self.remote = whole.remote
        self.memory = whole.memory
        self._whole = whole
        self._start = whole.taken
        self._length = length

    def fileno(self) -> int | None:
        return None if self._peeked else self._whole.fileno()

    def peek(self, n: int) -> bytes:
        return self._whole.peek(max(min(self._within(n), self._length - self.taken), 0))

    def take_peeked(self) -> bytes:
        peeked = self._whole.take_peeked()
        self.taken += len(peeked)
        if self.taken > self._length:
            raise UsageError(f"more than the {self._length} bytes of {self.name} were peeked at")
        return peeked

    def _read(self, buffer: memoryview) -> int:
        left = self._length - self.taken
        if left <= 0 or not buffer:
            return 0
        got = self._whole.readinto(buffer[:left])
        if not got:
            raise cut_short(self.name, self.taken, self._length)
        return got

    def _pull(self, take: Take, size: int) -> Pulled | None:
        left = self._length - self.taken
        return self._whole.pull(take, min(size, left)) if left > 0 else None

    def _moved(self) -> None:
        end = self._length if self._end is None else min(self._end, self._length)
        self._whole.seek(self._start + self.taken, self._start + end)


def cut_short(name: str, taken: int, length: int) -> DataError:
    """The error for a file that ends before its length."""
    return DataError(f"{name} is cut short: it ends after {taken} of {length} bytes", offset=taken)


def failed(name: str, error: OSError | ValueError) -> SourceError:
    """The error for a system call that failed on `name`."""
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number) if number is not None else str(error)
    shown = name or "an empty name"
    return SourceError(f"cannot read {shown}: {reason}", errno=number)
