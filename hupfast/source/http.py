"""
A client for HTTP/1.1: one request, one answer, over connections that stay open where the server lets them.

    with HttpClient(Transport(ca_file="ca.pem")) as client:
        with client.open("GET", "https://host/file", {"Range": "bytes=0-99"}) as response:
            response.expect(206)
            got = response.readinto(memory)

It is built on http.client and ssl of the standard library: 4.9 MB with all that they import, less than libcurl.
What it adds: redirects, proxies, logging in, time-outs that tell connecting from silence, bounds for what is no body
(wire.py), a limit for bytes a second, and errors in words. It does not try again: see retry.py for that, whose
Temporary it raises.
"""

from __future__ import annotations

import http.client
import io
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO, cast

from hupfast.errors import SourceError
from hupfast.source.address import Address, Origin, parse, redirected
from hupfast.source.auth import credentials
from hupfast.source.connection import connect, explained, is_stale, tls_context
from hupfast.source.pace import Pace
from hupfast.source.proxy import Proxy, proxy_for
from hupfast.source.response import HttpResponse
from hupfast.source.transport import Transport

if TYPE_CHECKING:
    from types import TracebackType

    from hupfast.source.wire import Response

__all__ = ["Authorizer", "HttpClient", "HttpResponse"]

Authorizer = Callable[[str, http.client.HTTPMessage], str | None]
"""Takes an address and the headers of its answer 401; gives the value of Authorization for its server, or None."""

Body = bytes | BinaryIO
_Key = tuple[Origin, Proxy | None]

_REDIRECTS_MAX = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_REPEATABLE = ("GET", "HEAD", "PUT", "DELETE")
_HEADERS = {"User-Agent": "hupfast", "Accept-Encoding": "identity"}


class HttpClient:
    """
    Sends requests, and keeps connections. A context manager; not for two threads at once.

    Credentials of the transport go to the server of the first address that is opened, and to no other.

    authorizer: asked when a server answers 401, once in each open(); its server gets what it gives from then on.
    requests: how many were sent, redirects and repetitions included.
    """

    def __init__(self, transport: Transport | None = None) -> None:
        """Raises UsageError when what to log in with cannot be read."""
        self.transport = transport or Transport()
        self.authorizer: Authorizer | None = None
        self.requests = 0
        self.credentials = credentials(self.transport)
        self._home: Origin | None = None
        self._granted: dict[Origin, str] = {}
        self._idle: dict[_Key, http.client.HTTPConnection] = {}
        self._context: ssl.SSLContext | None = None
        self._pace = Pace(self.transport)
        self._closed = False

    def open(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Body | None = None
    ) -> HttpResponse:
        """
        Send a request, follow redirects, and return the answer, whatever its status is; close it.

        body: bytes, or a file, whose length stands in headers["Content-Length"]; it is read from where it stands,
            and again from there when the request has to be repeated.
        An Authorization in headers goes to the server of `url` only.
        Raises UsageError when url is no address, SourceError when there is no answer, Temporary (a SourceError)
        when there may be one the next time.
        """
        address = parse(url)
        self._home = self._home or address.origin
        request = _Request(method, address, dict(headers or {}), body)
        may_ask = self.authorizer is not None
        for _ in range(_REDIRECTS_MAX + 1 + may_ask):
            response = self._send(request)
            try:
                if response.status == 401 and may_ask:
                    may_ask = False
                    if not self._ask(request, response):
                        return response
                elif response.status not in _REDIRECTS or not request.follow(response):
                    return response
            except BaseException:
                response.abandon()
                raise
            response.close()
        raise SourceError(f"{address.name} redirects more than {_REDIRECTS_MAX} times: it may go round in a circle")

    def close(self) -> None:
        """Close what is idle. Answers that are still open close their own connections."""
        self._closed = True
        for connection in self._idle.values():
            connection.close()
        self._idle.clear()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: _Request, response: HttpResponse) -> bool:
        """Let the authorizer answer a 401. Its own requests do not ask it again."""
        authorizer, self.authorizer = self.authorizer, None
        try:
            granted = authorizer(request.address.url, response.headers) if authorizer is not None else None
        finally:
            self.authorizer = authorizer
        if granted is None:
            return False
        self._granted[request.address.origin] = granted
        request.headers.pop("Authorization", None)
        return True

    def _send(self, request: _Request) -> HttpResponse:
        address = request.address
        proxy = proxy_for(address)
        key = (address.origin, proxy)
        idle = self._idle.pop(key, None)
        if idle is not None and is_stale(idle):
            idle.close()
            idle = None
        if idle is not None:
            try:
                return self._exchange(idle, request, key)
            except (ConnectionError, ssl.SSLEOFError) as error:
                # The server has given up the idle connection just now. Has it seen the request? If that matters:
                if request.method not in _REPEATABLE:
                    raise explained(error, request.doing, self.transport) from error
            except (OSError, http.client.HTTPException) as error:
                raise explained(error, request.doing, self.transport) from error
        try:
            return self._exchange(self._connect(address, proxy), request, key)
        except (OSError, http.client.HTTPException) as error:
            raise explained(error, request.doing, self.transport) from error

    def _connect(self, address: Address, proxy: Proxy | None) -> http.client.HTTPConnection:
        context = None
        if address.scheme == "https":
            context = self._context = self._context or tls_context(self.transport)
        try:
            return connect(address, proxy, self.transport, context)
        except TimeoutError as error:
            error.connecting = True  # type: ignore[attr-defined]  # for `explained`
            raise

    def _exchange(self, connection: http.client.HTTPConnection, request: _Request, key: _Key) -> HttpResponse:
        self.requests += 1
        proxy = key[1]
        headers = {**_HEADERS, **request.headers}
        target = request.address.target
        if proxy is not None and request.address.scheme == "http":
            target = request.address.url
            headers.update(proxy.headers)
        if "Authorization" not in headers and (secret := self._secret(request.address.origin)) is not None:
            headers["Authorization"] = secret
        sent = headers.get("Authorization")
        try:
            try:
                body = request.rewound_body()
                paced = None if body is None else _PacedBody(body, self._pace)
                connection.request(request.method, target, paced, headers)
            except (BrokenPipeError, ConnectionResetError):
                if request.body is None:
                    raise
                # A server that wants no more of the body may have said why. What is left of it cannot be taken back.
                response = connection.getresponse()
                response.will_close = True
            else:
                response = connection.getresponse()
        except BaseException:
            connection.close()
            raise

        def done(again: bool) -> None:
            if again and not self._closed and key not in self._idle:
                self._idle[key] = connection
            else:
                connection.close()

        withheld = "" if sent or self.credentials is None else request.withheld
        return HttpResponse(
            cast("Response", response), request.address, request.doing, self.transport, self._pace, done, withheld
        )

    def _secret(self, origin: Origin) -> str | None:
        if origin in self._granted:
            return self._granted[origin]
        return self.credentials if origin == self._home else None


