"""An answer of a server: its status, its headers, and its body, which goes into the memory of who reads it."""

from __future__ import annotations

import errno
import http.client
import os
import time
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

    from hupfast.run import Pulled
    from hupfast.source.base import Take

KEEP = 2**16
"""Bytes of a body that are read and thrown away rather than a connection with them."""

_PIECE = 2**20
_SMALL_PIECE = 2**13
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
        self._ahead = memoryview(b"" if raw.chunked else raw.take_buffered())
        self._silent = 0.0  # seconds that pull has waited for nothing
        self._took(0)

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
        if not got and self._left is None:
            self._finish(again=True)
        elif not got:
            raise self._cut_off()
        self._took(got)
        return got

    def pull(self, take: Take, size: int) -> Pulled | None:
        """
        Let C take up to `size` bytes from the socket, once. None: only readinto will do.

        Raises what readinto does.
        """
        fd = None if self._ahead or self._pace.piece else self._raw.plain_fd
        if not self._left or self._done is None or fd is None:
            return None
        since = time.monotonic()
        try:
            pulled = take(fd, min(size, self._left))
        except BaseException:
            self.abandon()
            raise
        self._took(pulled.moved)
        if pulled.moved or pulled.problem is None:
            self._silent = 0.0  # if it has failed behind these bytes, it does so again
        elif pulled.problem == errno.ENODATA:
            raise self._cut_off()
        elif pulled.problem not in (errno.ETIMEDOUT, errno.EINTR):  # a signal does not end a silence
            self.abandon()
            raise explained(OSError(pulled.problem, os.strerror(pulled.problem)), self._doing, self._transport)
        else:
            self._silent += time.monotonic() - since
            if self._silent >= self._transport.stall_timeout:
                self.abandon()
                raise explained(TimeoutError(), self._doing, self._transport)
        return pulled

    def _took(self, size: int) -> None:
        if self._left is not None:
            self._left -= size
            if not self._left:
                self._finish(again=not self._ahead)  # or the server has sent more than it had announced

    def _cut_off(self) -> Temporary:
        self.abandon()
        taken = (self.length or 0) - (self._left or 0)
        return Temporary(f"{self._doing}: the connection ended after {taken} of {self.length} bytes")

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
            scratch = memoryview(bytearray(min(self._left, _SMALL_PIECE)))
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
            data = memoryview(raw.read_chunked(min(len(room), _SMALL_PIECE)))
        elif self._ahead:
            data, self._ahead = self._ahead[: len(room)], self._ahead[len(room) :]
        else:
            return raw.receive(room)
        room[: len(data)] = data
        return len(data)

    def _finish(self, *, again: bool) -> None:
        done, self._done = self._done, None
        if done is not None:
            keep = again and self.end_is_told and not self._raw.will_close
            self._raw.close()
            done(keep)
