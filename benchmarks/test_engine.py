"""
Small parts of the Python API against the clock: `pytest benchmarks` (by pytest-benchmark).

The image is 16 MiB: a third zeroes, a third text-like, a third that does not compress.
"""

import random
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import hupfast
from hupfast import engine
from hupfast.image import pack
from hupfast.run import Run

MIB = 1 << 20
SIZE = 16 * MIB


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw image."""
    dice = random.Random(1)
    words = [dice.randbytes(7) for _ in range(500)]
    text = b"".join(dice.choices(words, k=SIZE // 21))
    path = tmp_path_factory.mktemp("image") / "image.img"
    path.write_bytes((dice.randbytes(SIZE // 3) + text + bytes(SIZE))[:SIZE])
    return path


@pytest.fixture(scope="session")
def chunked(raw: Path) -> Path:
    """The same, packed as users get it."""
    path = raw.with_suffix(".zst")
    pack(raw, path)
    return path


def test_sha256_of_memory(benchmark: BenchmarkFixture) -> None:
    """SHA-256 of 16 MiB."""
    data = bytes(SIZE)

    digest = benchmark(engine.sha256, data)

    assert len(digest) == 32


@pytest.mark.parametrize("workers", [1, 2])
def test_check_and_decode(benchmark: BenchmarkFixture, chunked: Path, workers: int) -> None:
    """A chunked image checked and decoded to nowhere, by one decoder and by two."""

    def decode() -> int:
        with chunked.open("rb") as file, Run("check", None, workers=workers) as run:
            run.read_fd(file.fileno())
            while (report := run.wait(10)) is None:
                pass
            return int(report.image_size)

    assert benchmark(decode) == SIZE


@pytest.mark.parametrize("verify", [False, True], ids=["written", "read-back"])
def test_write_image(benchmark: BenchmarkFixture, chunked: Path, tmp_path: Path, verify: bool) -> None:
    """A chunked image written onto a regular file, without and with reading back."""
    target = tmp_path / "target.img"
    target.write_bytes(bytes(SIZE))

    report = benchmark(hupfast.write_image, chunked, target, verify=verify)

    assert report.image_size == SIZE
    assert report.verified == verify


def test_verify_image(benchmark: BenchmarkFixture, chunked: Path, raw: Path) -> None:
    """A target compared with a chunked image."""
    report = benchmark(hupfast.verify_image, chunked, raw)

    assert report.verified


@pytest.mark.parametrize("level", [3, 9])
def test_pack(benchmark: BenchmarkFixture, raw: Path, tmp_path: Path, level: int) -> None:
    """Packing, with all processors."""
    packed = tmp_path / "packed.zst"

    benchmark(pack, raw, packed, level=level, force=True)

    assert packed.stat().st_size < SIZE
