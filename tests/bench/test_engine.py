"""The binding of what is measured with: numbers that fit each other, and errors that are told."""

import subprocess
import sys

import pytest

from hupfast.bench.engine import NotHere, compress, move, stage_rate
from hupfast.bench.image import make_chunk
from hupfast.errors import DataError, TargetError, UsageError

MIB = 2**20


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 8 * MIB)
    return str(path)


def test_write(file):
    """Bytes, seconds and samples of a measurement fit each other, and the bytes are there."""
    found = move(file, "write", block=MIB, depth=2, length=8 * MIB, total=8 * MIB, flush_every=4 * MIB)
    assert (found.bytes, found.flushes, len(found.latencies)) == (8 * MIB, 2, 8)
    assert 0 < found.flush_seconds < found.seconds
    assert all(start + took <= found.seconds for start, took in zip(found.starts, found.latencies, strict=True))
    with open(file, "rb") as written:
        assert b"x" * 512 not in written.read()


def test_it_begins_anywhere(file):
    """A measurement that begins in the midst of its part goes on at the part's start, and not behind its end."""
    move(file, "write", block=MIB, depth=1, offset=MIB, length=4 * MIB, first=3 * MIB, total=2 * MIB)
    with open(file, "rb") as written:
        data = written.read()
    old = [data[at : at + MIB] == b"x" * MIB for at in range(0, 8 * MIB, MIB)]
    assert old == [True, False, True, True, False, True, True, True]


def test_incompressible(file):
    """No block can be compressed."""
    move(file, "write", block=65536, depth=4, length=8 * MIB, total=8 * MIB)
    with open(file, "rb") as written:
        while block := written.read(65536):
            assert len(compress(block, 3).data) >= 65536


def test_time_limit(file):
    """Without a number of bytes, the time ends it; without either, it is refused."""
    found = move(file, "read", block=MIB, depth=1, length=8 * MIB, limit=0.05, samples=5)
    assert found.seconds >= 0.05
    assert len(found.latencies) <= 5
    with pytest.raises(UsageError, match="no end"):
        move(file, "read", block=MIB, depth=1, length=8 * MIB)


def test_errors(file):
    """A target that is too small, missing, or a block of no use is told as ever."""
    with pytest.raises(TargetError, match="too few"):
        move(file, "read", block=MIB, depth=1, length=9 * MIB, total=1)
    with pytest.raises(TargetError):
        move(file + "x", "read", block=MIB, depth=1, length=MIB, total=1)
    with pytest.raises(UsageError):
        move(file, "read", block=5, depth=1, length=MIB, total=1)
    with pytest.raises(UsageError):
        move(file, "read", block=MIB, depth=-1, length=MIB, total=1)
    for first in (-MIB, 5, MIB):
        with pytest.raises(UsageError):
            move(file, "read", block=MIB, depth=1, length=MIB, first=first, total=1)


FORBID = """
import ctypes, struct, sys
# seccomp: errno %d for io_uring_setup (425 on every architecture), all else is allowed
rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050000 | %d), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
program = Program(len(rules), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(program), 0, 0):
    sys.exit(77)
"""


@pytest.mark.parametrize("number", [1, 38])
def test_no_ring(file, number):
    """Where io_uring is forbidden (EPERM) or missing (ENOSYS), that is told apart from a failure."""
    code = FORBID % (number, number) + (
        "from hupfast.bench.engine import move, NotHere\n"
        "try:\n"
        "    move(sys.argv[1], 'write', method='io_uring', block=65536, depth=2, length=1 << 20, total=1 << 20)\n"
        "except NotHere as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, file], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("seccomp filters are not allowed here")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("io_uring cannot be used here: ")


def test_ring(file):
    """By io_uring the same is done as by threads."""
    try:
        found = move(file, "write", method="io_uring", block=65536, depth=8, length=8 * MIB, total=8 * MIB)
    except NotHere as reason:
        pytest.skip(str(reason))
    assert (found.bytes, len(found.latencies), found.direct) == (8 * MIB, 128, True)
    with open(file, "rb") as written:
        assert b"x" * 512 not in written.read()


def test_frames():
    """A frame is one of zstd's, and its XXH3 is that of the raw bytes."""
    xxhash = pytest.importorskip("xxhash")
    data = b"some bytes " * 1000
    frame = compress(data, 3)
    raw = subprocess.run(["zstd", "-dqc"], input=frame.data, capture_output=True, check=True).stdout
    assert (raw, frame.raw) == (data, len(data))
    assert frame.xxh3 == xxhash.xxh3_128_digest(data)


@pytest.mark.parametrize("level", [9, 19])
def test_high_levels_take_little_memory(level):
    """Tables are smaller than those of zstd's own tool, and yet frames are no larger than by 2%."""
    data = make_chunk("p")
    frame = compress(data, level)
    theirs = subprocess.run(["zstd", f"-{level}", "-qc"], input=data, capture_output=True, check=True).stdout
    assert len(frame.data) < 1.02 * len(theirs)
    assert len(frame.data) < 0.95 * len(compress(data, 3).data)


def test_stages():
    """Every stage has a rate; pieces that are no frames are a DataError."""
    data = bytes(range(256)) * 400
    frame = compress(data, 1).data
    assert stage_rate("decompress", [frame], [len(data)], threads=2, seconds=0.01) > 1e6
    assert stage_rate("sha256", [data], [len(data)], threads=1, seconds=0.01) > 1e6
    assert stage_rate("xxh3", [data], [len(data)], threads=1, seconds=0.01) > 1e6
    with pytest.raises(DataError):
        stage_rate("decompress", [data], [len(data)], threads=1, seconds=0.01)
    with pytest.raises(UsageError):
        stage_rate("sha256", [data], [len(data)], threads=99, seconds=0.01)
