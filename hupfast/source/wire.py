"""
What a server may send before and between the bytes of a body, and for how long: http.client alone has no bounds for it.

    HTTP/1.1 100 Continue                as many as the server likes, then
    HTTP/1.1 200 OK                      the head: at most LIMIT bytes in all, within the time-out in all
    Transfer-Encoding: chunked

    1f;extension                         a chunk (RFC 9112, 7.1): its size in hex digits,
    ...31 bytes...                       its bytes, and a line end
    0                                    the last one
    Trailer: x                           lines that nobody wants: they and the sizes are bounded as a head is

One that sends a byte now and then would hold us up for ever otherwise, and one that sends lines without an end would
fill the memory.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LIMIT = 2**17
"""Bytes of a head, or of what stands between two chunks; with what is read along, of the body behind it."""

_SIZE_DIGITS = 15
_HEX = b"0123456789abcdefABCDEF"
_LINE = 2**12


class Slow(TimeoutError):
    """Bytes came, but the head of an answer was not complete in time."""


class CutOff(http.client.HTTPException):
    """The connection ended within a head."""


class Nonsense(http.client.HTTPException):
    """A head without an end, or chunks that are none: no accident on the way, and not worth another try."""


class _Raw(io.RawIOBase):
    """The socket below an answer's buffer, whose reads can be bounded for a while."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._patience = sock.gettimeout()
        self._end: float | None = None
        self._have = 0
        self._held = False
        self.ended = False  # within its bounds: where more was to come

    def readable(self) -> bool:
        return True

    @property
    def plain_fd(self) -> int | None:
        return self._sock.fileno() if type(self._sock) is socket.socket else None

    def hold(self, held: bool) -> None:
        """While held, it has nothing to give, as a socket that must not wait."""
        self._held = held

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self._held:
            return None
        if self._end is None:
            return self._file.readinto(buffer)
        if self._have > LIMIT:
            raise Nonsense(f"the server sent more than {LIMIT} bytes, and nothing of what was asked for")
        if self._patience is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise Slow
            self._sock.settimeout(left)
        try:
            got = self._file.readinto(buffer)
        except TimeoutError:
            if self._have:
                raise Slow from None
            raise
        self._have += got or 0
        self.ended = got == 0
        return got

    def bind(self) -> None:
        """From now on, LIMIT bytes at most are read, in the socket's time-out in all."""
        self._end = time.monotonic() + (self._patience or 0)
        self._have = 0

    def loose(self) -> None:
        """From now on, any number of bytes is read, each in the time-out."""
        if self._end is not None:
            self._end = None
            self._sock.settimeout(self._patience)

    def close(self) -> None:
        if not self.closed:
            self.loose()
            self._file.close()
            super().close()


class Response(http.client.HTTPResponse):
    """
    An answer of http.client, with bounds, whose chunks are read with read_chunked.

    The bounds hold from its beginning: that of a proxy, to CONNECT, is never read with begin().
    """

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp.close()
        self._raw = _Raw(sock)
        self._raw.bind()
        self.fp = io.BufferedReader(self._raw)
        self._chunk_left: int | None = None

    def begin(self) -> None:
        super().begin()
        if self._raw.ended:  # http.client takes the end of a connection for that of a head
            raise CutOff
        self._raw.loose()

    def take_buffered(self) -> bytes:
        """What was read along with the head. From then on, all of the body comes by receive, and from plain_fd."""
        self._raw.hold(True)
        rest = b""
        while piece := self.fp.read1():  # until there is no more in the buffer: the socket gives nothing
            rest += piece
        self._raw.hold(False)
        return rest

    def receive(self, room: memoryview) -> int:
        """What has come, into room; 0 at the end. Raises OSError."""
        return self._raw.readinto(room) or 0

    @property
    def plain_fd(self) -> int | None:
        """The descriptor whose bytes are those of the body; None with TLS."""
        return self._raw.plain_fd

    def read_chunked(self, size: int) -> bytes:
        """
        At most `size` bytes of a body in chunks, b"" behind the last one.

        Raises: IncompleteRead when the connection ends first, Nonsense for what are no chunks, OSError.
        """
        if not self._chunk_left:
            self._raw.bind()
            self._chunk_left = self._next_chunk()
            self._raw.loose()
        if not self._chunk_left:
            return b""
        data: bytes = self.fp.read1(min(size, self._chunk_left))
        if not data:
            raise http.client.IncompleteRead(b"")
        self._chunk_left -= len(data)
        return data

    def _next_chunk(self) -> int:
        """Its size; 0 behind the last one, when its trailer was read too."""
        if self._chunk_left is not None and self._line():
            raise Nonsense("the server sent a chunk of another size than it said")
        digits = self._line().partition(b";")[0].strip()
        if not 0 < len(digits) <= _SIZE_DIGITS or not all(digit in _HEX for digit in digits):
            raise Nonsense(f"the server sent {digits[:20]!r} as the size of a chunk")
        size = int(digits, 16)
        while not size and self._line():
            pass
        return size

    def _line(self) -> bytes:
        line: bytes = self.fp.readline(_LINE)
        if not line.endswith(b"\n"):
            raise (
                Nonsense("the server sent a line without an end")
                if line[_LINE - 1 :]
                else http.client.IncompleteRead(b"")
            )
        return line.rstrip(b"\r\n")
