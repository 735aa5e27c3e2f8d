"""What every source of an image can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hupfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from hupfast.run import Pulled

    Take = Callable[[int, int], Pulled]


class BinaryFile(Protocol):
    """A file object. Its readinto, seekable, seek and tell are used where it has them."""

    def read(self, size: int, /) -> bytes | None: ...


class Source:
    """
    Bytes of an image, from the start on. A context manager; closing twice is allowed.

    name: for messages; without passwords.
    size: bytes that will come in all, None when unknown.
    taken: where the next byte is: bytes that readinto, take_peeked and pull have given out since the start, or where
        seek has gone. Those that C reads by fileno() are not counted.
    seekable: rewind() works, and seek() where the bytes are not decoded.
    remote: what is read twice is fetched twice.
    end_is_told: a stream that broke off is told from one that is complete.
    format: "auto", or "raw" when the bytes were decoded here and must not be looked at again.
    memory: bytes that reading and decoding take here; the engine's budget is smaller by so much.
    """

    seekable = False
    remote = False
    end_is_told = True
    format = "auto"
    memory = 0

    def __init__(self, name: str, size: int | None) -> None:
        self.name = name
        self.size = size
        self.taken = 0
        self._peeked = b""
        self._end: int | None = None

    @property
    def origin(self) -> Source:
        """The source of the file as it was given: self, or what is below the decoder."""
        return self

    def fileno(self) -> int | None:
        """
        The descriptor that C may read `size` bytes of, from its current position.

        None when only readinto will do, and while peeked bytes of a pipe wait in here: see take_peeked. The end that
        seek has set is not in it.
        """
        return None

    def peek(self, n: int) -> bytes:
        """Up to n of the next bytes, which stay where they are; fewer at the end only. Raises SourceError."""
        n = self._within(n)
        while len(self._peeked) < n:
            piece = bytearray(n - len(self._peeked))
            got = self._read(memoryview(piece))
            if not got:
                break
            self._peeked += piece[:got]
        return self._peeked[:n]

    def take_peeked(self) -> bytes:
        """The bytes that peek took out of a pipe, and forget them: C may read the rest through fileno()."""
        peeked, self._peeked = self._peeked, b""
        self.taken += len(peeked)
        return peeked

    def readinto(self, buffer: memoryview) -> int:
        """
        Fill the start of buffer; return how many bytes, 0 at the end (or what seek has called so) only.

        Raises SourceError when reading fails, DataError when the bytes are damaged or cut short.
        """
        buffer = buffer[: self._within(len(buffer))]
        if self._peeked:
            got = min(len(buffer), len(self._peeked))
            buffer[:got] = self._peeked[:got]
            self._peeked = self._peeked[got:]
        else:
            got = self._read(buffer)
        self.taken += got
        return got

    def pull(self, take: Take, size: int) -> Pulled | None:
        """
        Let C take up to `size` of the next bytes from a socket: take(fd, bytes) does it once, and says what came of it.

        None when readinto must do, for the next bytes at least. Nothing may have moved: then ask again.
        Raises what readinto does.
        """
        size = self._within(size)
        pulled = None if self._peeked or not size else self._pull(take, size)
        if pulled is not None:
            self.taken += pulled.moved
        return pulled

    def rewind(self) -> None:
        """Start again from the first byte. Raises UsageError when the source is not seekable."""
        self.seek(0)

    def seek(self, offset: int, end: int | None = None) -> None:
        """
        Go on from `offset`, in bytes from the first one of the source.

        end: the byte behind the last one that is wanted; until the next seek, the source ends there, and nothing
            behind it is asked for. None: all are wanted.
        Costs nothing by itself: what is far away is asked for when it is read.
        Raises UsageError when the source is not seekable, or offset is below 0.
        """
        if not self.seekable:
            raise UsageError(f"{self.name} cannot be read twice, and from its start only")
        if offset < 0:
            raise UsageError(f"{self.name} has no byte at offset {offset}")
        ahead = offset - self.taken
        self._peeked = self._peeked[ahead:] if ahead >= 0 else b""
        self.taken = offset
        self._end = end
        self._moved()

    def close(self) -> None:
        """Give back what open_source opened; descriptors and file objects of the caller stay open."""

    def _read(self, buffer: memoryview) -> int:
        """Read on behind what was peeked. Never asked for bytes behind the end that seek has set."""
        raise NotImplementedError

    def _pull(self, take: Take, size: int) -> Pulled | None:
        """As pull, behind what was peeked, and never for bytes behind the end that seek has set."""
        return None

    def _moved(self) -> None:
        """seek has changed `taken`, and has dropped what was peeked and is not next any more."""

    def _within(self, size: int) -> int:
        """So many of the next `size` bytes are wanted."""
        return size if self._end is None else max(min(size, self._end - self.taken), 0)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
