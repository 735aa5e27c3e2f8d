"""
Two documents of `hupfast bench`: what is slower or faster now, by more than the noise.

What both have measured in the same way is compared: runs by operation, method, block, depth and flushes; stages by
name, level and threads; the sustained write by block and depth; the whole pipeline by its image. Latencies are not: a
stall comes or stays away in a few rounds, so that their noise cannot be told from them.

A difference counts when it is above the threshold (of the median speed), and the intervals around both medians do not
overlap. An interval is, of the logarithms, `k * 1.2533 * s / sqrt(rounds)`: 1.2533 s / sqrt(n) is the standard error of
a median. Why not a rank test: of three rounds against three, the usual number, the smallest p that it can give is 0.1.

* s is the larger of two: the deviation of the run's own rounds; and what, by the deviations of all runs of both
  documents, nine of ten stay below, as a share of what nine of ten stay below when the noise is normal. Three rounds
  lie close together by chance now and then, and seem to be exact; a hundred runs do not. Nine of ten, and not half of
  them: cards stall in a round now and then, and most of the runs know nothing of it.
* k is 2.5 when there are many rounds: two equal intervals that do not overlap are then 3.5 standard errors apart, which
  chance does once in 2000 times, so that a hundred comparisons give a false alarm in one of twenty at most. Of few
  rounds s is itself uncertain, and k grows as Student's t does.
* Where nothing was measured twice, nothing is known of noise: s is taken to be 10%.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil, exp, inf, log, sqrt
from statistics import median, stdev

from hupfast.bench.document import Document
from hupfast.bench.stats import Middle, middle
from hupfast.bench.units import setting, size_label

THRESHOLD = 0.05
"""Share of the speed from which on a difference counts, unless told otherwise."""

_APART = 3.5  # standard errors between two medians that differ
_UNKNOWN = 0.1  # relative deviation when nothing was measured twice
_NINE_OF_TEN = 0.9
_TENTH = 1.2816  # of the normal distribution, a tenth is above it
_MEDIAN = 1.2533  # sqrt(pi / 2)


@dataclass(frozen=True)
class Item:
    """
    What was measured: in the rounds of one document.

    unit: "B/s", of which more is better, or "s", of which less is. family: those whose noise is alike.
    """

    label: str
    unit: str
    family: str
    values: tuple[float, ...]

    @property
    def speeds(self) -> list[float]:
        """Logarithms of what more is better of."""
        return [log(value) if self.unit == "B/s" else -log(value) for value in self.values]


@dataclass(frozen=True)
class Difference:
    """
    One thing in both documents. ratio: of the new speed to the old one, below 1 when it is slower now.

    change: "slower", "faster", or "same" when the difference is below the threshold or within the noise.
    """

    label: str
    unit: str
    old: Middle
    new: Middle
    rounds: tuple[int, int]
    ratio: float
    change: str


@dataclass(frozen=True)
class Comparison:
    """differences: those that got slowest first. only_old, only_new: what the other has not. remarks: doubts."""

    threshold: float
    differences: tuple[Difference, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    remarks: tuple[str, ...]

    def changed(self, change: str) -> list[Difference]:
        """The differences of one kind, the largest first."""
        found = [one for one in self.differences if one.change == change]
        return found[::-1] if change == "faster" else found

    def as_dict(self) -> dict[str, object]:
        """All fields, for JSON."""
        return asdict(self)


def compare(old: Document, new: Document, threshold: float = THRESHOLD) -> Comparison:
    """What has changed. threshold: a share of the speed, 0.05 for 5%."""
    before, after = ({item.label: item for item in items(document)} for document in (old, new))
    noise = {family: _Noise.of(family, [*before.values(), *after.values()]) for family in ("medium", "processor")}
    pairs = [(before[label], after[label]) for label in before if label in after]
    found = sorted((_difference(*pair, noise[pair[0].family], threshold) for pair in pairs), key=lambda one: one.ratio)
    return Comparison(
        threshold,
        tuple(found),
        tuple(label for label in before if label not in after),
        tuple(label for label in after if label not in before),
        tuple(_remarks(old, new, [*noise.values()])),
    )


def items(document: Document) -> Iterator[Item]:
    """All that can be compared. A label says all that has to be equal."""
    for run in document.runs:
        flush = f", flushed every {size_label(run.flush_every)}" if run.flush_every else ""
        label = f"{run.operation}, {run.method}, {setting(run.block, run.depth)}{flush}"
        yield from _item(label, "B/s", "medium", [item.rate for item in run.rounds])
    if document.sustained is not None:
        curve = document.sustained
        how = f"write, {setting(curve.block, curve.depth)}"
        yield from _item(f"burst {how}", "B/s", "medium", [curve.burst_rate])
        yield from _item(f"sustained {how}", "B/s", "medium", [curve.sustained_rate])
    for stage in document.stages:
        level = "" if stage.level is None else f", level {stage.level}"
        threads = f"{stage.threads} thread{'s' if stage.threads > 1 else ''}"
        yield from _item(f"{stage.name}{level}, {threads}", "B/s", "processor", stage.rounds)
    if document.pipeline is not None:
        image = document.pipeline
        label = f"whole update, image {image.image} of {image.image_size} bytes, {image.packed_size} packed"
        yield from _item(label, "s", "medium", image.seconds.rounds)


def _item(label: str, unit: str, family: str, values: Sequence[float]) -> Iterator[Item]:
    good = tuple(value for value in values if value > 0)
    if good:
        yield Item(label, unit, family, good)


@dataclass(frozen=True)
class _Noise:
    """deviation: of a family, relative; see above. freedom: what it rests on, None when on nothing."""

    deviation: float
    freedom: int | None

    @classmethod
    def of(cls, family: str, found: Sequence[Item]) -> _Noise:
        often = [item for item in found if item.family == family and len(item.values) > 1]
        if not often:
            return cls(_UNKNOWN, None)
        deviations = sorted(stdev(item.speeds) / _usual(len(item.values)) for item in often)
        place = ceil(_NINE_OF_TEN * len(deviations)) - 1
        return cls(deviations[place], sum(len(item.values) - 1 for item in often))

    def half_width(self, item: Item) -> float:
        """Of the interval around an item's median, of logarithms."""
        own = stdev(item.speeds) if len(item.values) > 1 else 0.0
        k = (_APART if self.freedom is None else _student(_APART, self.freedom)) / sqrt(2)
        return k * _MEDIAN * max(own, self.deviation) / sqrt(len(item.values))


