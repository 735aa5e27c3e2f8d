"""Made-up documents, whose figures can be worked out by hand."""

from dataclasses import replace

from hupfast.bench.document import (
    Board,
    Document,
    Noise,
    Pipeline,
    Round,
    Run,
    Seconds,
    Settings,
    Skipped,
    Stage,
    Storage,
    Sustained,
    microseconds,
)
from hupfast.bench.stats import Middle, latency, middle
from hupfast.bench.verdict import make_verdict

MIB = 2**20


def run(operation: str = "write", rate: float = 40e6, block: int = MIB, depth: int = 4, **more: object) -> Run:
    """Three rounds at a rate, with a spread of 1%, of a second each, and of that a tenth to flush."""
    usual = round(0.9e6 * block * depth / rate)
    took = microseconds((0.9 * usual, usual, 1.1 * usual))
    rounds = tuple(Round(round(share * rate), 1.0, 0.1, 1, took) for share in (0.99, 1.0, 1.01))
    made = Run(operation, "threads", block, depth, 0, rounds, middle([r.rate for r in rounds]), latency(took))
    return replace(made, **more)  # type: ignore[arg-type]


def stalling(rate: float, stalls: tuple[float, ...], block: int = MIB, depth: int = 4, count: int = 32) -> Run:
    """A round of `count` writes for each stall: so many seconds, that all which are in flight wait once."""
    usual, size = block * depth / rate, count * block
    rounds = []
    for stall in stalls:
        took = [(usual + stall if depth <= i < 2 * depth else usual) * 1e6 for i in range(count)]
        rounds.append(Round(size, size / rate + stall, 0.0, 1, microseconds(took)))
    figures = middle([one.rate for one in rounds]), latency([us for one in rounds for us in one.latencies_us])
    return Run("write", "threads", block, depth, 0, tuple(rounds), *figures)


def stage(name: str, rate: float, threads: int = 2, level: int | None = None) -> Stage:
    """One stage; frames that are half as large as what they give."""
    return Stage(name, level, threads, (rate,), 2.0 if level is not None else None, Middle(rate, 0.0))


STAGES = (
    stage("decompress", 100e6, 1, level=9),
    stage("decompress", 200e6, 2, level=9),
    stage("decompress", 300e6, 2, level=1),
    stage("sha256", 400e6),
    stage("xxh3", 8e9),
)


def document(
    runs: tuple[Run, ...] | None = None,
    stages: tuple[Stage, ...] = STAGES,
    sustained: Sustained | None = None,
    kind: str = "sd",
) -> Document:
    """A card of 40 MB/s, on two processors that decompress 200 MB/s."""
    if runs is None:
        runs = (run(), run(rate=20e6, depth=1), run("read", 80e6), run("zero", 20e6, 4 * MIB, 1))
    pipeline = Pipeline("made", 80_000_000, 40_000_000, 0.0, Seconds(3.0, 0.0, (3.0,)), {"format": "chunked"})
    return Document(
        hupfast="hupfast 0.1.0, zstd 1.5.4",
        date="2026-11-27T05:00:00Z",
        board=Board("Board", None, "Linux", 2, "ARM", 2**29),
        storage=Storage("/dev/mmcblk0", kind, "SC16G", None, "abc", 2**34, 512, {"date": "01/2024"}, None, True),
        settings=Settings("default", 2**28, 3, 15.0, 2**25, 2**24),
        noise=Noise(0.1, 0.02, False, (40.0, 50.5), None, ("a remark",)),
        skipped=(Skipped("io_uring", "not here"),),
        runs=runs,
        sustained=sustained,
        stages=stages,
        pipeline=pipeline,
        verdict=make_verdict(runs, stages, pipeline, kind, "SC16G", sustained),
    )
