"""Reading from nginx on the same machine: its work is in the time."""

import hashlib

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.inputs import MIB, Inputs
from benchmarks.suite import timed
from benchmarks.web import Server
from hupfast.source import open_source
from hupfast.source.transport import Transport

pytestmark = pytest.mark.benchmark(group="processor: http")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_read(benchmark: BenchmarkFixture, made: Inputs, server: Server, scheme: str) -> None:
    """The raw image, into memory."""
    address = server.url(made.raw, tls=scheme == "https")
    transport = Transport(ca_file=str(server.ca))
    room = memoryview(bytearray(MIB))
    state = hashlib.sha256()

    def read(digest: bool = False) -> int:
        done = 0
        with open_source(address, transport=transport, decode=False) as source:
            while got := source.readinto(room):
                done += got
                if digest:
                    state.update(room[:got])
        return done

    assert timed(benchmark, read) == made.raw.stat().st_size

    read(digest=True)
    assert state.hexdigest() == made.sha256
