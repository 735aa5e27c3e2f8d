"""Packing: zstd reads what pack wrote, and the same image gives the same bytes."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import shutil
import subprocess
import threading
import time

import pytest
import xxhash
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast.errors import DataError, HupfastError, Refused, SourceError, UsageError
from hupfast.image import PackReport, pack, read_table

CHUNK = 2**16
DATA = (
    bytes(range(256)) * 512 + bytes(3 * CHUNK) + hashlib.shake_128(b"noise").digest(2 * CHUNK) + b"\0" * CHUNK + b"tail"
)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.img"
    path.write_bytes(DATA)
    return path


def unpack(data: bytes) -> bytes:
    """Decode with a decoder that is not ours, frame by frame."""
    out = b""
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        out += frame.decompress(data)
        assert frame.eof
        data = frame.unused_data
    return out


def packed(source: object, out: object, **options: object) -> bytes:
    """Pack with small chunks, and check that nothing else is left in the folder of OUT."""
    before = set(os.listdir(out.parent))
    pack(source, out, chunk_size=CHUNK, **options)  # type: ignore[arg-type]
    assert set(os.listdir(out.parent)) == before | {out.name}
    return out.read_bytes()


def test_zstd_reads_it(image, tmp_path):
    """`zstd -t` accepts a packed image, and `zstd -d` gives the image."""
    if not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    out = tmp_path / "out.zst"
    packed(image, out)

    subprocess.run(["zstd", "-tq", str(out)], check=True)
    decoded = subprocess.run(["zstd", "-dcq", str(out)], check=True, capture_output=True).stdout
    assert decoded == DATA


def test_table_tells_the_truth(image, tmp_path):
    """Each entry has the length, digest, zero flag and raw digest of its frame, which stands alone."""
    data = packed(image, tmp_path / "out.zst")
    table = read_table(tmp_path / "out.zst")

    assert (table.image_size, table.chunk_size) == (len(DATA), CHUNK)
    position = table.size
    for index, chunk in enumerate(table.chunks):
        frame = data[position : position + chunk.length]
        raw = DATA[index * CHUNK : (index + 1) * CHUNK]
        parameters = zstandard.get_frame_parameters(frame)
        assert chunk.sha256 == hashlib.sha256(frame).digest()
        assert chunk.xxh3 == xxhash.xxh3_128(raw).digest()
        assert chunk.raw_sha256 == hashlib.sha256(raw).digest()
        assert chunk.zero == (raw.count(0) == len(raw))
        assert zstandard.ZstdDecompressor().decompress(frame) == raw
        assert parameters.content_size == len(raw)
        assert parameters.window_size <= CHUNK
        assert not parameters.has_checksum
        position += chunk.length
    assert position == len(data)


def test_report(image, tmp_path):
    """The report has the sizes and the name of the table."""
    out = tmp_path / "out.zst"
    report = pack(image, out, chunk_size=CHUNK, level=3, threads=2)

    table = read_table(out)
    expected = PackReport(
        len(DATA), out.stat().st_size, CHUNK, len(table.chunks), 4, 3, 2, table.sha256, report.seconds
    )
    assert report == expected
    assert report.as_dict()["table_sha256"] == table.sha256.hex()


def test_same_bytes_for_any_number_of_threads(image, tmp_path):
    """One, two and seven threads give the same file; another level gives another one."""
    one = packed(image, tmp_path / "1", threads=1)
    assert packed(image, tmp_path / "2", threads=2) == one
    assert packed(image, tmp_path / "7", threads=7) == one
    assert packed(image, tmp_path / "other", level=1) != one


def test_order_does_not_depend_on_speed(image, tmp_path, monkeypatch):
    """Chunks stand in order though the first take longest."""
    from hupfast.image import _Packer

    one = packed(image, tmp_path / "1", threads=1)
    compress = _Packer._compress
    delays = iter([0.05, 0.03, 0.01])

    def slow(self, data, zero):
        time.sleep(next(delays, 0))
        return compress(self, data, zero)

    monkeypatch.setattr(_Packer, "_compress", slow)
    assert packed(image, tmp_path / "2", threads=4) == one


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2", "zstd", "zstd stream", "chunked", "pipe", "object"])
def test_any_source_gives_the_same_bytes(kind, image, tmp_path):
    """The packed image depends on the raw bytes alone, not on what they were compressed with."""
    expected = packed(image, tmp_path / "expected")
    source: object = tmp_path / "source"
    if kind == "pipe":
        source, into = os.pipe()

        def feed() -> None:
            with os.fdopen(into, "wb") as file:
                file.write(DATA)

        threading.Thread(target=feed).start()
    elif kind == "object":
        source = io.BytesIO(DATA)
    elif kind == "zstd stream":
        middle = zstandard.ZstdCompressor().compressobj()
        data = zstandard.compress(DATA[:1000]) + middle.compress(DATA[1000:-3]) + middle.flush()
        (tmp_path / "source").write_bytes(b"\x50\x2a\x4d\x18\3\0\0\0abc" + data + zstandard.compress(DATA[-3:]))
    else:
        make = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress, "zstd": zstandard.compress}
        (tmp_path / "source").write_bytes(expected if kind == "chunked" else make[kind](DATA))

    assert packed(source, tmp_path / "out") == expected
    if kind == "pipe":
        os.close(source)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 4 * CHUNK), known=st.booleans(), threads=st.integers(1, 3))
def test_any_size(tmp_path_factory, size, known, threads):
    """An image of any size, with its size known before or not, comes out of the packed one."""
    folder = tmp_path_factory.mktemp("size")
    data = DATA[-size:]
    source: object = folder / "image"
    (folder / "image").write_bytes(data)
    assert unpack(packed(source if known else io.BytesIO(data), folder / "out", threads=threads)) == data
    assert read_table(folder / "out").image_size == size


def test_progress(image, tmp_path):
    """Progress rises to the whole; the whole is known for a raw file, and not for a compressed one."""
    seen: list[tuple[int, int | None]] = []
    pack(image, tmp_path / "1", chunk_size=CHUNK, progress=lambda *now: seen.append(now))
    assert seen == [(min((n + 1) * CHUNK, len(DATA)), len(DATA)) for n in range(len(seen))]
    assert seen[-1] == (len(DATA), len(DATA))

    pack(io.BytesIO(gzip.compress(DATA)), tmp_path / "2", progress=lambda *now: seen.append(now))
    assert seen[-1] == (len(DATA), None)


def test_existing_file_is_kept(image, tmp_path):
    """A file at OUT is replaced only with force."""
    out = tmp_path / "out.zst"
    out.write_bytes(b"old")
    with pytest.raises(Refused, match="--force") as caught:
        pack(image, out)
    assert caught.value.exit_code == 4
    assert out.read_bytes() == b"old"

    pack(image, out, force=True)
    assert unpack(out.read_bytes()) == DATA


def test_onto_itself(image):
    """An image can be replaced by its packed form."""
    pack(image, image, force=True)
    assert unpack(image.read_bytes()) == DATA


@pytest.mark.parametrize("name", [".", "/dev/null", "none/out"])
def test_no_place_for_a_file(image, tmp_path, name):
    """A folder, a device and a missing folder are refused, with force too."""
    with pytest.raises(Refused):
        pack(image, tmp_path / name, force=True)


@pytest.mark.parametrize(
    "options",
    [
        {"level": 0},
        {"level": 23},
        {"chunk_size": CHUNK + 1},
        {"chunk_size": CHUNK // 2},
        {"chunk_size": 2**27},
        {"threads": 257},
    ],
)
def test_wrong_numbers(image, tmp_path, options):
    """Levels, chunk sizes and thread counts outside their bounds are wrong usage."""
    with pytest.raises(UsageError):
        pack(image, tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (zstandard.compress(b""), "empty"),
        (zstandard.compress(DATA)[:-1], "cut short"),
        (zstandard.compress(DATA) + b"else", "something else follows"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 100, "damaged"),
        (gzip.compress(DATA)[:-9], "cut short"),
    ],
)
def test_bad_image_leaves_nothing(tmp_path, data, words):
    """A damaged, cut or empty image is an error, and OUT and its folder are as they were."""
    source, out = tmp_path / "source", tmp_path / "folder" / "out"
    source.write_bytes(data)
    out.parent.mkdir()
    out.write_bytes(b"old")
    with pytest.raises(DataError, match=words):
        pack(source, out, force=True)

    assert os.listdir(out.parent) == ["out"]
    assert out.read_bytes() == b"old"


def test_missing_image(tmp_path):
    """An image that cannot be read is a SourceError."""
    with pytest.raises(SourceError):
        pack(tmp_path / "none", tmp_path / "out")


def test_interrupt_leaves_nothing(image, tmp_path):
    """An exception out of the progress function comes out, and no thread and no file stays."""
    threads = threading.active_count()
    out = tmp_path / "folder" / "out"
    out.parent.mkdir()

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(image, out, chunk_size=CHUNK, progress=interrupt)
    assert os.listdir(out.parent) == []
    assert threading.active_count() == threads


def test_full_disk(image, tmp_path, monkeypatch):
    """A write that fails is one of hupfast's errors, with the name of the file and the errno."""

    def full(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hupfast.image.write_all", full)
    with pytest.raises(HupfastError, match="out: No space left") as caught:
        pack(image, tmp_path / "out")

    assert caught.value.errno == 28
    assert not (tmp_path / "out").exists()


def test_zeroes_inside_zstd_stay_small(tmp_path):
    """Many zeroes in a small zstd file are packed in little memory."""
    import tracemalloc

    source = tmp_path / "zero.zst"
    with source.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as writer:
        for _ in range(128):
            writer.write(bytes(2**20))
    tracemalloc.start()
    report = pack(source, tmp_path / "out", threads=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert report.image_size == 128 * 2**20
    assert report.zero_chunks == report.chunk_count == 128
    assert peak < 64 * 2**20
