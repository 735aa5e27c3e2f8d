"""A signed bundle, up to the plan: nothing is written."""

from typing import TYPE_CHECKING

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import hupfast
from benchmarks.inputs import Inputs
from benchmarks.suite import timed
from hupfast.bundle import open_bundle
from hupfast.keys import read_key
from hupfast.manifest import Manifest
from hupfast.trust import check_trust

if TYPE_CHECKING:
    from benchmarks.board import Board


@pytest.mark.benchmark(group="processor: open a bundle")
def test_open_and_verify(benchmark: BenchmarkFixture, made: Inputs) -> None:
    """Front, key, signature, manifest."""

    def accept() -> Manifest:
        key = read_key(made.key)
        with open_bundle(made.bundle) as bundle:
            assert check_trust(bundle.front, [key], allow_unsigned=False) is key
            return bundle.accept()

    manifest = benchmark(accept)

    assert (manifest.name, manifest.version) == ("bench-os", "2.0")


@pytest.mark.benchmark(group="medium: plan")
def test_plan(benchmark: BenchmarkFixture, made: Inputs, board: "Board") -> None:
    """`hupfast update --dry-run`, which looks for the chunks on the board."""
    result = timed(
        benchmark,
        lambda: hupfast.update(made.bundle, root=board.path, key=made.key, dry_run=True),
        before=board.forget,
    )

    assert (result.outcome, result.slot) == ("planned", "b")
    assert result.plan is not None
    assert result.plan.survey is not None
    assert result.plan.survey.there == 0
