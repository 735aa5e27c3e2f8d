"""write_image, verify_image and ImageWriter: right bytes, refusals before the first of them, nothing left behind."""

import hashlib
import io
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import content, image_bytes
from hupfast import ImageWriter, errors, verify_image, write_image
from hupfast.source import open_source

OLD = b"old content "


@pytest.fixture
def target(tmp_path):
    """A regular file of 16 MiB with old content."""
    path = tmp_path / "target"
    path.write_bytes((OLD * (16 * 2**20 // len(OLD) + 1))[: 16 * 2**20])
    return path


def holds(path, image):
    """Is the image at the start of the target, and the old content behind it?"""
    data = content(path)
    size = len(image.bytes)
    rest = data[size:]
    return data[:size] == image.bytes and rest == (OLD * (len(data) // len(OLD) + 1))[size : len(data)]


@pytest.mark.parametrize("kind", ["raw", "zst", "chunked"])
def test_device(image, device, kind):
    """Every kind of image arrives on a device past the page cache, and not a byte behind it changes."""
    report = write_image(getattr(image, kind), device)
    data = content(device)

    assert report.direct
    assert report.verified
    assert report.image_size == len(image.bytes) == report.written + report.zeroed
    assert data[: len(image.bytes)] == image.bytes
    assert data[len(image.bytes) :] == (b"old " * (4 * 2**20))[len(image.bytes) :]


@pytest.mark.parametrize("program", ["gzip", "xz", "bzip2", "zstd"])
def test_other_programs(image, target, tmp_path, program):
    """What gzip, xz, bzip2 and zstd make is written, by its content and not by its name."""
    packed = tmp_path / "image"
    with packed.open("wb") as out:
        subprocess.run([program, "-c", "-1", image.raw], stdout=out, check=True)
    write_image(packed, target)
    assert holds(target, image)


def test_file_object_pipe_and_descriptor(image, target):
    """A file object, a pipe and a descriptor are as good as a path."""
    for kind in ("object", "pipe", "descriptor"):
        target.write_bytes((OLD * (16 * 2**20 // len(OLD) + 1))[: 16 * 2**20])
        if kind == "object":
            write_image(io.BytesIO(image.zst.read_bytes()), target)
        elif kind == "descriptor":
            with image.chunked.open("rb") as file:
                write_image(file.fileno(), target)
        else:
            with subprocess.Popen(["cat", image.zst], stdout=subprocess.PIPE) as cat:
                assert cat.stdout is not None
                write_image(cat.stdout.fileno(), target)
        assert holds(target, image), kind


def test_new_file(image, tmp_path):
    """A target that does not exist is made when that is asked for, and is exactly the image."""
    with pytest.raises(errors.TargetError, match="does not exist"):
        write_image(image.zst, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    write_image(image.zst, tmp_path / "new", create=True)
    assert content(tmp_path / "new") == image.bytes


@pytest.mark.parametrize("data", [b"", b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00"], ids=["nothing", "a frame of nothing"])
def test_empty_image(target, data):
    """No bytes are no image: a pipe from a program that failed must not end well."""
    with pytest.raises(errors.DataError, match="empty"):
        write_image(io.BytesIO(data), target)


def test_failure_leaves_no_new_file(image, tmp_path):
    """A file that this call made, and could not finish, is removed again; one that was there stays."""
    (tmp_path / "cut").write_bytes(image.zst.read_bytes()[:-100])
    (tmp_path / "old").write_bytes(bytes(len(image.bytes)))
    for name in ("new", "old"):
        with pytest.raises(errors.DataError):
            write_image(tmp_path / "cut", tmp_path / name, create=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "old"]


def test_image_that_ends_in_zeroes(tmp_path):
    """A new file has its full length when the end is never written as data."""
    data = b"x" * 5000 + bytes(3 * 2**20)
    write_image(io.BytesIO(data), tmp_path / "new", create=True)
    assert content(tmp_path / "new") == data


def test_verify(image, target):
    """verify_image says yes, or names the bytes that differ; it changes nothing."""
    write_image(image.zst, target)
    for source in (image.raw, image.zst, image.chunked):
        assert verify_image(source, target).verified
    with target.open("r+b") as file:
        file.seek(7_654_321)
        file.write(b"?")
    for source in (image.raw, image.zst, image.chunked):
        with pytest.raises(errors.MismatchError) as caught:
            verify_image(source, target)
        assert caught.value.offset <= 7_654_321 < caught.value.offset + caught.value.length
        assert caught.value.exit_code == 6


def test_skip_unchanged(image, target):
    """A second write with skip_unchanged writes nothing; after a change, only what changed."""
    write_image(image.chunked, target)
    again = write_image(image.chunked, target, skip_unchanged=True)
    with target.open("r+b") as file:
        file.seek(100)
        file.write(b"?")
    repaired = write_image(image.zst, target, skip_unchanged=True)

    assert (again.written, again.unchanged) == (0, len(image.bytes))
    assert 0 < repaired.written + repaired.zeroed <= repaired.block
    assert holds(target, image)


def test_sha256(image, target):
    """A wrong SHA-256 of a file is found before a byte is written, that of a pipe at its end."""
    right = hashlib.sha256(image.zst.read_bytes()).hexdigest()
    before = content(target)
    with pytest.raises(errors.DigestError, match="nothing was written"):
        write_image(image.zst, target, sha256="00" * 32)
    assert content(target) == before
    write_image(image.zst, target, sha256=right)
    with subprocess.Popen(["cat", image.zst], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        with pytest.raises(errors.DigestError):
            write_image(cat.stdout.fileno(), target, sha256="00" * 32)
    with pytest.raises(errors.UsageError, match="64 hex"):
        write_image(image.zst, target, sha256="no")


def test_sha256_of_gzip(image, target, tmp_path):
    """The digest is of the file as it is stored, also when it is decoded here."""
    packed = tmp_path / "image.gz"
    packed.write_bytes(subprocess.run(["gzip", "-c", "-1", image.raw], stdout=subprocess.PIPE, check=True).stdout)
    right = hashlib.sha256(packed.read_bytes()).hexdigest()
    write_image(packed, target, sha256=right)
    assert holds(target, image)
    for digest, works in ((right, True), ("00" * 32, False)):
        with subprocess.Popen(["cat", packed], stdout=subprocess.PIPE) as cat:
            assert cat.stdout is not None
            if works:
                write_image(cat.stdout.fileno(), target, sha256=digest)
            else:
                with pytest.raises(errors.DigestError):
                    write_image(cat.stdout.fileno(), target, sha256=digest)


def test_memory_budget(image, target):
    """A window that does not fit is refused with the budget that does; with that, it works."""
    with image.raw.open("rb") as raw:  # from a pipe zstd cannot know that the image is smaller than the window
        wide = subprocess.run(
            ["zstd", "-q", "-c", "--long=27", "-1"], stdin=raw, capture_output=True, check=True
        ).stdout
    before = content(target)
    with pytest.raises(errors.MemoryBudgetError, match="set --memory") as caught:
        write_image(io.BytesIO(wide), target)
    assert content(target) == before
    assert caught.value.needed > 128 * 2**20
    write_image(io.BytesIO(wide), target, memory=caught.value.needed)
    assert holds(target, image)


def test_too_small(image, tmp_path):
    """A target smaller than the image is refused and not touched, when the image tells its size."""
    small = tmp_path / "small"
    small.write_bytes(OLD * 1000)
    for source in (image.raw, image.zst, image.chunked):
        with pytest.raises(errors.TargetError):
            write_image(source, small)
        assert small.read_bytes() == OLD * 1000


def _write_for_ever(writer):
    while True:
        writer.write(b"x")
        time.sleep(0.01)


def test_cancel_from_a_thread(image, target):
    """cancel() ends a writer that waits for input, and leaves no thread and no descriptor."""
    descriptors, threads = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    with ImageWriter(target) as writer:
        writer.write(image.bytes[: 2**20])
        timer = threading.Timer(0.2, writer.cancel)
        timer.start()
        with pytest.raises(errors.Cancelled):
            _write_for_ever(writer)
        timer.join()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert len(os.listdir("/proc/self/task")) == threads


def test_progress_that_raises(image, target):
    """What the progress function raises comes out, and the run is over."""

    class Enough(Exception):
        pass

    def progress(now):
        raise Enough(now.phase)

    with pytest.raises(Enough):
        write_image(image.zst, target, progress=progress)
    write_image(image.zst, target)
    assert holds(target, image)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 3 * 2**20),
    piece=st.integers(1, 500_000),
    memory=st.sampled_from([1, 2, 4, 16]),
    block=st.sampled_from([0, 65536, 2**20]),
    depth=st.integers(0, 8),
)
def test_any_size_in_any_pieces(tmp_path, size, piece, memory, block, depth):
    """Images of any length, fed in pieces of any length, within any budget, arrive and leave the rest alone."""
    data = image_bytes(size, seed=size)
    path = tmp_path / "target"
    path.write_bytes(b"\xff" * (3 * 2**20 + 4096))
    with ImageWriter(path, memory=memory * 2**20, block=block, depth=depth, format="raw") as writer:
        for at in range(0, size, piece):
            writer.write(data[at : at + piece])
        report = writer.finish()
    now = content(path)

    assert report.image_size == size
    assert report.memory <= memory * 2**20
    assert now[:size] == data
    assert now[size:] == b"\xff" * (len(now) - size)


def test_zero_copy_input(image, target):
    """acquire and commit take input without a copy in Python."""
    source = io.BytesIO(image.zst.read_bytes())
    with ImageWriter(target) as writer:
        while (room := writer.acquire()) and (got := source.readinto(room)):
            writer.commit(got)
        writer.commit(0)
        report = writer.finish()
    assert report.verified
    assert holds(target, image)


def test_image_onto_itself(image):
    """A target that is the image itself is refused."""
    with pytest.raises(errors.TargetError, match="is the image itself"):
        write_image(image.raw, image.raw)


def test_no_more_is_taken_than_was_handed_out(image, target):
    """Committing more than acquire gave is an error, although the ring has room for it."""
    with ImageWriter(target, format="raw") as writer:
        room = len(writer.acquire())
        with pytest.raises(errors.UsageError, match="more input was committed"):
            writer.commit(room + 1)


def test_memory_is_taken_back(target):
    """What acquire gave cannot be touched after commit."""
    with ImageWriter(target, format="raw") as writer:
        room = writer.acquire()
        room[:4] = b"data"
        writer.commit(4)
        with pytest.raises(ValueError, match="released"):
            room[0] = 1


def test_promised_size(image, target):
    """An image of another size than promised is refused before anything is written, raw ones too."""
    before = content(target)
    for source in (image.raw, image.chunked):
        with pytest.raises(errors.DataError, match="promised"):
            write_image(source, target, image_size=len(image.bytes) + 1)
    assert content(target) == before


def test_raw_image_of_unknown_end(target):
    """A raw image from a server that tells no size could break off unnoticed: refused."""
    source = open_source(io.BytesIO(b"raw image " * 1000))
    source.size, source.end_is_told = None, False
    with pytest.raises(errors.Refused, match="does not tell the size"):
        write_image(source, target)


def test_in_the_background(image, tmp_path):
    """The engine's threads are last in line, one at a time uses the medium, and the caller's thread is as it was."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    ioprio_get = {"x86_64": 252, "aarch64": 31}.get(os.uname().machine)
    if ioprio_get is None:
        pytest.skip("the number of ioprio_get is not known here")
    (tmp_path / "target").write_bytes(bytes(16 << 20))
    seen: set[tuple[bool, int, int]] = set()

    def look(now: object) -> None:
        for task in Path("/proc/self/task").iterdir():
            try:
                nice = int((task / "stat").read_text().rpartition(")")[2].split()[16])
            except OSError:  # it has ended meanwhile
                continue
            seen.add((int(task.name) == os.getpid(), nice, libc.syscall(ioprio_get, 1, int(task.name)) >> 13))

    report = write_image(image.chunked, tmp_path / "target", background=True, rate=20 << 20, progress=look)
    assert (report.depth, report.block) == (1, 256 << 10)
    assert (False, 19, 3) in seen
    assert all(nice != 19 for is_main, nice, _ in seen if is_main)
    assert (tmp_path / "target").read_bytes()[: len(image.bytes)] == image.bytes
