"""What every source of an image can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hupfast.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType


class BinaryFile(Protocol):
    """A file object. Its readinto, seekable, seek and tell are used where it has them."""

    def read(self, size: int, /) -> bytes | None: ...


class Source:
    """
    Bytes of an image, from the start, forward only. A context manager; closing twice is allowed.

    name: for messages; without passwords.
    size: bytes that will come in all, None when unknown.
    taken: bytes that readinto and take_peeked have given out; those that C reads are not counted.
    seekable: rewind() works.
    end_is_told: a stream that broke off is told from one that is complete.
    format: "auto", or "raw" when the bytes were decoded here and must not be looked at again.
    memory: bytes that reading and decoding take here; the engine's budget is smaller by so much.
    """

    seekable = False
    end_is_told = True
    format = "auto"
    memory = 0

    def __init__(self, name: str, size: int | None) -> None:
        self.name = name
        self.size = size
        self.taken = 0
        self._peeked = b""

    @property
    def origin(self) -> Source:
        """The source of the file as it was given: self, or what is below the decoder."""
        return self

    def fileno(self) -> int | None:
        """
        The descriptor that C may read `size` bytes of, from its current position.

        None when only readinto will do, and while peeked bytes of a pipe wait in here: see take_peeked.
        """
        return None

    def peek(self, n: int) -> bytes:
        """Up to n of the next bytes, which stay where they are; fewer at the end only. Raises SourceError."""
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
        Fill the start of buffer; return how many bytes, 0 at the end only.

        Raises SourceError when reading fails, DataError when the bytes are damaged or cut short.
        """
        if self._peeked:
            got = min(len(buffer), len(self._peeked))
            buffer[:got] = self._peeked[:got]
            self._peeked = self._peeked[got:]
        else:
            got = self._read(buffer)
        self.taken += got
        return got

    def rewind(self) -> None:
        """Start again from the first byte. Raises UsageError when the source is not seekable."""
        raise UsageError(f"{self.name} cannot be read twice")

    def close(self) -> None:
        """Give back what open_source opened; descriptors and file objects of the caller stay open."""

    def _read(self, buffer: memoryview) -> int:
        raise NotImplementedError

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
