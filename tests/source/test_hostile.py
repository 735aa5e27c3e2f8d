"""Whatever a server says, it comes out as an error of the source (or of the data), soon, and in little memory."""

import socket
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hupfast.errors import DataError, HupfastError, Refused, SourceError
from hupfast.oci.reference import parse_reference
from hupfast.oci.registry import Registry
from hupfast.source.http import HttpClient
from hupfast.source.oci import OciSource
from hupfast.source.remote import HttpSource
from hupfast.source.transport import Transport
from rawserver import RawServer, raw_server

FAST = Transport(sleep=lambda seconds: None, retries=2, stall_timeout=1, connect_timeout=1)
READ = 2**16
ANY = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=20)
LATE = ["Wed, 01 Jan 2020 00:00:00 +99999999999999999999999", f"Wed, 01 Jan {'9' * 20} 00:00:00 GMT", "9" * 5000, "-1"]
PLACES = [
    *("http://[", "//[x/", "http://a..b/", f"http://{'a' * 64}/", "http://h:99999/", "http://h:0/", "http://h:x/"),
    *("/f", "", "?", "#", "http://u:p@h/", "https://", "ftp://h/", "//", "\\\\", "http://h\xe9/", "/\x00"),
]
RANGES = ["bytes 0-9/10", "bytes 0-9/*", "bytes 5-9/10", "bytes */10", "bytes 0-0/1", f"bytes 0-9/{'9' * 30}"]
REALMS = [f'Bearer realm="{place}"' for place in PLACES] + ["Bearer", "Basic", 'Bearer realm="', "=", ","]
SIZES = [b"5\r\nhello\r\n", b"0\r\n\r\n", b"-5\r\n", b"5_0\r\n", b"\r\n", b"ffffffffffffffff\r\n", b"0\r\nX: y\r\n\r\n"]
STATUS = st.sampled_from([100, 101, 200, 201, 202, 204, 206, 301, 302, 307, 401, 403, 404, 416, 429, 503, 999])


def header(name: str, values: list[str]) -> st.SearchStrategy[bytes]:
    """A line of a head, with one of these values, or any."""
    return st.one_of(st.sampled_from(values), ANY).map(lambda value: f"{name}: {value}\r\n".encode("latin-1"))


HEADERS = st.lists(
    st.one_of(
        header("Location", PLACES),
        header("Content-Range", RANGES),
        header("Content-Length", ["0", "10", "-1", "5_0", "9" * 30, "9" * 5000]),
        header("Transfer-Encoding", ["chunked", "gzip"]),
        header("Content-Encoding", ["identity", "gzip", "\x1b[2J"]),
        header("Retry-After", LATE),
        header("WWW-Authenticate", REALMS),
        header("ETag", ['"a"', 'W/"a"', "\x01"]),
        header("Connection", ["close", "keep-alive"]),
        st.binary(max_size=20).map(lambda data: data + b"\r\n"),
    ),
    max_size=5,
).map(b"".join)
BODIES = st.one_of(
    st.lists(st.sampled_from(SIZES), max_size=3).map(b"".join),
    st.sampled_from([b"[]" * 3000, b'{"token": "t"}', b'{"errors": [{"code": "\\u001b[2J"}]}', b"0123456789"]),
    st.binary(max_size=20),
)
ANSWERS = st.one_of(
    st.builds(lambda status, head, body: b"HTTP/1.1 %d x\r\n%s\r\n%s" % (status, head, body), STATUS, HEADERS, BODIES),
    st.binary(max_size=40),
)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    """A server whose answers each example sets."""
    with raw_server(lambda request: b"") as running:
        yield running


