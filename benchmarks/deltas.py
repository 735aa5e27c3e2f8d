"""
How small an update can be: what of a new image must be fetched, by how the image was made and by its chunk size.

    python -m benchmarks.deltas [--size MIB] [--chunks 64K,256K,1M,4M] [--level N]

The new image has one file of twenty changed. A chunk that the old image has at the same place is not fetched
(hupfast/fetch.py); the others are, as their zstd frames. Both images are made anew in each row, as a build server
does. Printed as a Markdown table: for each chunk size the share of the new packed image that is fetched, when the
slot with the old image has got a UUID of its own, as most profiles want it; in brackets, when it has that of the
image. The rows that mount an image need root, and are left out elsewhere.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import zstandard

from benchmarks.changed import USUAL, Recipe, versions
from benchmarks.chunk_size import name_of, size_of
from benchmarks.contenders import MIB
from benchmarks.install import TREE
from benchmarks.machine import run
from benchmarks.rounds import to_stderr
from hupfast.ext4 import Ext4

RECIPES = (
    USUAL,
    Recipe("-O ^metadata_csum", features="^metadata_csum"),
    Recipe("-U, -E hash_seed", ids=True),
    Recipe("-U, -E hash_seed, -O metadata_csum_seed", ids=True, features="metadata_csum_seed"),
    Recipe("the same, E2FSPROGS_FAKE_TIME", ids=True, features="metadata_csum_seed", time=True),
    Recipe("the old image mounted, its files changed", features="metadata_csum_seed", in_place=True),
)


@dataclass(frozen=True)
class Share:
    """What of an image is fetched. Bytes of packed chunks: fetched, and all of them. chunks: how many differ."""

    fetched: int
    packed: int
    chunks: int

    @property
    def ratio(self) -> float:
        return self.fetched / self.packed


def share(old: Path, new: Path, chunk: int, level: int) -> Share:
    """Compare two images chunk by chunk."""
    return shares([old], new, chunk, level)[0]


def shares(olds: Sequence[Path], new: Path, chunk: int, level: int) -> list[Share]:
    """Compare several old images with one new one."""
    squeeze = zstandard.ZstdCompressor(level=level).compress
    packed, fetched, differing = 0, [0] * len(olds), [0] * len(olds)
    with ExitStack() as stack:
        before = [stack.enter_context(old.open("rb")) for old in olds]
        after = stack.enter_context(new.open("rb"))
        while data := after.read(chunk):
            size = len(squeeze(data))
            packed += size
            for number, file in enumerate(before):
                if file.read(chunk) != data:
                    fetched[number] += size
                    differing[number] += 1
    return [Share(own, packed, count) for own, count in zip(fetched, differing, strict=True)]


def stamped(image: Path) -> Path:
    """A copy of an image as it is in a slot after an update: with another UUID, and a label."""
    copy = image.with_suffix(".stamped")
    run(["cp", "--sparse=always", image, copy])
    filesystem = Ext4(copy)
    filesystem.fresh_uuid()
    filesystem.set_label("hup-root-a")
    return copy


def rows(folder: Path, size: int, chunks: Sequence[int], level: int) -> list[str]:
    """One line of the table for each way of making and changing an image."""
    lines = []
    for longer in (False, True):
        what = "a tenth longer" if longer else "same length"
        for recipe in RECIPES:
            if recipe.in_place and os.geteuid() != 0:
                to_stderr(f"{recipe.title}: left out, mounting needs root")
                continue
            with tempfile.TemporaryDirectory(dir=folder) as name:
                old, new = versions(Path(name) / "made", size, recipe, longer=longer)
                found = [shares([stamped(old), old], new, chunk, level) for chunk in chunks]
            cells = [f"{100 * fresh.ratio:.1f}% ({100 * same.ratio:.1f}%)" for fresh, same in found]
            lines.append(f"| {what} | {recipe.title} | {' | '.join(cells)} |")
            to_stderr(lines[-1])
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deltas")
    parser.add_argument("--size", type=int, default=512, metavar="MIB", help="of each image (512)")
    parser.add_argument("--chunks", default="64K,256K,1M,4M")
    parser.add_argument("--level", type=int, default=3)
    options = parser.parse_args(argv)
    directory = TREE / "build" / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    chunks = [size_of(text) for text in options.chunks.split(",")]
    os.nice(10)
    with tempfile.TemporaryDirectory(dir=directory, prefix="deltas-") as name:
        lines = rows(Path(name), options.size * MIB, chunks, options.level)
    print(f"| changed files | image made by | {' | '.join(map(name_of, chunks))} |")
    print(f"|---|---|{'---|' * len(chunks)}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
