"""Fixtures of the suites: inputs that are made once, targets, a server and a board; each skips with the reason."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import hupfast
from benchmarks import machine, suite, web
from benchmarks.inputs import SIZE, Inputs, inputs

if TYPE_CHECKING:
    from benchmarks.board import Board

KEPT = Path(__file__).resolve().parent.parent / "build" / "benchmarks"


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Say which hupfast is measured: compare.py looks whether it is the one that it wanted."""
    machine_info["hupfast"] = hupfast.__file__


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`workers`: one, and as many as there are processors."""
    if "workers" in metafunc.fixturenames:
        metafunc.parametrize("workers", sorted({1, suite.CPUS}))


@pytest.fixture(scope="session")
def made() -> Inputs:
    """The image in every form."""
    if why := machine.missing("zstd"):
        pytest.skip(why)
    return inputs(KEPT)


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder for targets: on a disk, for a file system in memory may take no direct I/O."""
    KEPT.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="run-", dir=KEPT))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module", params=[suite.a_file, suite.a_loop], ids=["file", "loop"])
def target(request: pytest.FixtureRequest, folder: Path) -> Iterator[suite.Target]:
    """A regular file, and a loop device with direct I/O."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(request.param(folder))
        except machine.BenchmarkError as error:
            pytest.skip(str(error))
        yield found


@pytest.fixture(scope="module")
def server(made: Inputs, folder: Path) -> Iterator[web.Server]:
    """nginx with the inputs."""
    if why := web.web_missing():
        pytest.skip(why)
    with web.serve(made.folder, folder / "web") as running:
        yield running


@pytest.fixture(scope="module")
def board(folder: Path) -> Iterator["Board"]:
    """A virtual board as it leaves the factory, with slots of the image's size."""
    from benchmarks.board import board as new_board  # a hupfast that is older than the virtual board has the rest

    if why := machine.missing("mkfs.ext4"):
        pytest.skip(why)
    with ExitStack() as stack:
        try:
            made = stack.enter_context(new_board(folder, SIZE))
        except OSError as error:
            pytest.skip(f"{folder} takes no direct I/O: {error}")
        yield made
