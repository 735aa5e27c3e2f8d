"""
A file behind an http:// or https:// address, by ranges where the server has them.

    we ask                              a server with ranges answers              one without
    Range: bytes=0-                     206, Content-Range: bytes 0-99/100        200, Content-Length: 100
    Range: bytes=40-99, If-Range: E     206, Content-Range: bytes 40-99/100       200: we read up to byte 40 again

E is what the first answer had as its strong ETag, or else as Last-Modified: a server whose file has another one
answers 200 with all of it, and the file has changed. So it has with another length, ETag or Last-Modified. What a
connection that breaks off has not brought is asked for again (retry.py says how often).

Bytes go from the socket into the memory that the caller gives. A body that the server compressed itself
(Content-Encoding) is refused: it could not be told from a compressed image.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from hupfast.errors import SourceError
from hupfast.source.address import one_line, public_name
from hupfast.source.base import Source
from hupfast.source.http import HttpClient, HttpResponse
from hupfast.source.response import KEEP
from hupfast.source.retry import Attempts, Temporary
from hupfast.source.transport import Transport

if TYPE_CHECKING:
    from hupfast.run import Pulled
    from hupfast.source.base import Take

__all__ = ["HttpSource", "public_name"]

_SCRATCH = 2**14
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE)
_SIZE_LIMIT = 1 << 62
_OLD_ADDRESS = (400, 401, 403, 404, 410)


class _Version(NamedTuple):
    """What tells one version of a file from another: validators as the server writes them, bytes in all."""

    etag: str | None
    modified: str | None
    total: int | None

    @property
    def if_range(self) -> str | None:
        """What If-Range may be: never a weak ETag (RFC 9110, 13.1.5), and nothing that is not plain text."""
        found = self.etag if self.etag is not None and not self.etag.startswith("W/") else self.modified
        return found if found is not None and found.isprintable() else None

    def allows(self, later: _Version) -> bool:
        """May a later answer be of the same file? It must tell something that we know, and that as we know it."""
        told = [(a, b) for a, b in zip(self, later, strict=True) if b is not None]
        return all(a == b for a, b in told) and bool(told)

    @property
    def is_known(self) -> bool:
        """Can another version be told from this one at all?"""
        return any(item is not None for item in self)


class HttpSource(Source):
    """
    The file at an address. seekable: the server has ranges.

    fetched: bytes of its body received so far, those that nobody wanted included. requests: how many it took.
    """

    remote = True

    def __init__(
        self,
        url: str,
        *,
        transport: Transport | None = None,
        client: HttpClient | None = None,
        size: int | None = None,
        memory: int = 0,
        first: tuple[int, int | None] = (0, None),
    ) -> None:
        """
        client: to be used instead of one of our own; it stays open. size: bytes that the file must have.
        first: the range of the first request, which tells whether the server has ranges. No more is asked for until a
            seek or a read goes farther; when it does not begin at 0, go to it with a seek.

        Raises UsageError when url is no address, SourceError when there is nothing to be read there.
        """
        super().__init__(public_name(url), size)
        self.memory = memory
        self.fetched = self.requests = 0
        self._url = self._address = url
        self._client = client or HttpClient(transport)
        self._owned = client is None
        self._attempts = Attempts(self._client.transport)
        self._version = _Version(None, None, size)
        self._started = False
        self._ranges = True
        self._response: HttpResponse | None = None
        self._first = self._here = 0  # where the response began, and where its next byte is
        self._until: int | None = None  # what the response was asked for ends here; None: with the file
        self._scratch: memoryview | None = None
        try:
            self._attempts.run(lambda: self._ask(*first))
        except BaseException:
            self.close()
            raise
        self.seekable = self._ranges

    def close(self) -> None:
        self._let_go(keep=not self._owned)
        if self._owned:
            self._client.close()

    def _read(self, buffer: memoryview) -> int:
        position = self.taken + len(self._peeked)
        stop = self._stop()
        room = buffer if stop is None else buffer[: max(stop - position, 0)]
        while room:
            try:
                got = self._response_at(position, stop).readinto(room)
                if not got and position == self._first and self._ranges and stop is not None:
                    raise Temporary(f"cannot read {self.name}: the server answered with no bytes at all")
            except Temporary as error:
                self._broke(error)
                continue
            self._took(got)
            if not got and stop is not None:
                self._let_go(keep=True)
                if not self._ranges:
                    raise SourceError(f"{self.name} ended on the server after {position} of {self.size} bytes")
                continue  # a server may send less than it was asked for, and say so
            return got
        return 0

    def _pull(self, take: Take, size: int) -> Pulled | None:
        stop = self._stop()
        response = self._response
        if response is None or self._here != self.taken or not self._reaches(self.taken, stop):
            return None
        try:
            pulled = response.pull(take, size if stop is None else min(size, max(stop - self.taken, 0)))
        except Temporary as error:
            self._broke(error)
            return None
        self._took(0 if pulled is None else pulled.moved)
        return pulled

    def _stop(self) -> int | None:
        """Where what is wanted ends, None: with the answer."""
        return self.size if self._end is None or self.size is None else min(self._end, self.size)

    def _took(self, size: int) -> None:
        self._here += size
        self.fetched += size
        if size:
            self._attempts.progress()

    def _broke(self, error: Temporary) -> None:
        """An answer broke off: wait, so that the rest is asked for next. Raises SourceError when that is no use."""
        self._let_go(keep=False)
        self._address = self._url
        if not self._version.is_known:
            raise SourceError(f"{error}; it cannot go on from there, run the same command again") from error
        self._attempts.failed(error)

    def _reaches(self, position: int, stop: int | None) -> bool:
        """Has the response, if it is read to its end, the bytes from `position` to `stop`?"""
        until = self._until
        return until is None or (stop is not None and stop <= until) or (self._end is None and position < until)

    def _response_at(self, position: int, stop: int | None) -> HttpResponse:
        """An answer whose next byte is the one at `position`, and which has the bytes up to `stop`."""
        if self._response is not None:
            ahead = position - self._here
            if not (self._reaches(position, stop) and 0 <= ahead <= (KEEP if self._ranges else position)):
                self._let_go(keep=True)
        if self._response is None:
            self._ask(position, stop)
        assert self._response is not None  # or _ask would have raised
        self._skip(self._response, position)
        return self._response

    def _skip(self, response: HttpResponse, position: int) -> None:
        if self._here < position and self._scratch is None:
            self._scratch = memoryview(bytearray(_SCRATCH))
        while self._here < position and self._scratch is not None:
            got = response.readinto(self._scratch[: position - self._here])
            if not got:
                raise Temporary(f"cannot read {self.name}: the answer ended before byte {position}")
            self._here += got
            self.fetched += got

    def _let_go(self, *, keep: bool) -> None:
        """Be done with the response; with `keep` a short rest is read, so that its connection can be used again."""
        response, self._response = self._response, None
        if response is None:
            return
        if keep:
            self.fetched += response.close()
        else:
            response.abandon()

    def _ask(self, position: int, stop: int | None) -> None:
        """Send a request for the bytes from `position` to `stop`, or of the whole file without ranges."""
        until = None if stop is None or stop == self.size else stop
        headers = {}
        if self._ranges:
            headers["Range"] = f"bytes={position}-{'' if until is None else until - 1}"
            if self._started and self._version.if_range is not None:
                headers["If-Range"] = self._version.if_range
        before = self._client.requests
        try:
            response = self._client.open("GET", self._address, headers)
        finally:
            self.requests += self._client.requests - before
        try:
            again = self._accept(response, position, until)
        except BaseException:
            response.abandon()
            raise
        if again:
            response.close()
            self._ask(position, stop)
            return
        self._response, self._until = response, until if self._ranges else None
        # Later requests go straight to where this one was sent to in the end, for as long as that answers.
        self._address = response.url

    def _accept(self, response: HttpResponse, position: int, until: int | None) -> bool:
        """Look at an answer's head. True: ask again, in another way. Raises SourceError when it will not do."""
        status = response.status
        if status == 416 and not self._started and self._ranges:  # of an empty file no range can be had
            self._ranges = False
            return True
        if status in _OLD_ADDRESS and self._address != self._url:
            self._address = self._url
            return True
        if status == 416:
            raise self._changed()
        response.expect(200, 206)
        coding = response.headers.get("Content-Encoding", "identity")
        if coding != "identity":
            raise SourceError(
                f"{self.name}: the server compressed the file on its own ({one_line(coding, 40)});"
                " let it send it as it is"
            )
        if status == 200:
            if self._started and self._ranges:
                raise self._changed()
            self._ranges = False
            self._first = self._here = 0
            self._is_same(response, response.length)
        else:
            total = self._check_range(response, position, until)
            if total is None and not self._started:  # no way to know where the file ends
                self._ranges = False
                return True
            self._first = self._here = position
            self._is_same(response, total)
        return False

    def _check_range(self, response: HttpResponse, position: int, until: int | None) -> int | None:
        """The file's length, None when it is not told. Raises SourceError unless this is a range that we want."""
        text = response.headers.get("Content-Range", "")
        found = _CONTENT_RANGE.fullmatch(text.strip())
        if found is not None and self._ranges:
            first, last = int(found[1]), int(found[2])
            total = None if found[3] == "*" else int(found[3])
            known = total if total is not None else self.size
            right = first == position and first <= last
            right = right and (until is None or last < until) and (known is None or last < known)
            if right and response.length in (None, last - first + 1):
                return total
        asked = f"bytes {position}-{'' if until is None else until - 1}"
        said = one_line(text, 80) or "no range"
        raise SourceError(f"{self.name}: the server was asked for {asked}, and answered with {said}")

    def _is_same(self, response: HttpResponse, total: int | None) -> None:
        """Raises SourceError when the answer is of another file than the first one was."""
        version = _Version(response.headers.get("ETag"), response.headers.get("Last-Modified"), total)
        if self._started:
            if not self._version.allows(version):
                raise self._changed()
            return
        if total is not None and total >= _SIZE_LIMIT:
            raise SourceError(f"{self.name} has more bytes than any file can have, if its server is to be believed")
        if self.size is not None and total not in (None, self.size):
            raise SourceError(f"{self.name} has {total} bytes on the server, and {self.size} were announced")
        self._started = True
        self.size = total if self.size is None else self.size
        self.end_is_told = self.size is not None or response.end_is_told
        self._version = version

    def _changed(self) -> SourceError:
        return SourceError(f"{self.name} has changed on the server while it was read; run the same command again")
