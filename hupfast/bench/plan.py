"""
What is measured: the list of runs of each mode, cut to the memory that may be used.

| mode    | lasts about | writes                              | reads        | long write |
|---------|-------------|-------------------------------------|--------------|------------|
| quick   | 10 s        | 3 blocks, depths 1 and 4            | 2            | no         |
| default | 2 minutes   | 4 blocks, depths 1, 4 and 16        | 6            | 15 s       |
| full    | 20 minutes  | 7 blocks, depths 1, 2, 4, 8 and 16  | as many      | until its knee is seen, or --seconds |

They use 256 MiB of the target, and a long write goes over these again and again. The full one uses a quarter of it if
that is more, up to 4 GiB: a cache that is larger than what is written anew would never be full. In a folder it is never
more than a quarter of what is free. The image that is written at the end of each mode does not grow with that.

Flushes in between, zeroing, discarding and io_uring come on top.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from hupfast.bench.units import argument
from hupfast.errors import UsageError

KIB, MIB = 1 << 10, 1 << 20

BLOCK, DEPTH = MIB, 4
"""What the writer takes when nothing is known, and what differences are measured against."""

WARM_UP = 5.0
"""Seconds, of a mode that has a long write, when that is not made: without an end, it would fill all of --size."""

MODES = ("quick", "default", "full")


@dataclass(frozen=True)
class Cell:
    """One way of using the medium. As in document.Run."""

    operation: str
    block: int
    depth: int
    method: str = "threads"
    flush_every: int = 0

    @property
    def name(self) -> str:
        """What to call it in a remark."""
        parts = [self.operation, f"{self.block >> 10}K", f"depth {self.depth}"]
        parts += [self.method] if self.method != "threads" else []
        parts += [f"flushed every {self.flush_every >> 20}M"] if self.flush_every else []
        return " ".join(parts)


@dataclass(frozen=True)
class Plan:
    """
    How to measure. Times in seconds, sizes in bytes.

    warm_up: of writing, before anything counts. run, run_bytes: of each round, whichever is over first. sustained: the
    long write lasts so long at most (0: there is none); until_knee: and ends before, once its knee was seen.
    stage: of each round of a stage. in_flight: most bytes; left_out: what takes more, and why it is not measured.
    block, depth: of the long write, and of warming up; its figures stand beside those of this cell.
    image: time that writing the image should take; 0: there is none. size: of a large target, bytes to use.
    """

    mode: str
    cells: tuple[Cell, ...]
    rounds: int
    warm_up: float
    run: float
    run_bytes: int
    sustained: float
    until_knee: bool
    stage: float
    levels: tuple[int, ...]
    image: float
    image_bytes: int
    size: int = 256 * MIB
    block: int = BLOCK
    depth: int = DEPTH
    in_flight: int = 0
    left_out: tuple[tuple[str, str], ...] = ()


def make_plan(mode: str, *, memory: int, rounds: int = 0, seconds: float | None = None) -> Plan:
    """
    The plan of a mode.

    memory: bytes that may be in flight. rounds: 0 for those of the mode. seconds: of the long write, None for those of
    the mode. Raises: UsageError.
    """
    if rounds < 0 or (seconds is not None and seconds < 0):
        raise UsageError("rounds and seconds are not negative")
    plan = {"quick": _quick, "default": _default, "full": _full}[mode]()
    cells = tuple(cell for cell in plan.cells if cell.block * cell.depth <= memory)
    plain = [cell for cell in cells if (cell.operation, cell.method, cell.flush_every) == ("write", "threads", 0)]
    usual = [cell for cell in plain if cell.block <= BLOCK and cell.depth <= DEPTH]
    if not usual:
        raise UsageError(f"a memory budget of {memory} bytes is too small to measure with")
    like = max(usual, key=lambda cell: (cell.block * cell.depth, cell.block))
    large = dict.fromkeys(f"{cell.block >> 10}K x {cell.depth}" for cell in plan.cells if cell not in cells)
    why = f"more than {argument(memory)} in flight, which --in-flight allows"
    long = plan.sustained if seconds is None else seconds
    return replace(
        plan,
        cells=cells,
        block=like.block,
        depth=like.depth,
        warm_up=plan.warm_up or (0.0 if long else WARM_UP),
        in_flight=memory,
        left_out=((", ".join(large), why),) if large else (),
        rounds=rounds or plan.rounds,
        sustained=long,
    )


def _extras(flushes: tuple[int, ...], ring: tuple[tuple[str, int, int], ...]) -> tuple[Cell, ...]:
    return (
        *(Cell("write", BLOCK, DEPTH, flush_every=size) for size in flushes),
        *(Cell(operation, block, depth, "io_uring") for operation, block, depth in ring),
        Cell("zero", 4 * MIB, 1),
        Cell("discard", 4 * MIB, 1),
    )


def _grid(operation: str, blocks: tuple[int, ...], depths: tuple[int, ...]) -> tuple[Cell, ...]:
    return tuple(Cell(operation, block, depth) for block, depth in product(blocks, depths))


def _quick() -> Plan:
    cells = (
        *_grid("write", (256 * KIB, MIB, 4 * MIB), (1, 4)),
        *_grid("read", (MIB,), (1, 4)),
        *_extras((4 * MIB,), (("write", BLOCK, DEPTH),)),
    )
    return Plan("quick", cells, 3, 1.0, 0.15, 32 * MIB, 0.0, False, 0.04, (3,), 1.5, 128 * MIB)


def _default() -> Plan:
    cells = (
        *_grid("write", (64 * KIB, 256 * KIB, MIB, 4 * MIB), (1, 4, 16)),
        *_grid("read", (64 * KIB, MIB, 4 * MIB), (1, 4)),
        *_extras(
            (MIB, 4 * MIB, 16 * MIB, 64 * MIB),
            (("write", BLOCK, DEPTH), ("write", 64 * KIB, 16), ("read", BLOCK, DEPTH)),
        ),
    )
    return Plan("default", cells, 3, 0.0, 0.8, 128 * MIB, 15.0, False, 0.2, (1, 3, 9, 19), 6.0, 512 * MIB)


def _full() -> Plan:
    blocks, depths = tuple(64 * KIB << step for step in range(7)), (1, 2, 4, 8, 16)
    ring = tuple(product(("write", "read"), (64 * KIB, MIB), (1, 4, 16)))
    cells = (
        *_grid("write", blocks, depths),
        *_grid("read", blocks, depths),
        *_extras((MIB, 4 * MIB, 16 * MIB, 64 * MIB), ring),
    )
    return Plan("full", cells, 5, 0.0, 2.0, 256 * MIB, 300.0, True, 0.5, (1, 3, 9, 19), 20.0, 256 * MIB, 4096 * MIB)
