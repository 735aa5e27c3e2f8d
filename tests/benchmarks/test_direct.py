"""benchmarks/direct.py: all bytes are moved, and the digest is that of the standard library."""

import hashlib
from pathlib import Path

import pytest

from benchmarks.direct import digest, old_content, read_all, write_all

KIB = 1024


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file of 100 KiB of zeroes that takes direct I/O."""
    path = tmp_path / "target"
    path.write_bytes(bytes(100 * KIB))
    try:
        read_all(path, 4 * KIB, block=4 * KIB, depth=1)
    except OSError as error:
        pytest.skip(f"no direct I/O in {tmp_path}: {error.strerror}")
    return path


def test_all_is_written_once(target: Path) -> None:
    """Every block holds old content, also the short last one, and the file has not grown."""
    write_all(target, 100 * KIB, block=16 * KIB, depth=3)

    assert target.read_bytes() == (old_content(16 * KIB) * 7)[: 100 * KIB]


def test_digest_of_ranges(target: Path) -> None:
    """Of the ranges, in their order."""
    data = old_content(100 * KIB)
    target.write_bytes(data)
    ranges = [(8 * KIB, 4 * KIB), (0, 8 * KIB), (64 * KIB, 36 * KIB)]

    wanted = hashlib.sha256(b"".join(data[start : start + length] for start, length in ranges)).hexdigest()

    assert digest(target, ranges) == wanted


def test_a_device_that_is_too_short_is_an_error(target: Path) -> None:
    """Reading past the end is no fast reading."""
    with pytest.raises(OSError, match="of 16384 bytes at"):
        read_all(target, 200 * KIB, block=16 * KIB, depth=2)


def test_sizes_must_be_aligned(target: Path) -> None:
    """What O_DIRECT would refuse in the middle is refused at the start."""
    with pytest.raises(ValueError, match="multiples of 4096"):
        write_all(target, 1000, block=4096, depth=1)
