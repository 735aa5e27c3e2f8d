"""Files behind http(s) addresses, against servers that do well and servers that do not."""

import gzip
import lzma
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast.errors import SourceError, UsageError
from hupfast.source import PartSource, open_source
from hupfast.source.http import HttpClient
from hupfast.source.remote import HttpSource
from hupfast.source.transport import Transport
from remotefile import DATA, serve
from servers import Answer, misbehaving, nginx
from sources import read, read_all


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("www") / "files"
    folder.mkdir()
    (folder / "f").write_bytes(DATA)
    (folder / "empty").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def ranges(folder):
    """nginx, which has ranges."""
    with nginx(folder) as server:
        yield server


# ---- reading it all ----------------------------------------------------------------------------------------


def test_file_comes_whole(ranges):
    """A file comes whole, with its size, in one request."""
    with open_source(ranges.url("f")) as source:
        assert (source.size, source.seekable, source.remote, source.fileno()) == (len(DATA), True, True, None)
        assert source.peek(64) == DATA[:64]
        assert read_all(source) == DATA
        assert (source.requests, source.fetched) == (1, len(DATA))


def test_empty_file(ranges):
    """A file of no bytes, of which no range can be had, is an empty source."""
    with open_source(ranges.url("empty")) as source:
        assert (source.size, read_all(source)) == (0, b"")


@pytest.mark.parametrize("length", ["told", "chunked", ""])
def test_server_without_ranges(length):
    """A body comes whole without ranges: with a length, in chunks, and up to where the connection ends."""
    with serve(ranges=False, length=length) as server, open_source(server.url("f")) as source:
        assert source.size == (len(DATA) if length == "told" else None)
        assert (source.seekable, source.end_is_told) == (False, length != "")
        assert read_all(source) == DATA
        with pytest.raises(UsageError, match="cannot be read twice"):
            source.seek(0)


def test_nginx_without_ranges(folder):
    """A real server whose ranges are off is read from its start only."""
    with nginx(folder, extra="max_ranges 0;") as server, open_source(server.url("f")) as source:
        assert not source.seekable
        assert read_all(source) == DATA


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_compressed_file(pack):
    """A gzip or xz file behind an address is decoded like one on disk."""
    with serve(pack(DATA)) as server, open_source(server.url("f")) as source:
        assert source.format == "raw"
        assert read_all(source) == DATA


@pytest.mark.parametrize(
    ("path", "how", "reason"),
    [
        ("none", {}, "404 Not Found"),
        ("f", {"answers": [Answer(410)]}, "410 Gone"),
        ("f", {"answers": [Answer(403)]}, "403 Forbidden; .*--auth-file"),
        ("f", {"answers": [Answer(401)]}, "401 Unauthorized; .*--auth-file.*HUPFAST_AUTH"),
        ("f", {"answers": [Answer(206)]}, "asked for bytes 0-, and answered with no range"),
        ("f", {"encoding": "gzip"}, r"compressed the file on its own \(gzip\)"),
        ("f", {"content_range": "bytes 1-502000/502001"}, "answered with bytes 1-502000/502001"),
        ("f", {"content_range": f"bytes 0-{len(DATA) - 1}/{len(DATA) - 1}"}, "answered with bytes"),
        ("f", {"content_range": f"bytes 0-{len(DATA)}/{len(DATA) + 1}"}, "answered with bytes"),
    ],
)
def test_bad_answer(clock, path, how, reason):
    """An answer that is not the file is refused at once, with the address and the reason."""
    with serve(**how) as server:
        with pytest.raises(SourceError, match=reason) as caught:
            open_source(server.url(path), transport=clock.transport())
        assert server.url(path) in str(caught.value)
        assert len(server.requests) == 1

    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 7
    assert clock.slept == []


def test_announced_size_is_checked():
    """A file of another size than was announced is refused."""
    with serve() as server, pytest.raises(SourceError, match="502000 bytes on the server, and 7 were announced"):
        HttpSource(server.url("f"), size=7)


