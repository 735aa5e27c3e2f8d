"""http(s) sources, against a small server of our own that can misbehave."""

import base64
import gzip
import http.server
import lzma
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from hupfast.errors import SourceError, UsageError
from hupfast.source import Source, open_source
from hupfast.source.remote import HttpSource, public_name

DATA = bytes(range(251)) * 2000


def read_all(source: Source) -> bytes:
    out = bytearray()
    buffer = bytearray(2**16)
    while got := source.readinto(memoryview(buffer)):
        out += buffer[:got]
    return bytes(out)


class Handler(http.server.BaseHTTPRequestHandler):
    """Each path is one behaviour."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        self.close_connection = True
        getattr(self, "send_" + self.path[1:].partition("?")[0].replace(".", "_"), self.send_nothing_here)()

    def head(self, length: int | None, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send_nothing_here(self) -> None:
        self.send_error(404)

    def send_whole(self) -> None:
        self.head(len(DATA))
        self.wfile.write(DATA)

    def send_no_length(self) -> None:
        self.head(None)
        self.wfile.write(DATA)

    def send_empty(self) -> None:
        self.head(0)

    def send_short(self) -> None:
        self.head(len(DATA))
        self.wfile.write(DATA[:-1])

    def send_chunked(self) -> None:
        self.head(None, Transfer_Encoding="chunked")
        for start in range(0, len(DATA), 70_000):
            piece = DATA[start : start + 70_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def send_chunked_short(self) -> None:
        self.head(None, Transfer_Encoding="chunked")
        self.wfile.write(b"%x\r\n%s\r\n" % (len(DATA), DATA))

    def send_stall(self) -> None:
        self.head(len(DATA))
        self.wfile.write(DATA[:1000])
        self.wfile.flush()
        self.server.stop.wait(10)

    def send_mute(self) -> None:
        self.server.stop.wait(10)

    def send_gzip(self) -> None:
        packed = gzip.compress(DATA)
        self.head(len(packed))
        self.wfile.write(packed)

    def send_xz(self) -> None:
        packed = lzma.compress(DATA)
        self.head(len(packed))
        self.wfile.write(packed)

    def send_encoded(self) -> None:
        packed = gzip.compress(DATA)
        self.head(len(packed), Content_Encoding="gzip")
        self.wfile.write(packed)

    def send_moved(self) -> None:
        self.head(0, 302, Location="/whole")

    def send_moved_to_file(self) -> None:
        self.head(0, 302, Location="file:///etc/passwd")

    def send_moved_to_http(self) -> None:
        self.head(0, 302, Location=self.server.elsewhere)

    def send_round(self) -> None:
        self.head(0, 302, Location="/round")

    def send_error_500(self) -> None:
        self.send_error(500, "Broken")

    def send_partial(self) -> None:
        self.head(3, 206)
        self.wfile.write(DATA[:3])

    def send_nonsense(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")


class Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stop = threading.Event()
        self.elsewhere = ""
        self.scheme = "http"

    def url(self, path: str) -> str:
        return f"{self.scheme}://localhost:{self.server_port}/{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that goes away early is what many of these tests are about


def serve(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    yield from serve(Server())


@pytest.mark.parametrize("path", ["whole", "no_length", "chunked", "moved"])
def test_body_comes_whole(server, path):
    """A body comes whole: with a length, without one, in chunks, behind a redirect."""
    with open_source(server.url(path)) as source:
        assert source.size == (len(DATA) if path in ("whole", "moved") else None)
        assert (source.seekable, source.fileno()) == (False, None)
        assert source.peek(64) == DATA[:64]
        assert read_all(source) == DATA


def test_empty_body(server):
    """A body of no bytes is an empty source."""
    with open_source(server.url("empty")) as source:
        assert read_all(source) == b""


def test_compressed_file(server):
    """A gzip file behind an address is decoded like one on disk."""
    with open_source(server.url("gzip")) as source:
        assert source.format == "raw"
        assert read_all(source) == DATA


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nothing", "404 Not Found"),
        ("error_500", "500 Broken"),
        ("partial", "206"),
        ("encoded", r"compressed the file on its own \(gzip\)"),
        ("moved_to_file", "'file:///etc/passwd' is not allowed"),
        ("round", "redirect"),
        ("nonsense", "SSH-2.0-OpenSSH"),
    ],
)
def test_bad_answer(server, path, reason):
    """An answer that is not the file is a SourceError with the address and the reason."""
    with pytest.raises(SourceError, match=reason) as caught:
        open_source(server.url(path))

    assert server.url(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(("path", "reason"), [("short", "after 501999 of 502000 bytes"), ("chunked_short", "middle")])
def test_short_body(server, path, reason):
    """A body that ends early is a SourceError, not the end of the image."""
    with open_source(server.url(path)) as source, pytest.raises(SourceError, match=reason):
        read_all(source)


@pytest.mark.parametrize("path", ["stall", "mute"])
def test_server_that_stops_sending(server, path):
    """A server that sends nothing for the time-out is given up, before its answer and in the middle of it."""
    with (
        pytest.raises(SourceError, match=r"sent nothing for 0\.2 s"),
        HttpSource(server.url(path), timeout=0.2) as source,
    ):
        read_all(source)


def test_nobody_listens():
    """A refused connection is a SourceError with the address and the reason."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SourceError, match=f"http://127.0.0.1:{port}/x: Connection refused"):
        open_source(f"http://127.0.0.1:{port}/x")


