"""Files behind http(s) addresses when lines break, servers are busy, and files change."""

import contextlib
import socket
import threading

import pytest

from hupfast.errors import SourceError
from hupfast.source import open_source
from hupfast.source.remote import HttpSource
from hupfast.source.transport import Transport
from rawserver import raw_server
from remotefile import DATA, serve
from servers import Answer, nginx
from sources import read, read_all

SMALL = 16 * 1024

# ---- lines that break --------------------------------------------------------------------------------------

NS = [0, 1, 100, 8191, 8192, 8193, 65536, 100_000, 131_073, len(DATA) - 1]


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("n", NS)
def test_connection_that_ends_with_ranges(clock, n, reset):
    """Whatever has come before a connection breaks off is not asked for again."""
    with serve(drop_after=n, reset=reset, times=2) as server:
        with HttpSource(server.url("f"), transport=clock.transport()) as source:
            assert read_all(source) == DATA
        if not reset:
            assert server.sent == len(DATA)
        assert server.sent <= len(DATA) + (2**16 if reset else SMALL)
        assert 1 <= len(clock.slept) <= 2


@pytest.mark.parametrize("n", [1000, 30_000])
def test_every_connection_ends(clock, n):
    """A line that breaks after every few bytes brings the file all the same."""
    data = DATA[: 20 * n]
    with serve(data, drop_after=n, reset=True, times=-1) as server:
        with HttpSource(server.url("f"), transport=clock.transport(retries=1)) as source:
            assert read_all(source) == data
        assert len(server.requests) >= len(data) // n
    assert max(clock.slept) == 0.5


@pytest.mark.parametrize("validators", [True, False])
@pytest.mark.parametrize("n", NS)
def test_connection_that_ends_without_ranges(clock, n, validators):
    """Without ranges the file is read again up to where it broke off, even if its length is all that is known."""
    with serve(ranges=False, drop_after=n, validators=validators) as server:
        with HttpSource(server.url("f"), transport=clock.transport()) as source:
            assert read_all(source) == DATA
            assert source.fetched == len(DATA) + n
        assert len(server.requests) == 2


def test_chunked_body_that_breaks_off(clock):
    """A body in chunks is gone on with where an ETag tells that it is the same."""
    with (
        serve(ranges=False, length="chunked", drop_after=100_000) as server,
        HttpSource(server.url("f"), transport=clock.transport()) as source,
    ):
        assert read_all(source) == DATA


def test_body_that_nothing_is_known_about(clock):
    """A body without length and validators is not gone on with: it might be another one by now."""
    with (
        serve(ranges=False, length="chunked", validators=False, drop_after=100_000) as server,
        HttpSource(server.url("f"), transport=clock.transport()) as source,
        pytest.raises(SourceError, match=r"in the middle of the file; .*run the same command again"),
    ):
        read_all(source)
    assert clock.slept == []


def test_length_that_is_a_lie(clock):
    """A body that is shorter than its length says is a connection that broke off, time and again, and not the end."""
    with (
        serve(ranges=False, lie=5) as server,
        HttpSource(server.url("f"), transport=clock.transport(retries=3)) as source,
        pytest.raises(SourceError, match=r"after 502000 of 502005 bytes \(4 tries\); run the same command again"),
    ):
        read_all(source)
    assert clock.slept == [0.5, 1, 2]


@pytest.mark.parametrize("ranges", [True, False])
def test_server_that_stalls(clock, ranges):
    """A server that stops sending is given up after the time-out, and asked for the rest."""
    with serve(stall_after=1000, ranges=ranges) as server:
        with HttpSource(server.url("f"), transport=clock.transport(stall_timeout=0.1)) as source:
            assert read_all(source) == DATA
        assert len(server.requests) == 2


def test_server_that_stays_silent(clock):
    """A server that never sends anything is given up in the end, with the reason."""
    with serve(stall_after=0, times=-1) as server, pytest.raises(SourceError, match=r"sent nothing for 0\.05 s"):
        open_source(server.url("f"), transport=clock.transport(stall_timeout=0.05, retries=1))