@pytest.fixture(autouse=True)
def _nobody_else_is_asked(monkeypatch):
    """No name is looked up in the network; what the resolver does before that, it does."""
    real = socket.getaddrinfo

    def numeric(host, port, family=0, type=0, proto=0, flags=0):
        return real(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", numeric)


def tried(server: RawServer, answers: list[bytes], call, *kinds: type[HupfastError]) -> None:
    """Call with a server that gives these answers, the last one for ever: only such an error may come out, soon."""
    server.requests.clear()
    server.answer = lambda request: answers[min(len(server.requests), len(answers)) - 1]
    start = time.monotonic()
    with suppress(*kinds):
        call()
    assert time.monotonic() - start < 5
    assert len(server.requests) < 100


@FUZZ
@given(st.lists(ANSWERS, min_size=1, max_size=4))
def test_a_file(server: RawServer, answers: list[bytes]) -> None:
    """Read from its start, and from the middle."""

    def call() -> None:
        with HttpSource(server.url("f"), transport=FAST) as source:
            room = memoryview(bytearray(READ))
            source.readinto(room)
            if source.seekable:
                source.seek(3, 8)
            while source.taken < READ and source.readinto(room):
                pass

    tried(server, answers, call, SourceError)


@FUZZ
@given(st.lists(ANSWERS, min_size=1, max_size=4), st.sampled_from(["read", "push"]))
def test_a_registry(server: RawServer, answers: list[bytes], what: str) -> None:
    """Asked for a manifest and for a place to put a blob."""

    def call() -> None:
        location = f"oci://127.0.0.1:{server.port}/os:1"
        if what == "read":
            with OciSource(location, transport=FAST) as source:
                source.peek(1000)
        with Registry(parse_reference(location), FAST) as registry:
            registry.has_blob("sha256:" + "0" * 64, 4)
            registry.upload("sha256:" + "0" * 64, 4, BytesIO(b"blob"))
            registry.put_manifest(b"{}")

    tried(server, answers, call, SourceError, DataError, Refused)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("status", [202, 302, 401])
def test_addresses_of_a_server(server: RawServer, status: int, place: str) -> None:
    """Where it sends us to, for an upload, another address or a token: no wrong usage of ours."""
    location = place.encode("latin-1")
    answer = b'HTTP/1.1 %d x\r\nLocation: %s\r\nWWW-Authenticate: Bearer realm="%s"\r\nContent-Length: 0\r\n\r\n'
    server.answer = lambda request: answer % (status, location, location)
    with (
        Registry(parse_reference(f"oci://127.0.0.1:{server.port}/os:1"), FAST) as registry,
        pytest.raises(SourceError) as caught,
    ):
        registry.upload("sha256:" + "0" * 64, 4, BytesIO(b"blob"))
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("value", LATE)
def test_a_time_that_is_none(server: RawServer, value: str) -> None:
    """A Retry-After that no date can hold is passed over."""
    server.answer = lambda request: f"HTTP/1.1 503 x\r\nRetry-After: {value}\r\n\r\n".encode()
    with pytest.raises(SourceError, match="503"):
        HttpSource(server.url("f"), transport=FAST)


def test_nothing_a_server_says_steers_the_terminal(server: RawServer) -> None:
    """Neither what it gives as a reason, nor as a range or a coding, nor an error of a registry."""
    evil = b"\x1b]0;evil\x07\x9b2J\x00"
    said = []
    for answer in (
        b"HTTP/1.1 404 " + evil + b"\r\n\r\n",
        evil + b"\r\n\r\n",
        b"HTTP/1.1 206 x\r\nContent-Range: " + evil + b"\r\n\r\n",
        b"HTTP/1.1 200 x\r\nContent-Encoding: " + evil + b"\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: ftp://" + evil + b"\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: http://[" + evil + b"/\r\n\r\n",
        b'HTTP/1.1 403 x\r\n\r\n{"errors": [{"code": "\\u001b[2J\\u202e"}]}',
    ):
        server.answer = lambda request, answer=answer: answer
        with pytest.raises(SourceError) as caught:
            HttpSource(server.url("f"), transport=FAST)
        said.append(str(caught.value))
        with pytest.raises((SourceError, DataError)) as caught:
            OciSource(f"oci://127.0.0.1:{server.port}/os:1", transport=FAST)
        said.append(str(caught.value))
    assert [text for text in said if not text.isprintable()] == []


@pytest.mark.parametrize("pieces", [b"[],", b"{},", b'{"":0},', b'"",', b"0,"])
def test_a_manifest_takes_little_memory(server: RawServer, pieces: bytes) -> None:
    """One of nothing but values does not become many times as large when it is understood."""
    body = (b"[" + pieces * (2**20 // len(pieces)))[: 2**20 - 2] + b"0]"
    server.answer = lambda request: b"HTTP/1.1 200 x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            OciSource(f"oci://127.0.0.1:{server.port}/os:1", transport=FAST)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(body) + 6 * 2**20


def test_a_login_that_a_redirect_has_lost(monkeypatch: pytest.MonkeyPatch, server: RawServer) -> None:
    """The message says that it was not sent, and which address to name."""
    monkeypatch.setenv("HUPFAST_AUTH", "bearer s3cret")
    with (
        raw_server(lambda request: b"HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n") as other,
        HttpClient(FAST) as client,
    ):
        server.requests.clear()
        server.answer = lambda request: b"HTTP/1.1 302 x\r\nLocation: %s\r\n\r\n" % other.url("f").encode()
        with client.open("GET", server.url("f")) as response, pytest.raises(SourceError) as caught:
            response.expect(200)
        assert b"Authorization: Bearer s3cret" in server.requests[0]
        assert b"Authorization" not in other.requests[0]
    assert f"login was not sent, because {server.url('f')} has led there" in str(caught.value)
    assert str(caught.value).endswith(f"give the address {other.url('f')}")
