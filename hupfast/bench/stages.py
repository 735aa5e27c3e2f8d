"""The stages of a run that need no medium: decompression at several levels, SHA-256, XXH3; on 1 to n processors."""

from __future__ import annotations

import random
from collections.abc import Callable

from hupfast.bench.document import Stage
from hupfast.bench.engine import compress, stage_rate
from hupfast.bench.image import KINDS, PATTERN, make_chunk
from hupfast.bench.stats import middle

_SEED = 5


def measure_stages(
    levels: tuple[int, ...], cpus: int, *, rounds: int, seconds: float, tell: Callable[[str], None]
) -> tuple[Stage, ...]:
    """
    Measure each stage in rounds, in another order each time. seconds: of one round of one stage.

    Decompression is on 1, 2, 3, 4, 8 and 16 processors, as far as there are `cpus`, and on all of them (16 at most);
    hashing on one and on all of them. Levels are compressed once, and all are kept: 1 MiB each.
    """
    chunks = {kind: make_chunk(kind) for kind in KINDS}
    raw = [chunks[kind] for kind in PATTERN]
    sizes = [len(chunk) for chunk in raw]
    threads = sorted({1, *(count for count in (2, 3, 4, 8, 16) if count < cpus), min(cpus, 16)})
    packed = _pack_all(chunks, levels, tell)
    cells: list[tuple[str, int | None, int]] = [("decompress", level, count) for level in levels for count in threads]
    cells += [(name, None, count) for name in ("sha256", "xxh3") for count in sorted({1, threads[-1]})]
    rates: dict[tuple[str, int | None, int], list[float]] = {cell: [] for cell in cells}
    order, chaos = list(cells), random.Random(_SEED)
    for number in range(rounds):
        chaos.shuffle(order)
        for cell in order:
            name, packed_at, processors = cell
            tell(f"{name} on {processors} processors, round {number + 1} of {rounds}")
            pieces = raw if packed_at is None else packed[packed_at]
            rates[cell].append(stage_rate(name, pieces, sizes, threads=processors, seconds=seconds))
    return tuple(
        Stage(
            name=cell[0],
            level=cell[1],
            threads=cell[2],
            rounds=tuple(rates[cell]),
            ratio=None if cell[1] is None else sum(sizes) / sum(map(len, packed[cell[1]])),
            rate=middle(rates[cell]),
        )
        for cell in cells
    )


def _pack_all(chunks: dict[str, bytes], levels: tuple[int, ...], tell: Callable[[str], None]) -> dict[int, list[bytes]]:
    """The frames of each level, in the order of PATTERN. What no level makes smaller is in memory once."""
    packed: dict[int, list[bytes]] = {}
    known: dict[bytes, bytes] = {}
    for level in levels:
        tell(f"compressing at level {level}")
        frames = {}
        for kind, chunk in chunks.items():
            data = compress(chunk, level).data
            frames[kind] = known.setdefault(data, data)
        packed[level] = [frames[kind] for kind in PATTERN]
    return packed
