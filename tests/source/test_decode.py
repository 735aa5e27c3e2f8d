"""gzip, xz and bzip2: what comes out is what the tools packed, and nothing broken passes."""

import bz2
import gzip
import hashlib
import io
import lzma
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast.errors import DataError, DigestError, HupfastError, MemoryBudgetError, UsageError
from hupfast.source import open_source
from hupfast.source.decode import DecodedSource, xz_memory
from sources import read_all

DATA = bytes(range(256)) * 400 + bytes(300_000) + hashlib.shake_128(b"noise").digest(100_000)
PACK = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress}
kinds = pytest.mark.parametrize("kind", PACK)


def unpack(data: bytes, memory: int = 16 * 2**20) -> bytes:
    with open_source(io.BytesIO(data), memory=memory) as source:
        return read_all(source)


@kinds
def test_raw_bytes_come_out(kind):
    """A compressed image is decoded, is called raw, and shows its raw bytes to peek."""
    packed = PACK[kind](DATA)
    with open_source(io.BytesIO(packed)) as source:
        assert (source.format, source.size, source.fileno()) == ("raw", None, None)
        assert source.peek(64) == DATA[:64]
        assert read_all(source) == DATA
        assert source.origin.taken == len(packed)
        assert read_all(source) == b""


@pytest.mark.parametrize("tool", ["gzip", "xz", "bzip2"])
def test_output_of_the_tools(tool, tmp_path):
    """What gzip, xz and bzip2 themselves wrote is read."""
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    path = tmp_path / "image"
    path.write_bytes(DATA)
    packed = subprocess.run([tool, "-c", str(path)], check=True, capture_output=True).stdout

    assert unpack(packed) == DATA


@kinds
def test_rewind(kind, tmp_path):
    """A compressed file can be read twice."""
    path = tmp_path / "image"
    path.write_bytes(PACK[kind](DATA))
    with open_source(path) as source:
        source.peek(10)
        assert read_all(source) == DATA
        source.rewind()
        assert read_all(source) == DATA


@kinds
def test_seek(kind):
    """Nobody knows where a byte of the image is in a compressed file: it starts at its start."""
    with open_source(io.BytesIO(PACK[kind](DATA))) as source:
        with pytest.raises(UsageError, match=f"compressed with {kind}"):
            source.seek(10)
        source.seek(0)
        assert read_all(source) == DATA


@kinds
def test_several_streams_and_padding(kind):
    """Streams behind one another, with zeroes between and after them, are one image."""
    data = PACK[kind](DATA[:1000]) + bytes(8) + PACK[kind](b"") + PACK[kind](DATA[1000:]) + bytes(70_000)

    assert unpack(data) == DATA


@kinds
@settings(deadline=None)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_cut_short_anywhere(kind, cut):
    """No cut of a compressed image passes for a whole one."""
    packed = PACK[kind](DATA[:5000])
    cut = max(int(len(packed) * cut), 10)
    with pytest.raises(DataError, match="cut short"):
        unpack(packed[:cut])


@kinds
@settings(deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_flipped_bit_gives_the_right_bytes_or_an_error(kind, where, bit):
    """A flipped bit is found; where it lies in a field that does not matter, the bytes are right."""
    packed = bytearray(PACK[kind](DATA[:5000]))
    packed[10 + int((len(packed) - 10) * where)] ^= 1 << bit
    try:
        out = unpack(bytes(packed))
    except HupfastError:
        return
    assert out in (DATA[:5000], bytes(packed))


@kinds
def test_something_else_behind(kind):
    """Bytes behind the compressed data that are no zeroes are an error, not the end."""
    with pytest.raises(DataError, match="something else follows"):
        unpack(PACK[kind](DATA) + b"\0\0garbage")


def test_raw_image_that_looks_a_little_like_bzip2():
    """An image that begins with the letters BZh is not taken for bzip2."""
    data = b"BZh9" + DATA
    with open_source(io.BytesIO(data)) as source:
        assert source.format == "auto"
        assert read_all(source) == data


def test_zstd_goes_through():
    """zstd is the engine's, and is not touched here."""
    data = bytes.fromhex("28b52ffd") + bytes(100)
    with open_source(io.BytesIO(data)) as source:
        assert source.format == "auto"
        assert read_all(source) == data


@pytest.mark.parametrize("preset", range(10))
def test_xz_memory_is_enough_and_close(preset):
    """The memory told for a preset lets liblzma decode, and is at most a MiB more than it needs."""
    packed = lzma.compress(b"x", preset=preset)
    needed = xz_memory(packed[:64])

    assert lzma.LZMADecompressor(memlimit=needed).decompress(packed) == b"x"
    with pytest.raises(lzma.LZMAError):
        lzma.LZMADecompressor(memlimit=needed - 2**20).decompress(packed)


@pytest.mark.parametrize("bits", range(12, 31))
def test_xz_dictionary_of_every_size(bits):
    """Powers of two and their halves between are read out of the header."""
    for size in (2**bits, 2**bits + 2 ** (bits - 1)):
        if size > 2**28:
            continue  # compressing would take gigabytes here
        filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": size}]
        packed = lzma.compress(b"x", filters=filters)
        assert xz_memory(packed[:64]) == size + 2**20


def test_xz_beyond_the_budget_is_refused_with_the_number():
    """An xz image whose dictionary does not fit is refused, and the budget it names is enough."""
    packed = lzma.compress(DATA, preset=9)
    with pytest.raises(MemoryBudgetError, match="66 MiB") as caught:
        unpack(packed)

    assert unpack(packed, memory=caught.value.needed) == DATA


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_xz_memory_of_nonsense(tail):
    """Any header gives a number."""
    assert 2**20 <= xz_memory(b"\xfd7zXZ\0" + tail) < 2**33


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"BZh91AY&SY"]))
def test_nonsense_behind_a_magic(tail, magic):
    """Nonsense ends in one of hupfast's errors."""
    with pytest.raises(HupfastError):
        unpack(magic + tail)


