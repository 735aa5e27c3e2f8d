"""A body that C takes from the socket itself: the same bytes, patience and errors as through readinto."""

import signal
import time

import pytest

import hupfast
from hupfast.errors import SourceError
from hupfast.source import open_source
from hupfast.source.http import HttpClient
from hupfast.source.remote import HttpSource
from hupfast.source.transport import Transport
from rawserver import raw_server
from remotefile import DATA, serve
from servers import Behaviour, misbehaving

NS = [1, 8191, 8192, 8193, 100_000, len(DATA) - 1]


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target.img"
    path.write_bytes(b"x" * len(DATA))
    return path


def refuse(fd: int, size: int):
    """A `take` that must not be called."""
    raise AssertionError(f"{size} bytes were to be taken from {fd}")


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("n", NS)
def test_connection_that_ends(clock, target, n, reset):
    """What came before the connection broke off is on the target once, and the rest behind it."""
    with serve(drop_after=n, reset=reset, times=2) as server:
        hupfast.write_image(server.url("f"), target, transport=clock.transport())
        assert len(server.requests) == 3 or n == len(DATA) - 1
    assert target.read_bytes() == DATA
    assert clock.slept


@pytest.mark.parametrize("n", [20_000, 300_000])
def test_server_that_stalls(clock, target, n):
    """A server that stops sending is given up after the time-out, and asked for the rest."""
    with serve(stall_after=n) as server:
        hupfast.write_image(server.url("f"), target, transport=clock.transport(stall_timeout=0.3))
        assert len(server.requests) == 2
    assert target.read_bytes() == DATA


def test_server_that_falls_silent(clock, target):
    """One that does so each time is given up in the end, with the reason."""
    with (
        serve(stall_after=20_000, times=-1, ranges=False) as server,
        pytest.raises(SourceError, match=r"sent nothing for 0\.3 s"),
    ):
        hupfast.write_image(server.url("f"), target, transport=clock.transport(stall_timeout=0.3, retries=1))


def test_silence_with_signals(clock, target):
    """A program that is interrupted all the time gives a silent server up too."""

    def patient(progress: hupfast.Progress) -> None:
        assert time.monotonic() - started < 5

    started = time.monotonic()
    old = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        with serve(stall_after=20_000) as server:
            hupfast.write_image(server.url("f"), target, transport=clock.transport(stall_timeout=0.3), progress=patient)
            assert len(server.requests) == 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert target.read_bytes() == DATA


def test_run_that_has_no_room(clock, tmp_path):
    """A target that is slower than the time-out of the line is no silence of the server."""
    image = DATA * 8
    target = tmp_path / "target.img"
    target.write_bytes(bytes(len(image)))
    with serve(image) as server, HttpSource(server.url("f"), transport=clock.transport(stall_timeout=0.15)) as source:
        report = hupfast.write_image(source, target, memory=2**20, rate=4 * 2**20)
        assert len(server.requests) == 1
    assert target.read_bytes() == image
    assert report.stages["read"].output_wait > 0.3


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_stage_of_reading(target, pki, scheme):
    """The report tells of every byte that was read, whoever has read it."""
    certificate = pki.issue() if scheme == "https" else None
    with misbehaving({"/f": DATA}, tls=certificate) as server:
        report = hupfast.write_image(server.url("f"), target, transport=Transport(ca_file=str(pki.ca)))
    stage = report.stages["read"]
    assert (stage.bytes, stage.threads) == (len(DATA), 1)
    assert 0 < stage.busy + stage.input_wait < report.seconds


@pytest.mark.parametrize("how", ["limited", "chunked"])
def test_body_that_is_not_for_c(how):
    """Bytes that have to be counted or unpacked go through Python."""
    behaviour = {"ranges": False, "length": "chunked"} if how == "chunked" else {}
    transport = Transport(limit_rate=2**30 if how == "limited" else 0)
    with serve(**behaviour) as server, open_source(server.url("f"), transport=transport) as source:
        room = memoryview(bytearray(60_000))
        while source.taken < 50_000:
            assert source.pull(refuse, len(DATA)) is None
            assert source.readinto(room)


def test_what_came_with_the_head_is_first():
    """As long as bytes wait that were read along with the head, C gets none from behind them."""
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode() + DATA
    room = memoryview(bytearray(100))
    with (
        raw_server(lambda request: answer) as server,
        HttpClient() as client,
        client.open("GET", server.url("f")) as response,
    ):
        for at in range(0, 1000, 100):
            assert response.pull(refuse, len(DATA)) is None
            assert response.readinto(room) == 100
            assert room == DATA[at : at + 100]


def test_more_than_was_announced():
    """A connection that has brought bytes behind the end of a body is not used again."""
    with misbehaving({"/f": DATA}, Behaviour(lie=-100)) as server, HttpClient() as client:
        for _ in range(2):
            with client.open("GET", server.url("f")) as response:
                assert response.read_all(len(DATA)) == DATA[:-100]
        assert server.connections == 2
