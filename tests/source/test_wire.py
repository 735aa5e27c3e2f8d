"""What a server may send before and between the bytes of a body, and for how long."""

import time
from collections.abc import Iterator

import pytest

from hupfast.errors import SourceError
from hupfast.source.http import HttpClient
from hupfast.source.retry import Temporary
from hupfast.source.transport import Transport
from hupfast.source.wire import LIMIT
from rawserver import raw_server

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def fetch(answer, **transport) -> bytes:
    """The body of an answer."""
    with (
        raw_server(lambda request: answer() if callable(answer) else answer) as server,
        HttpClient(Transport(**transport)) as client,
        client.open("GET", server.url("f")) as response,
    ):
        return response.expect(200).read_all(2**20)


def endless(start: bytes, piece: bytes, pause: float = 0.0):
    """A function that gives an answer without an end."""

    def answer() -> Iterator[bytes]:
        yield start
        while True:
            yield piece
            time.sleep(pause)

    return answer


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5;name=value\r\nhello\r\n00A \r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", b"hello0123456789"),
        (b"5\nhello\n0\n\n", b"hello"),
        (b"4E20\r\n" + b"x" * 20_000 + b"\r\n0\r\n\r\n", b"x" * 20_000),
    ],
)
def test_chunks(body, data):
    """Chunks come out as what is in them, whatever stands between them."""
    assert fetch(CHUNKED + body) == data


ENTIRE = HEAD + b"ETag: x\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize("size", range(len(HEAD) - 2, len(ENTIRE)))
def test_a_head_that_breaks_off(size):
    """Half a head is not taken for one without the rest of its lines: another try may bring all of it."""
    with pytest.raises(Temporary):
        fetch(ENTIRE[:size])


@pytest.mark.parametrize("size", [b"-5", b"+5", b"0x5", b"5_0", b"", b" ", b"x", b"f" * 16, b";5", b"\xb2"])
def test_what_is_no_size_of_a_chunk(size):
    """Nothing but hex digits is one: the source has failed, and another try would not help."""
    with pytest.raises(SourceError, match=r"f: the server sent .* as the size of a chunk") as caught:
        fetch(CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n")
    assert not isinstance(caught.value, Temporary)


def test_a_chunk_of_another_size():
    """Bytes behind the end of a chunk are no chunk."""
    with pytest.raises(SourceError, match="another size than it said"):
        fetch(CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n")


@pytest.mark.parametrize("body", [b"", b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n", b"5"])
def test_chunks_that_break_off(body):
    """The end of the connection is not the end of the file."""
    with pytest.raises(Temporary, match="in the middle of the file"):
        fetch(CHUNKED + body)


@pytest.mark.parametrize(
    "answer",
    [
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        endless(b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 100),
        endless(HEAD, b"X: " + b"y" * 60_000 + b"\r\n"),
        endless(CHUNKED + b"0\r\n", b"X: y\r\n" * 500),
    ],
    ids=["100", "100 with headers", "long headers", "trailers"],
)
def test_what_has_no_end(answer):
    """A head or trailer that goes on and on is given up after a number of bytes."""
    with pytest.raises(SourceError, match=f"more than {LIMIT} bytes") as caught:
        fetch(answer)
    assert not isinstance(caught.value, Temporary)


@pytest.mark.parametrize(
    "answer",
    [
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
        endless(HEAD + b"X: ", b"y", 0.02),
        endless(CHUNKED + b"0\r\nX: ", b"y", 0.02),
        endless(CHUNKED + b"0", b"0", 0.02),
    ],
    ids=["100", "header", "trailer", "size"],
)
def test_what_comes_too_slowly(answer):
    """A byte now and then does not hold us up: the head of an answer has the time-out for all of it."""
    start = time.monotonic()
    with pytest.raises(Temporary, match=r"did not come to the file within 0\.2 s"):
        fetch(answer, stall_timeout=0.2)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("pause", "reason"), [(0.0, f"more than {LIMIT} bytes"), (0.02, r"no connection within 0\.2 s")]
)
def test_a_proxy_without_an_end(monkeypatch, pause, reason):
    """What a proxy says to CONNECT is bounded as well."""
    answer = endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * (1 if pause else 500), pause)
    with raw_server(lambda request: answer()) as server, HttpClient(Transport(connect_timeout=0.2)) as client:
        monkeypatch.setenv("https_proxy", server.url())
        with pytest.raises(SourceError, match=reason):
            client.open("GET", "https://host.example/f")
        assert server.requests[0].startswith(b"CONNECT host.example:443 ")


def test_a_body_may_come_slowly():
    """Its bytes have the time-out each, also behind a head that took some of it."""

    def answer() -> Iterator[bytes]:
        yield HEAD
        time.sleep(0.15)
        yield b"Content-Length: 10\r\n\r\n"
        for _ in range(10):
            time.sleep(0.05)
            yield b"x"

    assert fetch(answer, stall_timeout=0.25) == b"x" * 10
