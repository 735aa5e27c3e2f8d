"""
What a second process on the same card sees while an image is written:

    python -m benchmarks.neighbour [--size MIB] [--rate MB] [--rounds N]

An application reads 4 KiB from a random place of the card fifty times a second, past the page cache, as one that looks
things up in its files does. How long its reads take is measured with nobody else at work, and while hupfast (as it is,
with --background, with --limit-write), dd and bmaptool write the image to another part of the simulated card
(device.py). Printed as a Markdown table: percentiles of all rounds together, and how long the writing took. Needs root.
"""

import argparse
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from benchmarks import device, images, install
from benchmarks.machine import BenchmarkError, missing
from benchmarks.rounds import to_stderr, warm

MIB = 1 << 20
ROOM = 64 * MIB
"""The part of the card that the application reads, behind the image."""

PAUSE = 0.02
BLOCK = 4096
IDLE = 6.0


@dataclass
class Seen:
    """What the application saw beside one writer. latencies: seconds of each read. walls: of each round of writing."""

    name: str
    latencies: list[float] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)

    def percentile(self, number: int) -> float:
        """Of the latencies, in seconds."""
        return quantiles(self.latencies, n=100, method="inclusive")[number - 1]


def application(path: str, offset: int, length: int) -> None:
    """Read until SIGTERM, then print the latencies as JSON. Runs as a process of its own."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    chance, latencies = random.Random(1), []
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, BLOCK) as buffer:
        print("ready", flush=True)
        while not stopped:
            place = offset + chance.randrange(length // BLOCK) * BLOCK
            start = time.monotonic()
            os.preadv(fd, [buffer], place)
            latencies.append(time.monotonic() - start)
            time.sleep(PAUSE)
    print(json.dumps(latencies))


def beside(command: Sequence[object] | None, card: device.Device, seen: Seen) -> None:
    """Run a writer, or nobody for a while, with the application beside it."""
    start = card.size - ROOM
    reader = [sys.executable, "-m", "benchmarks.neighbour", "--application", str(card.path), str(start), str(ROOM)]
    with subprocess.Popen(reader, stdout=subprocess.PIPE, text=True, cwd=install.TREE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        if command is None:
            time.sleep(IDLE)
        else:
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
            if done.returncode:
                raise BenchmarkError(f"{seen.name} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        seen.walls.append(time.monotonic() - began)
        process.terminate()
        seen.latencies += json.loads(process.stdout.read())


def writers(built: images.Images, hupfast: Path, card: Path, rate: float) -> dict[str, list[object] | None]:
    """Everybody, as they are used. bmaptool is there where it is installed."""
    write: list[object] = [hupfast, "write", "--yes", "--quiet", built.chunked, card]
    plain: list[object] = ["dd", f"if={built.raw}", f"of={card}", "bs=4M", "status=none"]
    everybody: dict[str, list[object] | None] = {
        "nobody": None,
        "`hupfast write`": write,
        "`hupfast write --background`": [*write, "--background"],
        f"`hupfast write --limit-write {int(rate / 2)}M`": [*write, "--limit-write", f"{int(rate / 2)}M"],
        "`dd conv=fsync`": [*plain, "conv=fsync"],
        "`dd oflag=direct`": [*plain, "oflag=direct", "conv=fsync"],
    }
    if built.bmap and not missing("bmaptool"):
        everybody["`bmaptool copy`"] = ["bmaptool", "-q", "copy", "--bmap", built.bmap, built.raw, card]
    return everybody


def markdown(rows: Sequence[Seen]) -> str:
    """The table, milliseconds."""
    lines = ["| writing meanwhile | 50% | 99% | longest | writing took |", "|---|---|---|---|---|"]
    for seen in rows:
        cells = [f"{1000 * value:.1f} ms" for value in (seen.percentile(50), seen.percentile(99), max(seen.latencies))]
        took = "" if seen.name == "nobody" else f"{median(seen.walls):.1f} s"
        lines.append(f"| {seen.name} | {' | '.join(cells)} | {took} |")
    return "\n".join(lines)


def bench(options: argparse.Namespace) -> None:
    """All rounds, each with everybody once."""
    if os.geteuid() != 0:
        raise BenchmarkError("loop devices need root: run it with sudo")
    absent = device.card_missing() or missing("losetup", "zstd", "mkfs.ext4", "dd")
    if absent:
        raise BenchmarkError(absent)
    options.dir.mkdir(parents=True, exist_ok=True)
    hupfast = install.program(options.dir)
    built = install.pack(images.build(options.dir, options.size * MIB), hupfast)
    with device.card(options.dir, built.size + ROOM, int(options.rate * 1e6), "data") as card:
        everybody = writers(built, hupfast, card.path, options.rate)
        rows = {name: Seen(name) for name in everybody}
        for number in range(options.rounds):
            for name, command in everybody.items():
                warm(built.chunked or built.raw)
                warm(built.raw)
                card.forget()
                beside(command, card, rows[name])
                to_stderr(f"{number + 1}/{options.rounds} {name}: {rows[name].walls[-1]:.1f} s")
    print(markdown(list(rows.values())))


def main(argv: Sequence[str] | None = None) -> int:
    """Run it. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbour")
    parser.add_argument("--size", type=int, default=256, metavar="MIB", help="of the image (256)")
    parser.add_argument("--rate", type=float, default=20, metavar="MB", help="megabytes a second of the card (20)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(3)")
    parser.add_argument("--dir", type=Path, default=install.TREE / "build" / "bench")
    parser.add_argument("--application", nargs=3, metavar="ARG", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.application:
        path, offset, length = options.application
        application(path, int(offset), int(length))
        return 0
    try:
        bench(options)
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks.neighbour: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
