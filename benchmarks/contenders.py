"""Who takes part, with which command line, and what has to be on the target afterwards."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.device import Target
from benchmarks.images import Images
from benchmarks.machine import missing

MIB = 1 << 20

BASELINE = "zstd-null"
PROBE_WRITE, PROBE_READ = "direct-write", "direct-read"

Stages = list[list[str]]


@dataclass(frozen=True)
class Pattern:
    """How the probes read and write: as the engine of hupfast does."""

    block: int = MIB
    depth: int = 4


@dataclass(frozen=True)
class Contender:
    """
    One way to bring the image onto a device.

    stages: the command line, or pipeline, for a device and the pattern of the probes.
    source: the compressed file that it reads, None for none.
    checked: what the device holds afterwards: the "whole" image, its "mapped" blocks, or "" for nothing new.
    refilled: whether the device has its old content before. The read probe finds what the last run left.
    limit: bytes of its memory group, None for no limit. absent: why it cannot run here.
    where: "" for the devices, else the name of the table that it belongs to (streams.py). against: the contender of
    that table that it is held against. ends: the exit status that it must have.
    """

    name: str
    title: str
    stages: Callable[[Target, Pattern], Stages]
    source: Path | None
    checked: str = "whole"
    refilled: bool = True
    limit: int | None = None
    absent: str | None = None
    discard_output: bool = False
    where: str = ""
    against: str = ""
    ends: int = 0

    @property
    def is_hupfast(self) -> bool:
        return self.name.startswith("hupfast-")

    def limited(self, size: int, no_groups: str | None) -> "Contender":
        """The same in a memory group of `size` bytes; no_groups: why that cannot be."""
        name, title = f"{self.name}@{size // MIB}", f"{self.title}, in {size // MIB} MiB"
        return replace(self, name=name, title=title, limit=size, absent=self.absent or no_groups)


def _probe(what: str, size: int) -> Contender:
    def stages(device: Target, pattern: Pattern) -> Stages:
        sizes = ["--size", str(size), "--block", str(pattern.block), "--depth", str(pattern.depth)]
        return [[sys.executable, "-m", "benchmarks.direct", what, str(device.path), *sizes]]

    title = f"plain O_DIRECT {what}s, same size and depth"
    return Contender(f"direct-{what}", title, stages, None, checked="", refilled=what == "write")


def _hupfast(name: str, title: str, program: Path | None, image: Path | None, absent: str, *options: str) -> Contender:
    def stages(device: Target, _: Pattern) -> Stages:
        return [[str(program), "write", "--yes", "--json", *options, str(image), str(device.path)]]

    reason = None if program and image else absent or "this form of the image could not be made"
    return Contender(f"hupfast-{name}", f"hupfast {title}", stages, image, absent=reason)


def hupfast_runs(images: Images, program: Path | None, absent: str) -> list[Contender]:
    """All ways of hupfast that are compared. `absent` says why, when there is no program."""
    bmap = ["--bmap", str(images.bmap)] if images.bmap else []
    mapped = _hupfast("bmap", ".zst and bmap", program, images.zst, absent, "--no-verify", *bmap)
    no_bmap = mapped.absent or (None if bmap else missing("bmaptool"))
    return [
        _hupfast("zst", "ordinary .zst", program, images.zst, absent, "--no-verify"),
        _hupfast("chunked3", "chunked, level 3", program, images.chunked3, absent, "--no-verify"),
        _hupfast("chunked", "chunked, as packed by default", program, images.chunked, absent, "--no-verify"),
        replace(mapped, checked="mapped", absent=no_bmap),
        _hupfast("zst-verify", "ordinary .zst, read back", program, images.zst, absent),
        _hupfast("chunked3-verify", "chunked, level 3, read back", program, images.chunked3, absent),
    ]


def contenders(
    images: Images, program: Path | None, absent: str, others: Sequence[Contender], *, no_groups: str | None = None
) -> list[Contender]:
    """
    Everybody, in the order of the tables; also in memory groups of 40 MiB (hupfast) and 32 MiB (all).

    others: those that hupfast is compared with (peers.py).
    absent: why there is no hupfast, if there is none. no_groups: why there are no memory groups, likewise.
    """

    def decode(_: Target, __: Pattern) -> Stages:
        return [["zstd", "-q", "-dc", str(images.zst)]]

    baseline = Contender(
        BASELINE,
        "zstd -dc > /dev/null",
        decode,
        images.zst,
        checked="",
        refilled=False,
        absent=missing("zstd"),
        discard_output=True,
    )
    ours = hupfast_runs(images, program, absent)
    everybody = [baseline, *ours, _probe("read", images.size), _probe("write", images.size)]
    main = [each for each in ours if each.name in {"hupfast-zst", "hupfast-chunked3"}]
    everybody += [each.limited(40 * MIB, no_groups) for each in main]
    everybody += others
    everybody += [each.limited(32 * MIB, no_groups) for each in [*main, *others]]
    return everybody