def _usual(rounds: int) -> float:
    """What nine of ten deviations of so many rounds stay below, in true deviations (Wilson and Hilferty)."""
    share = 2 / (9 * (rounds - 1))
    return float((1 - share + _TENTH * sqrt(share)) ** 1.5)


def _student(z: float, freedom: int) -> float:
    """The point of Student's t that is as far out as z is of the normal distribution (Cornish and Fisher)."""
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return z + first + second + third


def _difference(old: Item, new: Item, noise: _Noise, threshold: float) -> Difference:
    step = median(new.speeds) - median(old.speeds)
    ratio = exp(step) if step < 700 else inf
    clear = abs(step) > noise.half_width(old) + noise.half_width(new)
    change = "same"
    if clear and abs(ratio - 1) > threshold:
        change = "slower" if ratio < 1 else "faster"
    rounds = (len(old.values), len(new.values))
    return Difference(old.label, old.unit, middle(old.values), middle(new.values), rounds, ratio, change)


def _remarks(old: Document, new: Document, noise: Sequence[_Noise]) -> Iterator[str]:
    """What makes a comparison doubtful: another machine, other settings, noise."""
    for part, names in (
        ("board", ("model", "kernel", "cpus", "cpu", "memory")),
        ("storage", ("kind", "model", "serial", "cid", "size", "filesystem", "direct")),
        ("settings", ("mode", "size", "rounds", "seconds", "in_flight", "memory")),
    ):
        for name in names:
            values = [getattr(getattr(document, part), name) for document in (old, new)]
            if values[0] != values[1]:
                yield f"{part} {name} differs: {values[0]} and {values[1]}"
    if old.hupfast != new.hupfast:
        yield f"they were measured by {old.hupfast} and {new.hupfast}"
    for name, document in (("old", old), ("new", new)):
        if document.noise.throttled:
            yield f"the {name} one was throttled"
        yield from (f"of the {name} one: {remark}" for remark in document.noise.remarks)
    if any(one.freedom is None for one in noise):
        yield f"something was never measured twice: its noise is taken to be {_UNKNOWN:.0%}"