def test_server_that_never_answers(clock):
    """A server that takes a connection and says nothing is given up in the end, too."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"http://127.0.0.1:{mute.getsockname()[1]}/f"
        with pytest.raises(SourceError, match=r"sent nothing for 0\.05 s"):
            open_source(address, transport=clock.transport(stall_timeout=0.05, retries=1))


def test_bytes_that_came_with_the_head(clock):
    """What has come is given out at once, and not held until more comes."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(head + DATA[:1000])
                connection.recv(1000)  # until the client has gone

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/f"
        with HttpSource(address, transport=clock.transport(stall_timeout=1)) as source:
            assert source.peek(64) == DATA[:64]
            room = memoryview(bytearray(100_000))
            assert source.readinto(room) == 64
            assert source.readinto(room) == 936
        thread.join()
    assert clock.slept == []


def test_nobody_listens(clock):
    """Where nobody has ever answered, a refused connection is a SourceError at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SourceError, match=f"http://127.0.0.1:{port}/x: Connection refused"):
        open_source(f"http://127.0.0.1:{port}/x", transport=clock.transport())
    assert clock.slept == []


@pytest.mark.parametrize(("code", "tries"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 3)])
def test_unknown_host(monkeypatch, clock, code, tries):
    """A name that does not exist is refused at once; one that cannot be looked up now is tried again."""
    calls = []

    def fail(*args: object, **more: object) -> None:
        calls.append(args)
        raise socket.gaierror(code, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(SourceError, match="name cannot be found"):
        open_source("http://board.invalid/image", transport=clock.transport(retries=2))
    assert len(calls) == tries


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_server_that_takes_no_connection(clock, scheme):
    """A server whose queue is full, and one that says nothing of TLS, is given up after the time for connecting."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as held:
        place = full.getsockname()
        if scheme == "http":
            for _ in range(4):  # the kernel takes one or two more than it is told to
                waiting = held.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(place)
        with pytest.raises(SourceError, match=r"no connection within 0\.1 s \(2 tries\)"):
            open_source(f"{scheme}://127.0.0.1:{place[1]}/f", transport=clock.transport(connect_timeout=0.1, retries=1))


def test_server_that_goes_away(clock):
    """Once it has answered, a server that refuses connections is waited for: it may be starting again."""
    with serve(drop_after=1000) as server:
        source = HttpSource(server.url("f"), transport=clock.transport(retries=3))
    with source, pytest.raises(SourceError, match=r"Connection refused \(4 tries\)"):
        read_all(source)
    assert clock.slept == [0.5, 1, 2]


def test_answers_without_a_byte(clock):
    """A server that announces a range and sends nothing of it is given up in the end."""
    with (
        serve(length="chunked", hollow=True) as server,
        HttpSource(server.url("f"), transport=clock.transport(retries=2)) as source,
        pytest.raises(SourceError, match=r"no bytes at all \(3 tries\)"),
    ):
        read_all(source)


@pytest.mark.parametrize("length", ["", "Transfer-Encoding: chunked\r\n"], ids=["closed", "chunked"])
@pytest.mark.parametrize("good", [0, 1, 2])
def test_ranges_that_are_empty(clock, length, good):
    """The right range with no byte behind it, at once or after answers that were right, counts as a failure."""
    body = b"0\r\n\r\n" if length else b""

    def answer(request: bytes) -> bytes:
        start = int(request.partition(b"bytes=")[2].partition(b"-")[0])
        head = f'HTTP/1.1 206 x\r\nContent-Range: bytes {start}-999/1000\r\nETag: "a"\r\n{length}\r\n'.encode()
        if len(server.requests) > good:
            return head + body
        return head + (b"64\r\n" + bytes(100) + b"\r\n" + body if length else bytes(100))

    with (
        raw_server(answer) as server,
        HttpSource(server.url("f"), transport=clock.transport(retries=3)) as source,
        pytest.raises(SourceError, match=r"no bytes at all \(4 tries\)"),
    ):
        read_all(source)
    assert len(server.requests) == good + 4
    assert clock.slept == [0.5, 1, 2]


def test_ctrl_c_ends_a_wait():
    """An interrupt during a wait for another try comes out at once."""

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    with (
        serve(drop_after=1000) as server,
        HttpSource(server.url("f"), transport=Transport(sleep=interrupted)) as source,
        pytest.raises(KeyboardInterrupt),
    ):
        read_all(source)


# ---- servers that are busy ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_busy_server_is_asked_again(clock, status):
    """A status that may pass is waited for, longer each time."""
    with (
        serve(answers=[Answer(status)] * 3) as server,
        open_source(server.url("f"), transport=clock.transport()) as source,
    ):
        assert read_all(source) == DATA
    assert clock.slept == [0.5, 1, 2]


