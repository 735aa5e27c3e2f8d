"""Looking at what a target has already: comparing it with an image, and leaving alone what is there."""

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import hupfast
from benchmarks.inputs import SIZE, Inputs
from benchmarks.suite import Target, timed
from hupfast.errors import MismatchError
from hupfast.fetch import Survey, survey_image
from hupfast.manifest import ImageMember
from hupfast.source import open_source
from hupfast.table import read_table


@pytest.mark.benchmark(group="medium: read back")
@pytest.mark.parametrize("form", ["chunked", "ordinary"])
def test_verify(benchmark: BenchmarkFixture, made: Inputs, target: Target, form: str) -> None:
    """A target is compared with an image: by the digests of chunks, and by decoding."""
    image = made.chunked if form == "chunked" else made.zst(3)
    target.hold(made.raw)

    report = timed(benchmark, lambda: hupfast.verify_image(image, target.path))

    assert report.verified
    with target.bytes.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"another")
    target.forget()
    with pytest.raises(MismatchError):
        hupfast.verify_image(image, target.path)


@pytest.mark.benchmark(group="medium: skip what is there")
@pytest.mark.parametrize("form", ["chunked", "ordinary"])
def test_skip_unchanged(benchmark: BenchmarkFixture, made: Inputs, target: Target, form: str) -> None:
    """An image onto a target that holds it already: nothing is written."""
    image = made.chunked if form == "chunked" else made.zst(3)
    target.hold(made.raw)

    report = timed(benchmark, lambda: hupfast.write_image(image, target.path, verify=False, skip_unchanged=True))

    assert (report.written, report.zeroed, report.unchanged) == (0, 0, SIZE)
    assert target.digest() == made.sha256


def survey(image: Path, target: Target) -> Survey:
    """What an update would do with a chunked image."""
    table = read_table(image)
    member = ImageMember("image.zst", image.stat().st_size, table.image_size, table.chunk_size, table.sha256)
    with open_source(image) as source:
        return survey_image(source, member, target.path)


@pytest.mark.benchmark(group="medium: survey")
def test_survey_finds_all(benchmark: BenchmarkFixture, made: Inputs, target: Target) -> None:
    """Chunks are looked for on a target that has them all."""
    target.hold(made.raw)

    found = timed(benchmark, lambda: survey(made.chunked, target))

    assert (found.there, found.written, found.fetched) == (SIZE, 0, read_table(made.chunked).size)


@pytest.mark.benchmark(group="medium: survey")
def test_survey_finds_nothing(benchmark: BenchmarkFixture, made: Inputs, target: Target) -> None:
    """Chunks are looked for on a target that has none of them."""
    target.refill()

    found = timed(benchmark, lambda: survey(made.chunked, target))

    assert (found.there, found.written) == (0, SIZE)
