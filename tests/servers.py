"""
Servers for tests: nginx, and one that misbehaves on purpose.

    with nginx(folder) as server:                      # a real one: ranges, ETag, keep-alive
        server.url("image.zst"); server.log(count)
    with misbehaving({"/f": b"..."}, Behaviour(drop_after=1000)) as server:
        server.url("/f"); server.requests; server.sent

Both listen on 127.0.0.1, on ports that the kernel chose, and are gone when the block ends. The keyword `tls` is a
certificate of certificates.py; a proxy is in proxies.py.
"""

import http.client
import http.server
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import pytest

import benchmarks.nginx
from certificates import Certificate

# ---- nginx -------------------------------------------------------------------------------------------------


class Nginx:
    """A running nginx. scheme, host, port: where it listens."""

    def __init__(self, scheme: str, port: int, state: Path) -> None:
        self.scheme = scheme
        self.host = "localhost"
        self.port = port
        self._state = state

    def url(self, path: str = "") -> str:
        """The address of a file in its folder."""
        return f"{self.scheme}://{self.host}:{self.port}/{path.lstrip('/')}"

    def log(self, count: int) -> list[tuple[str, int, int]]:
        """
        For each request that has ended: its Range ("-" for none), status, bytes of the body that were sent.

        Waits a little for `count` of them: nginx writes them after the client has the last byte.
        """
        end = time.monotonic() + 5
        while len(answers := benchmarks.nginx.answers(self._state)) < count and time.monotonic() < end:
            time.sleep(0.01)
        return [(answer.range, answer.status, answer.body) for answer in answers]


@contextmanager
def nginx(folder: Path, *, tls: Certificate | None = None, extra: str = "") -> Iterator[Nginx]:
    """nginx with the files of a folder. extra: more lines for its `server`, "max_ranges 0;" or the like."""
    if benchmarks.nginx.program() is None:
        pytest.skip("nginx is not installed")
    state = folder.parent / f"nginx-{folder.name}-{time.monotonic_ns()}"
    state.mkdir()
    [port] = benchmarks.nginx.free_ports(1)
    certificate = f"ssl_certificate {tls.file}; ssl_certificate_key {tls.key};" if tls else ""
    with benchmarks.nginx.running(folder, state, {port: "ssl" if tls else ""}, certificate + extra):
        yield Nginx("https" if tls else "http", port, state)


# ---- a server that misbehaves ------------------------------------------------------------------------------


class Answer(NamedTuple):
    """An answer without the file: its status and its headers."""

    status: int
    headers: Mapping[str, str] = MappingProxyType({})


@dataclass
class Behaviour:
    """
    What the server does wrong. All of it can be changed while it runs; the default does nothing wrong.

    ranges: honours Range. validators: sends ETag and Last-Modified. length: "told", "chunked" or "" (until it closes).
    hollow: no byte of the body comes. drop_after: bytes of a body after which the connection ends; reset: by RST.
    drop_at: byte of the file before which it does. stall_after: bytes after which nothing comes any more. times: bodies
    to do that to, then no more; -1: all.
    cap: no range goes beyond this byte.
    lie: added to the length that is told. content_range: sent instead of the right one. encoding: Content-Encoding.
    answers: what the first requests get instead. redirects: path to Location. password: value that Authorization
    must have. before: called with the server and the request before it is answered.
    """

    ranges: bool = True
    validators: bool = True
    length: str = "told"
    hollow: bool = False
    drop_after: int | None = None
    drop_at: int | None = None
    reset: bool = False
    stall_after: int | None = None
    times: int = 1
    cap: int | None = None
    lie: int = 0
    content_range: str | None = None
    encoding: str | None = None
    answers: list[Answer] = field(default_factory=list)
    redirects: dict[str, Answer] = field(default_factory=dict)
    password: str | None = None
    before: Callable[["Misbehaving", "Request"], None] | None = None


