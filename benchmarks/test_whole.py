"""The whole way of an image: `hupfast write` onto a target, and `hupfast update` of a virtual board."""

from typing import TYPE_CHECKING

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import hupfast
from benchmarks.inputs import SIZE, Inputs
from benchmarks.suite import Target, timed
from benchmarks.web import Server

if TYPE_CHECKING:
    from benchmarks.board import Board


@pytest.mark.benchmark(group="medium: write an image")
@pytest.mark.parametrize("form", ["raw", "ordinary", "chunked"])
def test_write_image(benchmark: BenchmarkFixture, made: Inputs, target: Target, form: str) -> None:
    """Each form, over old content, without reading back."""
    image = {"raw": made.raw, "ordinary": made.zst(3), "chunked": made.chunked}[form]

    report = timed(benchmark, lambda: hupfast.write_image(image, target.path, verify=False), before=target.refill)

    assert (report.image_size, report.verified, report.direct) == (SIZE, False, True)
    assert target.digest() == made.sha256


@pytest.mark.benchmark(group="medium: write an image")
def test_write_and_read_back(benchmark: BenchmarkFixture, made: Inputs, target: Target) -> None:
    """As users do it: chunked, and read back."""
    report = timed(benchmark, lambda: hupfast.write_image(made.chunked, target.path), before=target.refill)

    assert (report.image_size, report.verified, report.direct) == (SIZE, True, True)
    assert target.digest() == made.sha256


@pytest.mark.benchmark(group="medium: update a board")
def test_update(benchmark: BenchmarkFixture, made: Inputs, board: "Board") -> None:
    """A signed bundle from a file, all of it new to the board."""
    result = timed(benchmark, lambda: hupfast.update(made.bundle, root=board.path, key=made.key), before=board.refill)

    assert (result.outcome, result.slot) == ("installed", "b")
    assert board.digest(((0, SIZE),)) == made.sha256


@pytest.mark.benchmark(group="medium: update a board")
def test_update_over_http(benchmark: BenchmarkFixture, made: Inputs, board: "Board", server: Server) -> None:
    """The same bundle from a web server."""
    address = server.url(made.bundle)

    result = timed(benchmark, lambda: hupfast.update(address, root=board.path, key=made.key), before=board.refill)

    assert (result.outcome, result.slot) == ("installed", "b")
    assert board.digest(((0, SIZE),)) == made.sha256