def test_unknown_host(monkeypatch):
    """A name that cannot be resolved is a SourceError that says so."""

    def fail(*args: object, **more: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(SourceError, match="name cannot be found"):
        open_source("http://board.invalid/image")


def test_password_goes_to_its_server_only(server):
    """User and password of an address become a header that no redirect gets, and are never shown."""
    host = server.url("").removeprefix("http://")
    with open_source(f"http://me%40home:s3cret@{host}moved?token=hidden") as source:
        assert source.name == server.url("moved") + "?..."

    first, second = server.requests
    assert first[0] == "/moved?token=hidden"
    assert base64.b64decode(first[1]["Authorization"].removeprefix("Basic ")) == b"me@home:s3cret"
    assert "Authorization" not in second[1]

    with pytest.raises(SourceError) as caught:
        open_source(f"http://me:s3cret@{host}nothing?token=hidden")
    assert "s3cret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://host/a/b", "http://host/a/b"),
        ("https://u:p@host:80/a?x=1#y", "https://host:80/a?..."),
        ("http://u:p@/x", "http:///x"),
        ("http://a@b@host/p@q", "http://host/p@q"),
        ("http://host?x", "http://host?..."),
    ],
)
def test_public_name(url, public):
    """What may be secret in an address is left out of its name."""
    assert public_name(url) == public


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///path", "http://host:port/", "http://[::1/x", "http://host/a b", "http://host/ä"],
)
def test_not_an_address(url):
    """Something that is no address is wrong usage."""
    with pytest.raises(UsageError, match="is not an address"):
        open_source(url)


@pytest.fixture
def tls(tmp_path, monkeypatch):
    """A server with a certificate of its own, and that certificate's file."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *command.split(), *names], check=True, capture_output=True)
    monkeypatch.setenv("no_proxy", "*")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Server()
    server.scheme = "https"
    server.socket = context.wrap_socket(server.socket, server_side=True)
    for running in serve(server):
        yield running, certificate


def test_https_needs_a_known_certificate(tls, monkeypatch):
    """A certificate that nobody vouches for is refused; one that is trusted is accepted."""
    server, certificate = tls
    with pytest.raises(SourceError, match="certificate"):
        open_source(server.url("whole"))

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with open_source(server.url("whole")) as source:
        assert read_all(source) == DATA


def test_https_is_not_left_by_a_redirect(tls, server, monkeypatch):
    """A redirect from https to http is refused."""
    secure, certificate = tls
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure.elsewhere = server.url("whole")
    with pytest.raises(SourceError, match=r"which is not https"):
        open_source(secure.url("moved_to_http"))

    assert server.requests == []


def test_memory_of_http_is_part_of_the_budget(server):
    """What Python's http takes is told, and leaves room in the default budget for xz at its default level."""
    with open_source(server.url("whole")) as plain, open_source(server.url("xz")) as packed:
        assert plain.memory == 6 * 2**20
        assert plain.memory < packed.memory <= 15 * 2**20
        assert read_all(packed) == DATA
    with open_source(server.url("whole"), memory=2 * 2**20) as small:
        assert small.memory == 2**20
