"""
An image that is cut short or damaged, at every place, is exit 5. What a checksum stands for is not written when it
is wrong: no byte of a damaged chunk reaches the target.

What can be promised differs. A chunked image has a digest for every byte. Ordinary zstd with a checksum, gzip, xz
and bzip2 have one for the raw bytes; a bit of the headers may mean nothing (an unused flag, a larger window), and
then the right bytes are written. Without a checksum, zstd notices a cut, and most flips, but not all.
"""

import bz2
import gzip
import lzma
import random
from dataclasses import dataclass

import pytest

from hupfast import write_image
from hupfast.errors import DataError, Refused

CHUNK = 64 * 2**10
OLD = b"old " * (2 * CHUNK)
KINDS = ["chunked.zst", "zst", "plain.zst", "frames.zst", "gz", "xz", "bz2"]
CHECKED = ["zst", "gz", "xz", "bz2"]
HEADER = {"zst": 14, "gz": 10, "xz": 12, "bz2": 10}
"""Bytes at the start that the checksum of the raw bytes does not stand for."""

TABLE = 72 + 88 * 6 + 32


@dataclass(frozen=True)
class Small:
    """An image of six small chunks: noise, text, noise, zeroes, noise, and a short last one."""

    raw: bytes
    packed: dict[str, bytes]


@pytest.fixture(scope="module")
def small(pack_chunked, pack_zstd) -> Small:
    noise = random.Random(11)
    text = b"".join(b"%d sheep\n" % n for n in range(9000))[:CHUNK]
    chunks = [noise.randbytes(CHUNK), text, noise.randbytes(CHUNK), bytes(CHUNK), noise.randbytes(CHUNK), text[:777]]
    raw = b"".join(chunks)
    packed = {
        "chunked.zst": pack_chunked(raw, CHUNK),
        "zst": pack_zstd(raw, checksum=True),
        "plain.zst": pack_zstd(raw, checksum=False),
        "frames.zst": b"".join(pack_zstd(chunk, checksum=True, size=False) for chunk in chunks),
        "gz": gzip.compress(raw, 6, mtime=0),
        "xz": lzma.compress(raw, preset=0),
        "bz2": bz2.compress(raw, 1),
    }
    return Small(raw, packed)


@pytest.fixture
def write(tmp_path, small):
    """Write these bytes onto old content: the error or None, and what the target holds then."""

    def run(data, kind):
        image, target = tmp_path / f"image.{kind}", tmp_path / "target"
        image.write_bytes(data)
        target.write_bytes(OLD)
        error = None
        try:
            write_image(image, target, verify=False)
        except (DataError, Refused) as caught:
            error = caught
        now = target.read_bytes()
        assert len(now) == len(OLD)
        assert now[len(small.raw) + 512 :] == OLD[len(small.raw) + 512 :]  # nothing far behind the image is touched
        return error, now

    return run


def flip(data, offset, bit=3):
    return data[:offset] + bytes([data[offset] ^ 1 << bit]) + data[offset + 1 :]


def frame_spans(chunked):
    """Where the frame of each chunk is in a chunked image."""
    spans, at = [], TABLE
    for entry in range(72, TABLE - 32, 88):
        length = int.from_bytes(chunked[entry : entry + 4], "little")
        spans.append((at, at + length))
        at += length
    assert at == len(chunked)
    return spans


def chunk_of(data, index, size):
    return data[index * CHUNK : min((index + 1) * CHUNK, size)]


def check_chunks(now, small, wrong):
    """Chunk `wrong` (None: any may be missing) holds what was there before, each other one that or the right bytes."""
    for index in range(6):
        is_now, old = chunk_of(now, index, len(small.raw)), chunk_of(OLD, index, len(small.raw))
        right = chunk_of(small.raw, index, len(small.raw))
        assert is_now == old or (index != wrong and is_now == right)


# -------- cut short --------


