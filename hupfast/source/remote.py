"""
An image behind an http:// or https:// address.

The body goes from the socket into the engine's memory. A server that stops sending, sends less than it
announced, or redirects from https to http is a SourceError; so is a body that the server compressed itself
(Content-Encoding), since it could not be told from a compressed image.
"""

from __future__ import annotations

import http.client
import os
import socket
import urllib.error
import urllib.parse
import urllib.request
from typing import IO

from hupfast.errors import SourceError, UsageError
from hupfast.source.base import Source

TIMEOUT = 30.0
"""Seconds without a byte after which a server is given up."""

# A read waits until its buffer is full. On a slow line a large one would keep the caller's progress waiting.
_PIECE = 2**17


class HttpSource(Source):
    """The body of one GET request. Proxies come from the environment, as usual for Python."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT, memory: int = 0) -> None:
        self._timeout = timeout
        address, self._secret = _split(url)
        super().__init__(public_name(url), None)
        self.memory = memory
        self._response = self._open(address)
        try:
            self.size = self._check_head()
        except BaseException:
            self.close()
            raise
        self._got = 0

    def close(self) -> None:
        self._response.close()

    def _open(self, address: str) -> http.client.HTTPResponse:
        headers = {"Accept-Encoding": "identity", "User-Agent": "hupfast"}
        request = urllib.request.Request(address, headers=headers)
        if self._secret:
            # Unredirected: another server must not see the password of this one.
            request.add_unredirected_header("Authorization", self._secret)
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler,
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPErrorProcessor,
            _Redirects,
        ):
            opener.add_handler(handler())
        try:
            response = opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"{error.code} {one_line(error.reason)}"
            raise SourceError(f"{self.name}: the server answered {reason}") from None
        except urllib.error.URLError as error:
            raise self._error(error.reason) from error
        except (http.client.InvalidURL, ValueError) as error:
            raise UsageError(f"{self.name} is not an address: {error}; use %XX for such characters") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._error(error) from error
        assert isinstance(response, http.client.HTTPResponse)  # nothing but http is in the opener
        return response

    def _check_head(self) -> int | None:
        response = self._response
        if response.status != http.client.OK:
            raise SourceError(f"{self.name}: the server answered {response.status} {one_line(response.reason)}")
        coding = response.headers.get("Content-Encoding", "identity")
        if coding != "identity":
            raise SourceError(
                f"{self.name}: the server compressed the file on its own ({coding}); let it send it as it is"
            )
        self.end_is_told = response.length is not None or bool(response.chunked)
        return response.length

    def _read(self, buffer: memoryview) -> int:
        try:
            got = self._response.readinto(buffer[:_PIECE])
        except (OSError, http.client.HTTPException) as error:
            raise self._error(error) from error
        self._got += got
        if not got and buffer and self.size is not None and self._got < self.size:
            raise SourceError(f"{self.name}: the connection ended after {self._got} of {self.size} bytes")
        return got

    def _error(self, error: BaseException | str) -> SourceError:
        reason = one_line(error)
        if isinstance(error, TimeoutError):
            reason = f"the server sent nothing for {self._timeout:g} s"
        elif isinstance(error, socket.gaierror):
            reason = f"the server's name cannot be found ({error.strerror})"
        elif isinstance(error, http.client.IncompleteRead):
            reason = "the connection ended in the middle of the file"
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        number = error.errno if isinstance(error, OSError) else None
        return SourceError(f"cannot read {self.name}: {reason or type(error).__name__}", errno=number)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to anything else: the way would no longer be protected."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        allowed = ("https://",) if req.type == "https" else ("https://", "http://")
        if not newurl.lower().startswith(allowed):
            raise SourceError(
                f"{public_name(req.full_url)} redirects to {public_name(newurl)}, which is not {allowed[-1]}"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def one_line(reason: object) -> str:
    """What urllib says, which may be several lines or what the server sent, as one."""
    return " ".join(str(reason).split())


def public_name(url: str) -> str:
    """The address without what may be secret in it: user, password and query."""
    scheme, _, rest = url.partition("://")
    rest = rest.partition("#")[0]
    path, question, _ = rest.partition("?")
    host, slash, path = path.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{'?...' if question else ''}"


def _split(url: str) -> tuple[str, str | None]:
    """The address without user and password, and the header that carries these. Raises UsageError."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{public_name(url)} is not an address: {error}") from None
    if not parts.hostname:
        raise UsageError(f"{public_name(url)} is not an address: it names no server")
    secret = None
    if parts.username is not None:
        import base64

        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        secret = "Basic " + base64.b64encode(os.fsencode(pair)).decode("ascii")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    return urllib.parse.urlunsplit((parts.scheme, netloc, parts.path, parts.query, "")), secret
