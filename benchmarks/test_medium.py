"""A medium by the engine's own means, past the page cache: writes, flushes, reads and zeroes."""

import hashlib

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.inputs import MIB, SIZE
from benchmarks.suite import Target, timed
from hupfast.bench.engine import Moved, move


def moved(target: Target, operation: str, flush_every: int = 0) -> Moved:
    """Move the image's size in writes (or reads) of 1 MiB, four in flight."""
    return move(
        str(target.path), operation, block=MIB, depth=4, length=SIZE, total=SIZE, flush_every=flush_every, samples=0
    )


@pytest.mark.benchmark(group="medium: write")
def test_write(benchmark: BenchmarkFixture, target: Target) -> None:
    """Writes with one flush at the end."""
    target.refill()
    old = target.digest()

    done = timed(benchmark, lambda: moved(target, "write"))

    assert (done.bytes, done.direct, done.flushes) == (SIZE, True, 1)
    assert target.digest() != old


@pytest.mark.benchmark(group="medium: flush")
def test_flush(benchmark: BenchmarkFixture, target: Target) -> None:
    """Writes with a flush after every 4 MiB."""
    done = timed(benchmark, lambda: moved(target, "write", 4 * MIB))

    assert (done.bytes, done.direct) == (SIZE, True)
    assert done.flushes >= SIZE // (4 * MIB)


@pytest.mark.benchmark(group="medium: read")
def test_read(benchmark: BenchmarkFixture, target: Target) -> None:
    """Reads past every cache."""
    target.refill()
    old = target.digest()

    done = timed(benchmark, lambda: moved(target, "read"))

    assert (done.bytes, done.direct) == (SIZE, True)
    assert target.digest() == old


@pytest.mark.benchmark(group="medium: zero")
def test_zero(benchmark: BenchmarkFixture, target: Target) -> None:
    """Zeroes that are asked for, where old content is."""
    done = timed(benchmark, lambda: moved(target, "zero"), before=target.refill)

    assert done.bytes == SIZE
    assert target.digest() == hashlib.sha256(bytes(SIZE)).hexdigest()
