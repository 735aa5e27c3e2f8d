"""Decompression: zstd alone, and with all that the engine does to an image that goes nowhere."""

from pathlib import Path

import pytest
import xxhash
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.inputs import LEVELS, SIZE, Inputs, chunks
from benchmarks.suite import timed
from hupfast.bench.engine import compress, stage_rate
from hupfast.run import Range, Run

pytestmark = pytest.mark.benchmark(group="processor: decompress")

ONCE = 1e-9
"""Seconds after which a stage stops, once it has done all pieces: it does them twice, the first time to warm up."""


def check(image: Path, workers: int, ranges: list[Range] | None = None) -> int:
    """Decode an image to nowhere; returns its size."""
    with image.open("rb") as file, Run("check", None, workers=workers, ranges=ranges) as run:
        run.read_fd(file.fileno())
        while (report := run.wait(10)) is None:
            pass
        return int(report.image_size)


@pytest.mark.parametrize("level", LEVELS)
def test_frames(benchmark: BenchmarkFixture, made: Inputs, level: int, workers: int) -> None:
    """Frames of 1 MiB, in memory, by one thread and by all, each of which does them all."""
    raw = chunks(made.raw.read_bytes())
    frames = [compress(piece, level) for piece in raw]
    packed, sizes = [frame.data for frame in frames], [frame.raw for frame in frames]

    rate = timed(benchmark, lambda: stage_rate("decompress", packed, sizes, threads=workers, seconds=ONCE))

    assert rate > 0
    assert [frame.xxh3 for frame in frames] == [xxhash.xxh3_128_digest(piece) for piece in raw]


@pytest.mark.parametrize("level", LEVELS)
def test_ordinary_image(benchmark: BenchmarkFixture, made: Inputs, level: int) -> None:
    """One frame of zstd, from a file to nowhere."""
    assert timed(benchmark, lambda: check(made.zst(level), 0)) == SIZE

    right = Range(0, SIZE, bytes.fromhex(made.sha256))
    assert check(made.zst(level), 0, [right]) == SIZE  # or it raises


def test_chunked_image(benchmark: BenchmarkFixture, made: Inputs, workers: int) -> None:
    """Chunks are checked, decoded and checked again, by one decoder and by all."""
    assert timed(benchmark, lambda: check(made.chunked, workers)) == SIZE

    right = Range(0, SIZE, bytes.fromhex(made.sha256))
    assert check(made.chunked, workers, [right]) == SIZE