def test_memory_of_http_is_part_of_the_budget():
    """What Python's http takes is told, and leaves room in the default budget for xz at its default level."""
    with misbehaving({"/f": DATA, "/x": lzma.compress(DATA)}) as server:
        with open_source(server.url("f")) as plain, open_source(server.url("x")) as packed:
            assert plain.memory == 6 * 2**20
            assert plain.memory < packed.memory <= 15 * 2**20
            assert read_all(packed) == DATA
        with open_source(server.url("f"), memory=2 * 2**20) as small:
            assert small.memory == 2**20


# ---- seeking -----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, len(DATA) + 9), st.integers(0, 200_000), st.integers(0, 90_000), st.integers(0, 99)),
        max_size=6,
    )
)
def test_any_seeks_give_the_bytes_of_the_file(ranges, steps):
    """Whatever is sought, peeked and read gives the bytes of the file, and none behind the end that was set."""
    with open_source(ranges.url("f")) as source:
        for offset, length, size, peeked in steps:
            end = offset + length
            source.seek(offset, end)
            assert source.peek(peeked) == DATA[offset : min(offset + peeked, end)]
            assert read(source, size) == DATA[offset : min(offset + size, end)]
            assert source.taken == min(offset + size, max(min(end, len(DATA)), offset))
        source.rewind()
        assert read_all(source) == DATA


def test_seek_asks_for_no_more_than_is_wanted(folder):
    """A seek with an end is one request for these bytes, on the connection that is there."""
    with nginx(folder) as server:
        with HttpSource(server.url("f")) as source:
            read_all(source)
            source.seek(1000, 2000)
            assert read_all(source) == DATA[1000:2000]
            source.seek(300_000, 400_000)
            assert read_all(source) == DATA[300_000:400_000]
            assert source.requests == 3
            assert source.fetched == len(DATA) + 101_000
        assert [line[:2] for line in server.log(3)] == [
            ("bytes=0-", 206),
            ("bytes=1000-1999", 206),
            ("bytes=300000-399999", 206),
        ]


def test_connection_stays():
    """Ranges that are read to their ends share a connection."""
    with serve() as server, HttpSource(server.url("f")) as source:
        for offset in (0, 400_000, 100_000):
            source.seek(offset, None if not offset else offset + 50_000)
            read_all(source)
        assert (len(server.requests), server.connections) == (3, 1)


def test_seek_inside_the_answer_asks_for_nothing():
    """A place a little ahead in the answer that is being read is reached by reading."""
    with serve() as server, HttpSource(server.url("f")) as source:
        assert read(source, 1000) == DATA[:1000]
        source.seek(60_000, 61_000)
        assert read_all(source) == DATA[60_000:61_000]
        source.seek(61_000, 70_000)
        assert read_all(source) == DATA[61_000:70_000]
        assert len(server.requests) == 1


def test_what_was_peeked_is_not_asked_for_again():
    """Looking at the head and going back to it is no second request."""
    with serve() as server, HttpSource(server.url("f")) as source:
        source.peek(1000)
        source.seek(0)
        source.seek(500)
        assert read_all(source) == DATA[500:]
        assert len(server.requests) == 1


def test_seek_a_little_back():
    """What has been read already is asked for again."""
    with serve() as server, HttpSource(server.url("f")) as source:
        read(source, 1000)
        source.seek(995)
        assert read_all(source) == DATA[995:]
        assert [request.headers["Range"] for request in server.requests] == ["bytes=0-", "bytes=995-"]


@pytest.mark.parametrize(
    ("text", "lie"),
    [
        ("bytes 300000-301000/502000", 1),
        ("bytes 299999-300999/502000", 1),
        ("bytes 299999-300998/502000", 0),
        ("bytes 300000-300998/502000", 0),
        ("bytes 300000-300999/502001", 0),
        ("bytes", 0),
    ],
)
def test_range_that_was_not_asked_for(text, lie):
    """A range with one byte too many in front, behind or in all, or with fewer bytes than its length, is refused."""
    with serve() as server, HttpSource(server.url("f")) as source:
        server.behaviour.content_range = text
        server.behaviour.lie = lie
        source.seek(300_000, 301_000)
        with pytest.raises(SourceError, match=f"answered with {text}|has changed"):
            read_all(source)


