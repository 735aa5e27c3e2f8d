"""
Does adapting find what is best for a device, and what does looking for it cost?

    python -m benchmarks.adapt [--rates 10,20,40,100] [--no-fast] [--size MIB] [--seconds S] [--rounds N] [--memory MIB]

On the fast device and on cards that stall (stalls.py), a raw image without zeroes is written with each of a grid of
fixed settings (writes in flight x bytes of one write), and by a writer that is told neither. It is not read back.

The smallest of many noisy medians is smaller than what its setting really takes. So the rounds are two: in the first,
every setting is tried (as often as --pick says), and the FINALISTS that took the shortest are picked; then they, what
the writer starts with, and the adapting one are measured afresh, in turn, in another order each round, and only these
rounds count. The ratio is of the medians. Noise is what the same setting's own rounds differ by: (third quartile -
first) / median of the best one; a ratio within it says nothing. Printed as a Markdown table. Needs root.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from benchmarks import device, install
from benchmarks.direct import digest
from benchmarks.machine import BenchmarkError, missing
from benchmarks.rounds import to_stderr, warm
from benchmarks.stalls import stalling_card, stalling_missing
from hupfast.writer import write_image

MIB = 1 << 20
FINALISTS = 3


@dataclass(frozen=True)
class Setting:
    """depth writes in flight of `block` bytes each; block 0: what the engine chooses. 0, 0: it adapts."""

    depth: int
    block: int

    def __str__(self) -> str:
        if not self.depth:
            return "adapting"
        if not self.block:
            return "where it starts"
        size = f"{self.block // MIB}M" if self.block >= MIB else f"{self.block >> 10}K"
        return f"{self.depth} x {size}"


ADAPTING = Setting(0, 0)
START = Setting(4, 0)
"""What the writer starts with, and stays with where it does not adapt."""

GRID = [Setting(depth, block) for block in (256 << 10, MIB, 4 * MIB) for depth in (1, 2, 4, 8)]


@dataclass
class Result:
    """What a device took. picked: seconds of the first rounds, walls: of those that count, by setting."""

    name: str
    size: int
    picked: dict[Setting, list[float]] = field(default_factory=dict)
    walls: dict[Setting, list[float]] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)

    def finalists(self) -> list[Setting]:
        """The settings that took the shortest in the first rounds."""
        return sorted(self.picked, key=lambda setting: median(self.picked[setting]))[:FINALISTS]

    def best(self) -> Setting:
        """The fixed setting with the smallest median of the rounds that count."""
        fixed = [setting for setting in self.walls if setting != ADAPTING]
        return min(fixed, key=lambda setting: median(self.walls[setting]))

    def ratio(self, setting: Setting) -> float:
        """Of a setting's median to the best fixed one's."""
        return median(self.walls[setting]) / median(self.walls[self.best()])

    def noise(self) -> float:
        """Spread of the middle half of the best fixed setting's rounds, as a share of their median."""
        walls = self.walls[self.best()]
        low, _, high = quantiles(walls, n=4, method="inclusive")
        return (high - low) / median(walls)