def test_digest_of_a_stream_is_compared_at_its_end():
    """A promised SHA-256 of the compressed bytes is accepted when right, an error when wrong."""
    packed = gzip.compress(DATA) + bytes(5)
    for digest, right in ((hashlib.sha256(packed).digest(), True), (bytes(32), False)):
        source = open_source(io.BytesIO(packed))
        assert isinstance(source, DecodedSource)
        source.peek(64)
        source.expect_sha256(digest)
        if right:
            assert read_all(source) == DATA
        else:
            with pytest.raises(DigestError, match=hashlib.sha256(packed).hexdigest()):
                read_all(source)


def test_digest_after_a_rewind():
    """The promise holds for the second reading too."""
    packed = bz2.compress(DATA)
    source = open_source(io.BytesIO(packed))
    assert isinstance(source, DecodedSource)
    source.expect_sha256(hashlib.sha256(packed).digest())
    read_all(source)
    source.rewind()

    assert read_all(source) == DATA


def test_a_bomb_stays_small():
    """A GiB of zeroes in a few bytes is given out in pieces of the buffer's size."""
    import tracemalloc

    packed = bz2.compress(bytes(2**24)) * 64
    buffer = memoryview(bytearray(2**16))
    tracemalloc.start()
    with open_source(io.BytesIO(packed)) as source:
        for _ in range(300):
            assert source.readinto(buffer)
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 8 * 2**20


def test_digest_asked_for_too_late():
    """A promise after the first byte was read cannot be checked, and is refused."""
    source = open_source(io.BytesIO(gzip.compress(DATA)))
    assert isinstance(source, DecodedSource)
    source.readinto(memoryview(bytearray(1)))
    with pytest.raises(UsageError, match="after the first byte"):
        source.expect_sha256(bytes(32))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2", ".zst", ".IMG.GZ"])
def test_name_of_a_compressed_file_without_its_beginning(suffix, tmp_path):
    """A damaged or cut beginning does not turn a compressed file into a raw image."""
    for data in (DATA, b"\x1e\x8b\x08" + bytes(100), b"B", b"\x28\xb5"):
        path = tmp_path / ("image" + suffix)
        path.write_bytes(data)
        with pytest.raises(DataError, match="does not begin like one"):
            open_source(path)


def test_name_does_not_decide():
    """A compressed file is recognised under any name, and a raw image under any other."""

    class Named(io.BytesIO):
        name = "image.gz"

    with open_source(Named(bz2.compress(DATA))) as source:
        assert read_all(source) == DATA
    Named.name = "image.img"
    with open_source(Named(DATA)) as source:
        assert source.format == "auto"
    Named.name = "image.zst"
    with open_source(Named(bytes.fromhex("28b52ffd") + bytes(100))) as source:
        assert source.format == "auto"
    with open_source(Named(b"")) as source:
        assert read_all(source) == b""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04" + bytes(60), "a zip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"QFI\xfb\0\0\0\3", "a qcow2 disk"),
        (b"KDMV\1", "a VMDK disk"),
        (b"vhdxfile", "a VHDX disk"),
        (b"\x3a\xff\x26\xed", "an Android sparse image"),
    ],
)
def test_no_image(data, words):
    """Files that are no raw image, and would be useless on a card, are named and refused."""
    with pytest.raises(DataError, match=words):
        open_source(io.BytesIO(data))
