"""What the suites (test_*.py beside this) have in common: targets to write onto, and the way of timing."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import device, machine
from benchmarks.direct import digest, write_all
from benchmarks.inputs import SIZE
from benchmarks.rounds import cool

CPUS = min(len(os.sched_getaffinity(0)), 16)
"""Threads that the engine takes at most."""

ROUNDS = 5

Result = TypeVar("Result")


def timed(
    benchmark: BenchmarkFixture,
    function: Callable[[], Result],
    *,
    before: Callable[[], None] | None = None,
    rounds: int = ROUNDS,
) -> Result:
    """
    Time a call that takes longer than any clock is coarse, in a few rounds. Returns what the last one did.

    before: called in front of each round, and not timed.
    """

    def ready() -> tuple[tuple[()], dict[str, object]]:
        if before is not None:
            before()
        return (), {}

    result: Result = benchmark.pedantic(function, setup=ready, rounds=rounds)  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True)
class Target:
    """
    A file or a loop device of the image's size. bytes: the file that holds them.

    forget: nothing of it stays in the page cache, and all that was written is on the disk.
    """

    path: Path
    bytes: Path
    forget: Callable[[], None]

    def refill(self) -> None:
        """Bring it to the state before a round: old content, nothing cached."""
        self.forget()
        write_all(self.bytes, SIZE, block=4 << 20, depth=2)
        self.forget()

    def digest(self) -> str:
        """SHA-256 of what it holds, past every cache, in hexadecimal."""
        self.forget()
        return digest(self.bytes, ((0, SIZE),))

    def hold(self, image: Path) -> None:
        """Give it the bytes of a raw image."""
        self.forget()
        machine.run(["dd", f"if={image}", f"of={self.bytes}", "bs=1M", "conv=notrunc,fsync", "status=none"])
        self.forget()


@contextmanager
def a_file(folder: Path) -> Iterator[Target]:
    """A regular file of old content. Raises: BenchmarkError where there is no direct I/O."""
    path = folder / "target.img"
    device._allocate(path, SIZE)
    try:
        yield Target(path, path, lambda: cool(path))
    finally:
        path.unlink()


@contextmanager
def a_loop(folder: Path) -> Iterator[Target]:
    """A loop device with direct I/O and old content. Raises: BenchmarkError where it cannot be had."""
    if os.geteuid() != 0:
        raise machine.BenchmarkError("loop devices need root")
    if not Path("/dev/loop-control").exists():
        raise machine.BenchmarkError("/dev/loop-control is missing")
    with device.fast(folder, SIZE) as loop:
        yield Target(loop.path, loop.backing, loop.forget)
