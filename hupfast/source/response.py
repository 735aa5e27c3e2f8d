"""An answer of a server: its status, its headers, and its body, which goes into the memory of who reads it."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import TYPE_CHECKING

from hupfast.errors import SourceError
from hupfast.source.address import Address, one_line
from hupfast.source.auth import VARIABLE
from hupfast.source.connection import explained
from hupfast.source.pace import Pace
from hupfast.source.retry import Temporary, retry_after
from hupfast.source.transport import Transport
from hupfast.source.wire import Response

if TYPE_CHECKING:
    from types import TracebackType

KEEP = 2**16
"""Bytes of a body that are read and thrown away rather than a connection with them."""

_PIECE = 2**20
# So much may have been read along with the head. Reads behind it go past that buffer.
_BUFFERED = 8192
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class HttpResponse:
    """
    An answer. A context manager; closing twice is allowed.

    status, reason, headers: as the server sent them. url: where it came from, behind all redirects.
    length: bytes of the body, None when the server does not say.
    end_is_told: a body that broke off is told from one that is complete.
    withheld: half a sentence when the login was not sent to who has answered, else "".
    """

    def __init__(
        self,
        raw: Response,
        address: Address,
        doing: str,
        transport: Transport,
        pace: Pace,
        done: Callable[[bool], None],
        withheld: str = "",
    ) -> None:
        """done: called once, when no more is read; True when the connection can be used again."""
        self.status = raw.status
        self.reason = one_line(raw.reason)
        self.headers = raw.headers
        self.url = address.url
        self.withheld = withheld
        self.length = raw.length
        self.end_is_told = raw.length is not None or bool(raw.chunked)
        self._raw = raw
        self._doing = doing
        self._transport = transport
        self._pace = pace
        self._done: Callable[[bool], None] | None = done
        self._left = raw.length
        self._buffered = _BUFFERED
        if raw.length == 0:
            self._finish(again=True)

    def readinto(self, buffer: memoryview) -> int:
        """
        Fill the start of buffer with what has come; return how many bytes, 0 at the end only.

        Raises Temporary when the connection breaks off, or nothing comes for the time-out.
        """
        if self._done is None or not buffer:
            return 0
        room = min(len(buffer), _PIECE, *(n for n in (self._left, self._pace.piece) if n is not None))
        try:
            got = self._receive(buffer[:room])
        except (OSError, http.client.HTTPException) as error:
            self.abandon()
            raise explained(error, self._doing, self._transport) from error
        except BaseException:
            self.abandon()
            raise
        self._pace.took(got)
        if self._left is not None:
            self._left -= got
        if self._left == 0 or (not got and self._left is None):
            self._finish(again=True)
        elif not got:
            self.abandon()
            taken, length = (self.length or 0) - (self._left or 0), self.length
            raise Temporary(f"{self._doing}: the connection ended after {taken} of {length} bytes")
        return got

    def read_all(self, limit: int) -> bytes:
        """The whole body. Raises SourceError when it has more than `limit` bytes, and what readinto raises."""
        data = bytearray()
        piece = memoryview(bytearray(min(limit + 1, _PIECE)))
        while got := self.readinto(piece):
            data += piece[:got]
            if len(data) > limit:
                self.abandon()
                raise SourceError(f"{self._doing}: the answer has more than {limit} bytes")
        return bytes(data)

    def expect(self, *statuses: int) -> HttpResponse:
        """This answer, when it has one of these statuses; else it is closed, and refused as `refusal` says."""
        if self.status in statuses:
            return self
        self.close()
        raise self.refusal()

    def refusal(self) -> SourceError:
        """What a status that nobody wants means: Temporary for one that may pass."""
        message = f"{self._doing}: the server answered {self.status} {self.reason}".rstrip()
        if self.status in _PASSING:
            return Temporary(message, retry_after=retry_after(self.headers.get("Retry-After")))
        if self.status == 401 and self.withheld:
            message += self.withheld
        elif self.status == 401:
            message += f"; say how to log in, with --auth-file or in the environment's {VARIABLE}"
        elif self.status == 407:
            message += "; give the user and password of the proxy with its address in the environment"
        elif self.status == 403:
            message += f"; may who is named by --auth-file or {VARIABLE} read it?"
        return SourceError(message)

    def close(self) -> int:
        """
        Read no more. A short rest is thrown away, so that the connection can be used again.

        Returns how many bytes were thrown away.
        """
        thrown = 0
        if self._done is not None and self._left is not None and self._left <= KEEP:
            scratch = memoryview(bytearray(min(self._left, _BUFFERED)))
            try:
                while got := self.readinto(scratch):
                    thrown += got
            except SourceError:
                pass  # nobody wants it, and the connection is closed by now
        self.abandon()
        return thrown

    def abandon(self) -> None:
        """Read no more, and close the connection unless the body has come to its end."""
        self._finish(again=False)

    def __enter__(self) -> HttpResponse:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, room: memoryview) -> int:
        """One read of the socket, into room. (readinto of http.client fills it, and loses all when it fails.)"""
        raw = self._raw
        if raw.chunked:
            data = raw.read_chunked(min(len(room), _BUFFERED))
        elif self._buffered:
            asked = min(len(room), self._buffered)
            data = raw.fp.read1(asked)
            self._buffered = self._buffered - asked if len(data) == asked else 0
        else:
            return raw.fp.readinto1(room)
        room[: len(data)] = data
        return len(data)

    def _finish(self, *, again: bool) -> None:
        done, self._done = self._done, None
        if done is not None:
            keep = again and self.end_is_told and not self._raw.will_close
            self._raw.close()
            done(keep)
