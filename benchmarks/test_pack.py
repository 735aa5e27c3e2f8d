"""`hupfast pack`, with all processors."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.inputs import Inputs
from benchmarks.suite import timed
from hupfast.image import pack

pytestmark = pytest.mark.benchmark(group="processor: pack")


@pytest.mark.parametrize("level", [3, 9])
def test_pack(benchmark: BenchmarkFixture, made: Inputs, folder: Path, level: int) -> None:
    """A raw image becomes a chunked one, which zstd decodes."""
    packed = folder / "packed.zst"

    timed(benchmark, lambda: pack(made.raw, packed, level=level, force=True), rounds=3)

    decoded = subprocess.run(["zstd", "-dcq", packed], capture_output=True, check=True).stdout
    assert hashlib.sha256(decoded).hexdigest() == made.sha256
