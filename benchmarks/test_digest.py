"""The digests: SHA-256 of what comes in, XXH3 of what is written."""

import hashlib

import pytest
import xxhash
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.inputs import Inputs, chunks
from benchmarks.suite import timed
from hupfast import engine
from hupfast.bench.engine import compress, stage_rate

ONCE = 1e-9
"""Seconds after which a stage stops, once it has done all pieces: it does them twice, the first time to warm up."""


@pytest.mark.benchmark(group="processor: sha-256")
def test_sha256_of_memory(benchmark: BenchmarkFixture, made: Inputs) -> None:
    """As Python calls it, of 32 MiB."""
    data = made.raw.read_bytes()

    digest = timed(benchmark, lambda: engine.sha256(data))

    assert digest == hashlib.sha256(data).digest()


@pytest.mark.benchmark(group="processor: sha-256")
def test_sha256(benchmark: BenchmarkFixture, made: Inputs, workers: int) -> None:
    """Pieces of 1 MiB, by one thread and by all, each of which does them all."""
    pieces = chunks(made.raw.read_bytes())

    rate = timed(benchmark, lambda: stage_rate("sha256", pieces, [0] * len(pieces), threads=workers, seconds=ONCE))

    assert rate > 0


@pytest.mark.benchmark(group="processor: xxh3")
def test_xxh3(benchmark: BenchmarkFixture, made: Inputs, workers: int) -> None:
    """The same of XXH3-128, four times, for it is fast."""
    pieces = [*chunks(made.raw.read_bytes())] * 4

    rate = timed(benchmark, lambda: stage_rate("xxh3", pieces, [0] * len(pieces), threads=workers, seconds=ONCE))

    assert rate > 0
    assert compress(pieces[0], 1).xxh3 == xxhash.xxh3_128_digest(pieces[0])