def test_far_seek_closes_the_connection():
    """A long answer is not read to its end for the sake of its connection."""
    with serve() as server, HttpSource(server.url("f")) as source:
        read(source, 1000)
        source.seek(300_000, 301_000)
        assert read_all(source) == DATA[300_000:301_000]
        assert source.fetched < 40_000
        assert server.connections == 2


def test_seek_by_itself_asks_for_nothing():
    """Only reading sends a request."""
    with serve() as server, HttpSource(server.url("f")) as source:
        for offset in range(0, len(DATA), 50_000):
            source.seek(offset)
        assert len(server.requests) == 1


def test_server_that_sends_less_than_was_asked_for():
    """An answer with a shorter range than was asked for, which HTTP allows, is read, and the rest asked for."""

    def cap(server, request):
        first = int(request.headers["Range"].removeprefix("bytes=").partition("-")[0])
        server.files["/f"] = DATA
        server.behaviour.cap = first + 100_000

    with serve(before=cap) as server, HttpSource(server.url("f")) as source:
        assert read_all(source) == DATA
        assert len(server.requests) == 6


def test_part_of_a_remote_file(ranges):
    """A member of a file that is far away is sought by itself, from its own start."""
    with open_source(ranges.url("f")) as whole:
        whole.seek(1000)
        part = PartSource(whole, 5000, "member")
        assert part.seekable
        part.seek(4000, 9999)
        assert read_all(part) == DATA[5000:6000]
        part.rewind()
        assert read_all(part) == DATA[1000:6000]


# ---- redirects and speed -----------------------------------------------------------------------------------


def test_redirect_is_followed_once():
    """Later ranges are asked for where the first request was sent to."""
    redirects = {"/moved": Answer(302, {"Location": "/f?token=1"})}
    with serve(redirects=redirects) as server, HttpSource(server.url("moved")) as source:
        source.seek(300_000)
        assert read_all(source) == DATA[300_000:]
        assert [request.path for request in server.requests] == ["/moved", "/f?token=1", "/f?token=1"]
        assert source.name == server.url("moved")


def test_redirect_that_expires():
    """When the place that a redirect led to does not answer any more, the named address is asked for another."""
    redirects = {"/moved": Answer(302, {"Location": "/f"})}
    with serve(redirects=redirects) as server, HttpSource(server.url("moved")) as source:
        server.behaviour.redirects = {
            "/moved": Answer(302, {"Location": "/new"}),
            "/f": Answer(403),
        }
        server.files = {"/new": DATA}
        source.seek(300_000)
        assert read_all(source) == DATA[300_000:]


def test_limit_rate(clock):
    """No more bytes come than the limit allows, but for a quarter of a second's worth at the start."""
    with serve() as server, open_source(server.url("f"), transport=clock.transport(limit_rate=100_000)) as source:
        assert read_all(source) == DATA
    assert clock.now == pytest.approx(len(DATA) / 100_000 - 0.25, rel=0.01)
    assert max(clock.slept) < 0.126


def test_limit_rate_in_real_time():
    """The same by a real clock."""
    with serve(DATA[:200_000]) as server:
        started = time.monotonic()
        with open_source(server.url("f"), transport=Transport(limit_rate=400_000)) as source:
            read_all(source)
    assert 0.2 < time.monotonic() - started < 1.5


def test_client_of_somebody_else_stays_open():
    """A client that was given is used, and left as it is."""
    with serve() as server, HttpClient() as client:
        with HttpSource(server.url("f"), client=client) as source:
            read_all(source)
        with client.open("GET", server.url("f")) as response:
            assert response.read_all(len(DATA)) == DATA
        assert (client.requests, server.connections) == (2, 1)


@pytest.mark.parametrize("has_ranges", [True, False])
def test_only_the_head_is_asked_for_first(has_ranges):
    """With `head`, no more is asked for until more is wanted; without a seek, the rest comes on demand."""
    with serve(ranges=has_ranges) as server, open_source(server.url("f"), head=1000) as source:
        assert source.peek(64) == DATA[:64]
        assert source.fetched <= 1000
        assert [request.headers["Range"] for request in server.requests] == ["bytes=0-999"]
        assert read_all(source) == DATA
        assert (source.requests, source.fetched) == (2 if has_ranges else 1, len(DATA))