class _PacedBody:
    """What http.client reads of a body, at most as fast as the limit for bytes a second."""

    def __init__(self, body: BinaryIO, pace: Pace) -> None:
        self._body = body
        self._pace = pace

    def read(self, size: int = 2**16, /) -> bytes:
        data = self._body.read(min(size, self._pace.piece or size))
        self._pace.took(len(data))
        return data


class _Request:
    """A request on its way, which redirects change."""

    def __init__(self, method: str, address: Address, headers: dict[str, str], body: Body | None) -> None:
        self.method = method
        self.address = self.first = address
        self.headers = headers
        # As a file, bytes are sent in pieces, each of which has the time-out to itself.
        self.body = io.BytesIO(body) if isinstance(body, bytes) else body
        if isinstance(body, bytes):
            headers["Content-Length"] = str(len(body))
        self._start = self.body.tell() if self.body is not None and self.body.seekable() else None
        self._sent = False

    @property
    def doing(self) -> str:
        verb = "cannot send to" if self.body is not None else "cannot read"
        return f"{verb} {self.address.name}"

    @property
    def withheld(self) -> str:
        """Why there is no Authorization in it, behind a sentence about that."""
        if self.address.origin == self.first.origin:
            return ""
        return (
            f"; the login was not sent, because {self.first.name} has led there: if it is for {self.address.place},"
            f" give the address {self.address.name}"
        )

    def rewound_body(self) -> BinaryIO | None:
        """The body, from its start."""
        if self.body is None:
            return None
        if self._sent:
            if self._start is None:
                raise SourceError(f"{self.doing}: the server wants it again, and it cannot be read twice")
            self.body.seek(self._start)
        self._sent = True
        return self.body

    def follow(self, response: HttpResponse) -> bool:
        """Become the request that an answer redirects to. False: it does not say where to."""
        location = response.headers.get("Location")
        if location is None:
            return False
        address = redirected(self.address, location)
        if address.origin != self.address.origin:
            self.headers.pop("Authorization", None)
        if response.status == 303 or (response.status in (301, 302) and self.method == "POST"):
            self.method = "HEAD" if self.method == "HEAD" else "GET"
            self.body = None
            self.headers.pop("Content-Length", None)
            self.headers.pop("Content-Type", None)
        self.address = address
        return True
