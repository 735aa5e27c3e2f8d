"""Sources on this machine: every one gives the same bytes, by readinto and by descriptor."""

import io
import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hupfast.errors import DataError, UsageError
from hupfast.source import PartSource, SliceSource, Source, open_source
from sources import read_all, read_fd

DATA = bytes(range(251)) * 1000


class Reader:
    """A file object with nothing but read()."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._file.read(size)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.img"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def pipe():
    """The reading end of a pipe that DATA comes out of."""
    out, into = os.pipe()

    def feed() -> None:
        with os.fdopen(into, "wb") as file:
            file.write(DATA)

    thread = threading.Thread(target=feed)
    thread.start()
    yield out
    os.close(out)
    thread.join()


def test_file_is_read_whole(image):
    """A file gives its bytes, its size and its name."""
    with open_source(image) as source:
        assert (source.size, source.name, source.seekable, source.format) == (
            len(DATA),
            str(image),
            True,
            "auto",
        )
        assert read_all(source, 1000) == DATA
        assert source.taken == len(DATA)


def test_file_peek_takes_nothing(image):
    """peek shows bytes that readinto and the descriptor still give."""
    with open_source(str(image)) as source:
        assert source.peek(64) == DATA[:64]
        assert read_fd(source) == DATA


def test_file_descriptor_follows_readinto(image):
    """The descriptor goes on where readinto has stopped, and rewind goes back to the start of both."""
    with open_source(image) as source:
        source.readinto(memoryview(bytearray(100)))
        fd = source.fileno()
        assert fd is not None
        assert os.read(fd, 10) == DATA[100:110]

        source.rewind()

        assert read_fd(source) == DATA


def test_peek_beyond_the_end_is_short(tmp_path):
    """A file of three bytes shows three bytes."""
    path = tmp_path / "short"
    path.write_bytes(b"abc")
    with open_source(path) as source:
        assert source.peek(64) == b"abc"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["file", "object", "slice", "part"]),
    steps=st.lists(
        st.tuples(st.integers(0, 1100), st.none() | st.integers(0, 1100), st.integers(0, 500), st.integers(0, 99)),
        max_size=5,
    ),
)
def test_any_seeks_give_the_bytes_of_the_file(tmp_path, kind, steps):
    """Whatever is sought, peeked and read gives the bytes that are there, and none behind the end that was set."""
    data = DATA[:1000]
    path = tmp_path / "data"
    path.write_bytes(data if kind in ("file", "object") else b"before" + data + b"behind")
    with path.open("rb") as file:
        if kind == "file":
            source: Source = open_source(file.fileno())
        elif kind == "object":
            source = open_source(file)
        elif kind == "slice":
            source = SliceSource(file.fileno(), 6, len(data), "member")
        else:
            whole = open_source(file)
            whole.seek(6)
            source = PartSource(whole, len(data), "member")
        for offset, end, size, peeked in steps:
            wanted = data[offset : len(data) if end is None else max(end, offset)]
            source.seek(offset, end)
            assert source.peek(peeked) == wanted[:peeked]
            buffer = bytearray(size)
            got = source.readinto(memoryview(buffer))
            assert buffer[:got] == wanted[:got]
            assert got or not wanted or not size
        source.rewind()
        assert read_all(source, 1000) == data


def test_seek_below_the_start(image):
    """There is no byte in front of the first."""
    with open_source(image) as source, pytest.raises(UsageError, match="no byte at offset -1"):
        source.seek(-1)


def test_descriptor_follows_seek(image):
    """C reads on from where seek has gone."""
    with open_source(image) as source:
        source.seek(1000)
        assert read_fd(source) == DATA[1000:]


def test_borrowed_descriptor_starts_where_it_stands_and_stays_open(image):
    """A descriptor is read from its position and not closed."""
    fd = os.open(image, os.O_RDONLY)
    try:
        os.lseek(fd, 1000, os.SEEK_SET)
        with open_source(fd) as source:
            assert source.size == len(DATA) - 1000
            assert read_all(source, 1000) == DATA[1000:]
            source.rewind()
            assert read_fd(source) == DATA[1000:]

        assert os.fstat(fd).st_size == len(DATA)
    finally:
        os.close(fd)


def test_close_twice(image):
    """Closing again does not close a descriptor that somebody else has by now."""
    source = open_source(image)
    source.close()
    fd = os.open(image, os.O_RDONLY)
    source.close()
    os.close(fd)


def test_pipe_by_readinto(pipe):
    """Peeked bytes of a pipe come again, in order."""
    with open_source(pipe) as source:
        assert (source.size, source.seekable) == (None, False)
        assert source.peek(64) == DATA[:64]
        assert source.fileno() is None
        assert read_all(source, 33) == DATA


def test_pipe_by_descriptor(pipe):
    """Once the peeked bytes are taken, the descriptor gives the rest."""
    with open_source(pipe) as source:
        source.peek(64)
        assert read_fd(source) == DATA


def test_nonblocking_pipe_is_waited_for(pipe):
    """A pipe that was made non-blocking by its writer is read all the same."""
    os.set_blocking(pipe, False)
    with open_source(pipe) as source:
        assert read_all(source, 1000) == DATA


def test_pipe_cannot_be_rewound(pipe):
    """rewind of a pipe says that it cannot be read twice."""
    with open_source(pipe) as source:
        for call in (source.rewind, lambda: source.seek(10)):
            with pytest.raises(UsageError, match="cannot be read twice"):
                call()
        read_all(source, 1000)


@pytest.mark.parametrize("make", [io.BytesIO, Reader])
def test_file_object(make):
    """An object with readinto, or with read alone, gives its bytes, and has no descriptor for C."""
    with open_source(make(DATA)) as source:
        assert source.peek(64) == DATA[:64]
        assert source.fileno() is None
        assert read_all(source, 1000) == DATA


def test_file_object_rewinds_to_where_it_stood():
    """A seekable object starts again from its first position."""
    file = io.BytesIO(DATA)
    file.seek(7)
    with open_source(file) as source:
        assert read_all(source, 1000) == DATA[7:]
        source.rewind()
        assert read_all(source, 1000) == DATA[7:]


def test_buffered_file_is_not_read_by_descriptor(image):
    """The descriptor below a buffered file is ahead of it, so that C must not read it."""
    with image.open("rb") as file:
        file.read(10)
        with open_source(file) as source:
            assert source.fileno() is None
            assert source.name == str(image)
            assert read_all(source, 1000) == DATA[10:]


def test_slice_by_readinto_and_descriptor(image):
    """A slice is the bytes from its offset for its length, both ways."""
    with image.open("rb") as file:
        source = SliceSource(file.fileno(), 100, 5000, "member")
        assert read_all(source, 1000) == DATA[100:5100]
        source.rewind()
        assert source.peek(10) == DATA[100:110]
        assert read_fd(source) == DATA[100:5100]


def test_slice_beyond_the_file_is_refused(image):
    """A slice that the file does not have is cut short, before anything is read."""
    with image.open("rb") as file, pytest.raises(DataError, match="cut short"):
        SliceSource(file.fileno(), 100, len(DATA), "member")


@settings(deadline=None)
@given(start=st.integers(0, 300), length=st.integers(0, 300), peek=st.integers(0, 400), step=st.integers(1, 400))
def test_part_is_a_slice_of_the_stream(start, length, peek, step):
    """A part of a stream has the bytes that a slice of the data has, and leaves the next byte in place."""
    data = bytes(i % 251 for i in range(600))
    whole = open_source(Reader(data))
    assert read_all(PartSource(whole, start, "front"), step) == data[:start]
    part = PartSource(whole, length, "member")

    assert part.peek(peek) == data[start : start + min(peek, length)]
    assert read_all(part, step) == data[start : start + length]
    assert whole.peek(1) == data[start + length : start + length + 1]


def test_part_by_descriptor(pipe):
    """C may read a part of a pipe: the peeked bytes first, then the rest of it."""
    with open_source(pipe) as whole:
        part = PartSource(whole, 1000, "member")
        part.peek(64)
        assert read_fd(part) == DATA[:1000]
        assert read_all(whole, 1000) == DATA[1000:]


def test_file_that_shrinks_is_cut_short(image):
    """A file that loses its end while it is read is bad data, not an early end."""
    with open_source(image) as source:
        os.truncate(image, 500)
        with pytest.raises(DataError, match="after 500 of"):
            read_all(source, 1000)


def test_source_is_returned_as_it_is(image):
    """An open source can be passed on."""
    with open_source(image) as source:
        assert open_source(source) is source