def test_busy_server_in_the_middle(clock):
    """A server that is busy when the rest is asked for is waited for, as long as it wants."""
    with serve(drop_after=1000) as server, open_source(server.url("f"), transport=clock.transport()) as source:
        server.behaviour.answers = [Answer(503, {"Retry-After": "120"})]
        assert read_all(source) == DATA
    assert clock.slept == [0.5, 120]


def test_busy_for_too_long(clock):
    """A server that wants to be left alone for an hour is left alone by this run."""
    answer = Answer(429, {"Retry-After": "3600"})
    with serve(answers=[answer]) as server, pytest.raises(SourceError, match=r"left alone for 3600 s; run the same"):
        open_source(server.url("f"), transport=clock.transport())
    assert clock.slept == []


def test_tries_come_to_an_end(clock):
    """A server that stays broken is given up after so many tries; the message tells what to do."""
    with serve(answers=[Answer(500)] * 99) as server:
        with pytest.raises(SourceError, match=r"500 .*\(9 tries\); run the same command again to go on") as caught:
            open_source(server.url("f"), transport=clock.transport())
        assert len(server.requests) == 9
    assert type(caught.value) is SourceError
    assert clock.slept == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_retries_are_told(clock):
    """Who wants to know is told before each wait, in one sentence."""
    told = []
    with (
        serve(answers=[Answer(503)]) as server,
        open_source(server.url("f"), transport=clock.transport(tell=told.append)),
    ):
        pass
    assert told == [
        f"cannot read {server.url('f')}: the server answered 503 Service Unavailable; trying again in 0.5 s"
    ]


# ---- files that change -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "validators"),
    [
        (DATA[::-1], True),
        *((new, known) for new in (DATA + b"x", DATA[:-1], DATA[:10]) for known in (True, False)),
    ],
    ids=lambda value: str(value if isinstance(value, bool) else len(value)),
)
@pytest.mark.parametrize("ranges", [True, False])
def test_file_that_changes(clock, new, ranges, validators):
    """A file that is another one when the rest is asked for is refused: by its ETag, or by its length at least."""
    with (
        serve(drop_after=1000, ranges=ranges, validators=validators) as server,
        HttpSource(server.url("f"), transport=clock.transport()) as source,
    ):
        server.files["/f"] = new
        with pytest.raises(SourceError, match="has changed on the server while it was read; run the same") as caught:
            read_all(source)
    assert caught.value.exit_code == 7


def test_file_that_changes_on_nginx(tmp_path):
    """A real server's answer to If-Range is understood."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "f").write_bytes(DATA)
    with nginx(folder) as server, HttpSource(server.url("f")) as source:
        read(source, 1000)
        (folder / "f").write_bytes(DATA[::-1] + b"more")
        source.seek(400_000)
        with pytest.raises(SourceError, match="has changed on the server"):
            read_all(source)


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ('ETag: W/"a"\r\nLast-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n', b"Wed, 01 Jan 2025 00:00:00 GMT"),
        ('ETag: W/"a"\r\n', None),
        ('ETag: "a\x01"\r\n', None),
        ('ETag: "a\r\n b"\r\n', None),
    ],
)
def test_what_if_range_may_not_be(headers, sent):
    """A weak ETag does not tell that ranges fit together, so the date does; nothing that is not one plain line."""

    def answer(request: bytes) -> bytes:
        start = int(request.partition(b"bytes=")[2].partition(b"-")[0])
        return f"HTTP/1.1 206 x\r\n{headers}Content-Range: bytes {start}-9/10\r\n\r\n".encode() + bytes(10 - start)

    with raw_server(answer) as server, HttpSource(server.url("f")) as source:
        read(source, 10)
        source.seek(5)
        assert read_all(source) == bytes(5)
        found = [request.partition(b"If-Range: ")[2].partition(b"\r\n")[0] for request in server.requests]
    assert found == [b"", sent or b""]


def test_strong_etag_is_asked_for():
    """If-Range has the ETag that the first answer had."""
    with serve() as server, HttpSource(server.url("f")) as source:
        source.seek(300_000)
        read_all(source)
        first, second = server.requests
        assert "If-Range" not in first.headers
        assert second.headers["If-Range"].startswith('"')