@pytest.mark.parametrize("kind", KINDS)
def test_cut_short(write, small, kind):
    """Wherever an image ends early, it is exit 5."""
    data = small.packed[kind]
    frames_end = (
        {sum(len(frame) for frame in split_frames(data)[:n]) for n in range(6)} if kind == "frames.zst" else set()
    )
    cuts = {10, 12, 17, 30, len(data) // 3, len(data) // 2, len(data) - 5, len(data) - 4, len(data) - 1} - frames_end
    if kind == "chunked.zst":
        cuts |= {71, 72, 73, 200, TABLE - 1, TABLE, TABLE + 1, TABLE + 9, *(end for _, end in frame_spans(data)[:-1])}
    for cut in sorted(cuts):
        error, now = write(data[:cut], kind)
        assert isinstance(error, DataError), cut
        assert error.exit_code == 5
        if kind == "chunked.zst":
            check_chunks(now, small, None)
            assert cut > TABLE or now == OLD


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_cut_in_magic(write, small, kind, cut):
    """Not even what is left of a magic number is taken for a raw image."""
    error, now = write(small.packed[kind][:cut], kind)

    assert isinstance(error, DataError)
    assert now == OLD


def split_frames(data):
    """The zstd frames in data."""
    import zstandard

    frames = []
    while data:
        reader = zstandard.ZstdDecompressor().decompressobj()
        reader.decompress(data)
        frames.append(data[: len(data) - len(reader.unused_data)])
        data = reader.unused_data
    return frames


@pytest.mark.parametrize("kind", ["", *KINDS])
def test_empty(command, slot, tmp_path, kind):
    """A file without a byte in it is no image."""
    path = tmp_path / f"image.{kind}"
    path.write_bytes(b"")
    ended = command("write", "-y", path, slot.path)

    assert (ended.code, ended.json["kind"]) == (5, "DataError")
    assert slot.is_untouched_from(0)


# -------- damaged --------


@pytest.mark.parametrize("offset", [4, 16, 24, 28, 32, 40, 71, 72, 76, 80, 111, 112, 127, 240, TABLE - 32, TABLE - 1])
def test_damaged_table(write, small, offset):
    """A chunk table with a wrong bit anywhere leaves the target alone."""
    error, now = write(flip(small.packed["chunked.zst"], offset), "chunked.zst")

    assert isinstance(error, DataError)
    assert now == OLD


@pytest.mark.parametrize("index", range(6))
def test_damaged_chunk(write, small, index):
    """A chunk with a wrong bit is not written, not one byte of it; the others are right, or not there yet."""
    data = small.packed["chunked.zst"]
    start, end = frame_spans(data)[index]

    for offset in (start, start + 4, start + 7, (start + end) // 2, end - 1):
        error, now = write(flip(data, offset), "chunked.zst")
        assert isinstance(error, DataError)
        assert error.offset == start
        check_chunks(now, small, index)


def test_exchanged_chunks(write, small):
    """Two good frames in the wrong places are not written."""
    data = small.packed["chunked.zst"]
    (a, b), (_, c), *_ = frame_spans(data)
    error, now = write(data[:a] + data[b:c] + data[a:b] + data[c:], "chunked.zst")

    assert isinstance(error, DataError)
    check_chunks(now, small, 0)


def test_bytes_behind(write, small):
    """Bytes behind the end of an image are an error."""
    for kind in ("chunked.zst", "zst", "plain.zst", "gz", "xz", "bz2"):
        error, _ = write(small.packed[kind] + b"more", kind)
        assert isinstance(error, DataError), kind


@pytest.mark.parametrize("kind", CHECKED)
def test_damaged(write, small, kind):
    """A wrong bit behind the header of a format with a checksum is exit 5, or one that makes no difference."""
    data, chaos = small.packed[kind], random.Random(kind)
    places = [chaos.randrange(HEADER[kind], len(data)) for _ in range(25)]
    places += [HEADER[kind], len(data) // 2, len(data) - 9, len(data) - 4, len(data) - 2]

    noticed = 0
    for offset in places:
        bit = chaos.randrange(8)
        error, now = write(flip(data, offset, bit), kind)
        assert isinstance(error, DataError) or now[: len(small.raw)] == small.raw, (offset, bit)
        noticed += error is not None
    assert noticed > len(places) * 0.8


@pytest.mark.parametrize("kind", CHECKED)
def test_damaged_header(write, small, kind):
    """A wrong bit of a header is refused, or means nothing; never is something else written and called right."""
    magic = {"zst": 4, "gz": 3, "xz": 6, "bz2": 3}[kind]

    for offset in range(magic, HEADER[kind]):
        for bit in range(8):
            error, now = write(flip(small.packed[kind], offset, bit), kind)
            assert error is not None or now[: len(small.raw)] == small.raw, (offset, bit)
            if isinstance(error, Refused):  # a larger window than there is memory for; a larger size than the target
                assert now == OLD


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_magic(write, small, kind):
    """A file that is called .zst, .gz, .xz or .bz2 and does not start like one is not taken for a raw image."""
    for offset in (0, 1, 2):
        error, now = write(flip(small.packed[kind], offset), kind)
        assert error is not None or now[: len(small.raw)] == small.raw, offset


@pytest.mark.parametrize("kind", ["chunked.zst", "zst", "gz", "xz", "bz2"])
def test_one_line(command, images, slot, tmp_path, kind):
    """The command says it in a line, with exit 5."""
    data = images.paths[kind].read_bytes()
    bad = tmp_path / f"bad.{kind}"
    bad.write_bytes(flip(data, len(data) // 2))
    ended = command.finish(command.start("write", "-yq", bad, slot.path), as_json=False)

    assert ended.code == 5
    assert ended.words.startswith("hupfast: ")
    assert ended.words.count("\n") == 1