class Request(NamedTuple):
    """A request that came in. path: with its query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Misbehaving(http.server.ThreadingHTTPServer):
    """The running server. files: by path; may be changed. requests: all so far. sent: bytes of bodies."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, files: dict[str, bytes], behaviour: Behaviour, tls: Certificate | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.behaviour = behaviour
        self.requests: list[Request] = []
        self.sent = 0
        self.connections = 0
        self.stopped = threading.Event()
        self.scheme = "https" if tls else "http"
        self.host = "localhost"
        self._context = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls.file, tls.key)

    def url(self, path: str = "/") -> str:
        """The address of a path."""
        return f"{self.scheme}://{self.host}:{self.server_port}/{path.lstrip('/')}"

    def get_request(self):
        connection, address = super().get_request()
        self.connections += 1
        if self._context is not None:
            connection.settimeout(10)
            try:
                connection = self._context.wrap_socket(connection, server_side=True)
            except BaseException:
                connection.close()
                raise
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that goes away early is what many of these tests are about


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Misbehaving

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server, how = self.server, self.server.behaviour
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, self.path, dict(self.headers), body)
        server.requests.append(request)
        if how.before is not None:
            how.before(server, request)
        path = self.path.partition("?")[0]
        if how.password is not None and self.headers.get("Authorization") != how.password:
            self._answer(Answer(401, {"WWW-Authenticate": 'Basic realm="test"'}))
        elif how.answers:
            self._answer(how.answers.pop(0))
        elif path in how.redirects:
            self._answer(how.redirects[path])
        elif path not in server.files:
            self._answer(Answer(404))
        else:
            self._file(server.files[path])

    do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_GET

    def _answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "5")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"sorry")

    def _file(self, data: bytes) -> None:
        how = self.server.behaviour
        etag = f'"{hash(data):x}"'
        start, end, status = 0, len(data), 200
        asked = self.headers.get("Range")
        fresh = self.headers.get("If-Range") in (None, etag) or not how.validators
        if asked is not None and how.ranges and fresh:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end, status = int(first), min(int(last) + 1 if last else len(data), len(data)), 206
            end = min(end, how.cap or end)
            if start >= len(data):
                self._answer(Answer(416, {"Content-Range": f"bytes */{len(data)}"}))
                return
        self.send_response(status)
        if how.validators:
            self.send_header("ETag", etag)
            self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        if status == 206:
            self.send_header("Content-Range", how.content_range or f"bytes {start}-{end - 1}/{len(data)}")
        if how.encoding is not None:
            self.send_header("Content-Encoding", how.encoding)
        if how.length == "told":
            self.send_header("Content-Length", str(end - start + how.lie))
        elif how.length == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        self.close_connection = how.length == "" or how.lie > 0
        self.end_headers()
        if self.command != "HEAD":
            self._body(b"" if how.hollow else data[start:end], start)

    def _body(self, body: bytes, start: int) -> None:
        how = self.server.behaviour
        limits = [n for n in (how.drop_after, how.stall_after) if n is not None]
        if how.drop_at is not None and start <= how.drop_at < start + len(body):
            limits.append(how.drop_at - start)
        spoil = bool(limits) and how.times != 0
        if spoil:
            how.times -= 1
            body = body[: min(limits)]
        for start in range(0, len(body), 2**16):
            piece = body[start : start + 2**16]
            self.server.sent += len(piece)  # before: who has read it may look at once
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if how.length == "chunked" else piece)
        if not spoil:
            if how.length == "chunked":
                self.wfile.write(b"0\r\n\r\n")
            return
        self.close_connection = True
        if how.stall_after is not None:
            self.server.stopped.wait(10)
        elif how.reset:
            # Time for what was sent to arrive: a reset makes the other side forget what it has not read.
            time.sleep(0.02)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


@contextmanager
def misbehaving(
    files: dict[str, bytes], behaviour: Behaviour | None = None, *, tls: Certificate | None = None
) -> Iterator[Misbehaving]:
    """A server with these files, by path, which does what `behaviour` says."""
    with serving(Misbehaving(files, behaviour or Behaviour(), tls)) as server:
        try:
            yield server
        finally:
            server.stopped.set()


# ---- starting and stopping ----------------------------------------------------------------------------------


_S = TypeVar("_S", bound=socketserver.BaseServer)


@contextmanager
def serving(server: _S) -> Iterator[_S]:
    """Run one of the standard library's servers while the block lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
