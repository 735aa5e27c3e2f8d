"""From the samples of a contender to the few numbers that stand for it. Sizes in bytes, times in seconds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.rounds import Sample


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Summary:
    """
    What stands for one contender on one device.

    wall, cpu, machine, written: over the timed rounds, whose source was in the page cache.
    resident, tree, anonymous, charged: the largest of all its runs.
    cache: page cache grown, at its largest in the runs whose source was cold; cache_warm: in the timed ones.
    own: seconds as the program itself counted them, without its start, where it says so; the probes do.
    report: the last one. failure: of the run that failed, or empty; then the numbers may be of fewer runs.
    """

    contender: str
    device: str
    runs: int
    wall: Spread
    cpu: Spread
    machine: Spread
    written: Spread
    resident: int
    tree: int
    anonymous: int | None
    cache: int | None
    cache_warm: int | None
    charged: int | None
    limit_hits: int
    own: Spread | None
    report: dict[str, Any]
    failure: str


def largest(values: Iterable[int | None]) -> int | None:
    """The largest of those that are known."""
    return max((value for value in values if value is not None), default=None)


def own_seconds(samples: Iterable[Sample]) -> Spread | None:
    """The spread of what the programs' reports give as "seconds", or None when there is none."""
    values = [float(sample.report["seconds"]) for sample in samples if "seconds" in sample.report]
    return Spread.of(values) if values else None


def needed(summary: Summary, size: int, zeroes: str) -> float:
    """
    Bytes that a run had to write, at most the `size` of the image.

    The kernel counts zeroes that were asked for without data as written. Where the device gives them for
    nothing (zeroes="free"), hupfast's own count of written data stands for them.
    """
    written = summary.written.median
    if zeroes == "free" and "written" in summary.report:
        written = float(summary.report["written"])
    return min(written, float(size))


def rate(probe: Summary, size: int) -> float | None:
    """Bytes a second of a device, from its probe, which moves `size` bytes."""
    return size / probe.own.median if probe.own and not probe.failure else None


def summarize(samples: Sequence[Sample]) -> Summary:
    """The summary of all samples of one contender on one device; at least one of them timed."""
    timed = [sample for sample in samples if not sample.cold]
    good = [sample for sample in timed if not sample.failure] or timed
    usages = [sample.usage for sample in samples]

    def spread(value: Callable[[Sample], float]) -> Spread:
        return Spread.of([value(sample) for sample in good])

    return Summary(
        contender=samples[0].contender,
        device=samples[0].device,
        runs=len(good),
        wall=spread(lambda sample: sample.usage.wall),
        cpu=spread(lambda sample: sample.usage.cpu),
        machine=spread(lambda sample: sample.usage.machine),
        written=spread(lambda sample: sample.counters.written),
        resident=max(usage.resident for usage in usages),
        tree=max(usage.tree for usage in usages),
        anonymous=largest(usage.anonymous for usage in usages),
        cache=largest(sample.usage.cache for sample in samples if sample.cold),
        cache_warm=largest(sample.usage.cache for sample in timed),
        charged=largest(usage.charged for usage in usages),
        limit_hits=max(usage.limit_hits for usage in usages),
        own=own_seconds(good),
        report=good[-1].report,
        failure=next((sample.failure for sample in samples if sample.failure), ""),
    )


def summaries(samples: Iterable[Sample]) -> dict[tuple[str, str], Summary]:
    """All of them by (device, contender), in the order in which they first ran."""
    together: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        together.setdefault((sample.device, sample.contender), []).append(sample)
    return {key: summarize(group) for key, group in together.items()}
