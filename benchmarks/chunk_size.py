"""
What the size of a chunk costs and gives: the table from which the default of `hupfast pack` is chosen.

    python -m benchmarks.chunk_size [--image FILE] [--levels 3,9,15,19] [--chunks 256K,512K,1M,2M,4M]

For each level and chunk size: the packed size against one single zstd frame of that level, the smallest
memory budget that the engine writes it with, and how fast the engine checks and decodes it with one decoder
and with two, out of the page cache, to nowhere. Packing at levels above 9 is slow: those levels see a slice
of the image. Printed as a Markdown table. Needs no root.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.contenders import MIB
from benchmarks.images import build
from benchmarks.install import TREE
from benchmarks.machine import run
from benchmarks.rounds import to_stderr, warm
from hupfast import engine
from hupfast.image import pack
from hupfast.run import Run

SLOW = 9
"""Levels above this one see a slice only."""

ROUNDS = 3


@dataclass(frozen=True)
class Packed:
    """
    One way to pack the image. Sizes in bytes, speeds in raw bytes a second.

    chunk: raw bytes of a chunk, 0 for one single frame. memory: smallest budget of the engine.
    """

    level: int
    chunk: int
    raw: int
    size: int
    memory: int
    pack_seconds: float
    one: float
    two: float


def decode(path: Path, workers: int, memory: int) -> float:
    """Seconds in which the engine checks and decodes all of path, which is in the page cache before."""
    warm(path)
    start = time.monotonic()
    with path.open("rb") as file, Run("check", None, memory=memory, workers=workers) as check:
        check.read_fd(file.fileno())
        while check.wait(60) is None:
            pass
        return time.monotonic() - start


def measure(raw: Path, level: int, chunk: int, folder: Path) -> Packed:
    """Pack the image in one way, and decode it some times."""
    path = folder / f"{level}-{chunk}.zst"
    start = time.monotonic()
    if chunk:
        pack(raw, path, level=level, chunk_size=chunk)
    else:
        run(["zstd", "-q", f"-{level}", "-f", raw, "-o", path])
    seconds = time.monotonic() - start
    with path.open("rb") as file:
        least = engine.probe(file.read(engine.PROBE_SIZE)).memory
    budget = max(least, engine.MEMORY_DEFAULT)
    times = [(decode(path, 1, budget), decode(path, 2, budget)) for _ in range(ROUNDS)]
    one, two = (median(column) for column in zip(*times, strict=True))
    size, length = path.stat().st_size, raw.stat().st_size
    path.unlink()
    return Packed(level, chunk, length, size, least, seconds, length / one, length / two)


def size_of(text: str) -> int:
    """`256K`, `4M` or plain bytes."""
    units = {"K": 1 << 10, "M": MIB}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def name_of(chunk: int) -> str:
    """A chunk size as people write it."""
    if not chunk:
        return "one frame"
    return f"{chunk // MIB} MiB" if chunk >= MIB else f"{chunk >> 10} KiB"


def markdown(rows: Sequence[Packed]) -> str:
    """The table. The loss is against the single frame of the same level, which has to be among the rows."""
    whole = {row.level: row.size for row in rows if not row.chunk}
    lines = [
        "| level | chunk | packed MiB | against one frame | smallest budget MiB | pack MB/s | decode MB/s, one | two |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        loss = f"{100 * (row.size / whole[row.level] - 1):+.1f}%" if row.chunk else ""
        cells = [
            f"{row.level} ({row.raw // MIB} MiB)",
            name_of(row.chunk),
            f"{row.size / MIB:.1f}",
            loss,
            f"{row.memory / MIB:.1f}",
            f"{row.raw / row.pack_seconds / 1e6:.0f}",
            f"{row.one / 1e6:.0f}",
            f"{row.two / 1e6:.0f}" if row.chunk else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def cut(source: Path, size: int, path: Path) -> Path:
    """The first `size` bytes of source, as a file of their own; source itself when it has no more."""
    if source.stat().st_size <= size:
        return source
    with source.open("rb") as file, path.open("wb") as out:
        for offset in range(0, size, MIB):
            out.write(file.read(min(MIB, size - offset)))
    return path


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chunk_size")
    parser.add_argument("--image", type=Path, help="a raw image (default: the 1 GiB image of the benchmarks)")
    parser.add_argument("--levels", default="3,9,15,19")
    parser.add_argument("--chunks", default="256K,512K,1M,2M,4M")
    parser.add_argument("--slice", default="192M", help=f"of the image, for levels above {SLOW}")
    options = parser.parse_args(argv)
    directory = TREE / "build" / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    image = options.image or build(directory, 1024 * MIB).raw
    chunks = [0, *map(size_of, options.chunks.split(","))]
    rows = []
    os.nice(10)
    with tempfile.TemporaryDirectory(dir=directory, prefix="chunks-") as name:
        folder = Path(name)
        part = cut(image, size_of(options.slice), folder / "slice.img")
        for level in map(int, options.levels.split(",")):
            for chunk in chunks:
                rows.append(measure(part if level > SLOW else image, level, chunk, folder))
                to_stderr(f"level {level}, {name_of(chunk)}: {rows[-1].size / MIB:.1f} MiB")
    print(markdown(rows))


if __name__ == "__main__":
    main()