def markdown(results: Sequence[Result]) -> str:
    """The table."""
    lines = [
        "| device | image | best fixed | it took | noise | adapting / best | start / best | adapting ended with |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        best = result.best()
        ends = ", ".join(f"{end} ({result.ended.count(end)})" for end in sorted(set(result.ended)))
        lines.append(
            f"| {result.name} | {result.size // MIB} MiB | {best} | {median(result.walls[best]):.2f} s "
            f"| {100 * result.noise():.0f}% | {result.ratio(ADAPTING):.3f} | {result.ratio(START):.3f} | {ends} |"
        )
    return "\n".join(lines)


class Runs:
    """Writes onto one device, of which each starts from the same state."""

    def __init__(self, target: device.Device, image: Path, memory: int) -> None:
        self.target, self.image, self.memory = target, image, memory

    def write(self, setting: Setting, result: Result) -> float:
        """The seconds of one."""
        warm(self.image)
        self.target.forget()
        start = time.monotonic()
        report = write_image(
            self.image,
            self.target.path,
            verify=False,
            memory=self.memory,
            depth=setting.depth,
            block=setting.block,
        )
        seconds = time.monotonic() - start
        if setting == ADAPTING:
            result.ended.append(str(Setting(report.in_flight, report.write_size)))
        return seconds

    def check(self) -> None:
        """Are the image's bytes on the device?"""
        whole = ((0, self.image.stat().st_size),)
        if self.target.digest(whole) != digest(self.image, whole):
            raise BenchmarkError(f"WRONG BYTES on the {self.target.name}")


def measure(runs: Runs, result: Result, pick: int, rounds: int) -> None:
    """Both kinds of rounds on one device."""
    order = random.Random(1)
    for _ in range(pick):
        for setting in order.sample(GRID, len(GRID)):
            result.picked.setdefault(setting, []).append(runs.write(setting, result))
    everybody = [*dict.fromkeys([*result.finalists(), START]), ADAPTING]
    for number in range(rounds):
        for setting in order.sample(everybody, len(everybody)):
            result.walls.setdefault(setting, []).append(runs.write(setting, result))
            if setting == ADAPTING and number == 0:
                runs.check()
        to_stderr(
            f"{result.name} {number + 1}/{rounds}: "
            + ", ".join(f"{setting} {walls[-1]:.2f} s" for setting, walls in result.walls.items())
        )


def image_of(directory: Path, size: int) -> Path:
    """A file of `size` bytes that no device makes short work of."""
    path = directory / "adapt.img"
    chance = random.Random(3)
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(chance.randbytes(MIB))
    return path


@contextmanager
def opened(directory: Path, rate: int, size: int) -> Iterator[device.Device]:
    """The stalling card of this rate, or the fast device for 0."""
    with stalling_card(directory, size, rate) if rate else device.fast(directory, size) as target:
        yield target


def bench(options: argparse.Namespace) -> list[Result]:
    """All devices, one after the other."""
    if os.geteuid() != 0:
        raise BenchmarkError("loop devices need root: run it with sudo")
    rates = [int(float(rate) * 1e6) for rate in options.rates.split(",") if rate]
    absent = missing("losetup") or (stalling_missing() if rates else None)
    if absent:
        raise BenchmarkError(absent)
    options.dir.mkdir(parents=True, exist_ok=True)
    results = []
    for rate in ([] if options.no_fast else [0]) + rates:
        size = options.size * MIB
        if rate:
            size = max(min(size, int(rate * options.seconds) // MIB * MIB), 16 * MIB)
        result = Result(f"card of {rate / 1e6:g} MB/s" if rate else "fast loop device", size)
        image = image_of(options.dir, size)
        with opened(options.dir, rate, size) as target:
            measure(Runs(target, image, options.memory * MIB), result, options.pick, options.rounds)
        image.unlink()
        results.append(result)
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Run it. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adapt")
    parser.add_argument("--rates", default="10,20,40,100", metavar="MB", help="of the cards (10,20,40,100); '': none")
    parser.add_argument("--no-fast", action="store_true", help="leave the fast device out")
    parser.add_argument("--size", type=int, default=512, metavar="MIB", help="of the image, at most (512)")
    parser.add_argument("--seconds", type=float, default=12, help="of a card's time that an image takes, about (12)")
    parser.add_argument("--pick", type=int, default=1, metavar="N", help="first rounds, of the whole grid (1)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds that count (5)")
    parser.add_argument("--memory", type=int, default=32, metavar="MIB", help="budget of the engine (32)")
    parser.add_argument("--dir", type=Path, default=install.TREE / "build" / "bench")
    options = parser.parse_args(argv)
    if options.rounds < 2 or options.pick < 1:
        parser.error("two rounds at least, and one to pick from")
    try:
        print(markdown(bench(options)))
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks.adapt: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
