"""
A long write, and its knee: cards and eMMC take the first hundreds of megabytes fast, into a cache of theirs.

The knee is where a curve of two constant rates fits the measured one best, if the second rate is clearly lower than
the first one, and more so than noise would explain.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

CLEARLY = 0.8
"""Below this share of the rate before it, the rate behind a knee is another one."""

BINS = 120
"""Points of a curve, at most, and two for its end."""

_LEAST = 6
"""Intervals before a knee."""

_BEHIND = 0.15
"""Share of them that is behind it, at least: some stalls at the end are no knee."""

_SIGMAS = 6
"""So many times what chance does."""


@dataclass(frozen=True)
class Knee:
    """Rates before and behind in bytes a second; bytes: where, None when there is none."""

    burst_rate: float
    sustained_rate: float
    bytes: int | None


def make_points(ends: Sequence[float], block: int, seconds: float, written: int) -> list[tuple[float, int]]:
    """
    A curve of at most BINS points, both cumulative, from (0, 0) to (seconds, written).

    ends: when each block was written, in any order. The last two points have the same bytes: between them is a flush.
    """
    ordered = sorted(ends)
    points = [(0.0, 0)]
    last = ordered[-1] if ordered else seconds
    for step in range(1, BINS):
        at = last * step / BINS
        count = bisect_right(ordered, at) * block
        if count > points[-1][1]:
            points.append((at, count))
    while len(points) > 1 and points[-1][1] >= written:
        points.pop()
    return [*points, *([(last, written)] if points[-1][0] < last < seconds else []), (seconds, written)]


def flush_seconds(points: Sequence[tuple[float, int]]) -> float:
    """What the flush at the end of a curve has taken; 0 where it is not told apart, as in early documents."""
    (before, done), (end, written) = points[-2:]
    return end - before if done == written else 0.0


def seconds_at(points: Sequence[tuple[float, int]], size: float) -> float:
    """When so many bytes of a curve were written; they are no more than its last point has."""
    at = min(max(bisect_left(points, size, key=lambda point: point[1]), 1), len(points) - 1)
    (start, before), (end, after) = points[at - 1], points[at]
    return start + (end - start) * (size - before) / (after - before) if after > before else start


def find_knee(points: Sequence[tuple[float, int]]) -> Knee:
    """Where a curve bends. Two points at least."""
    seconds, total = points[-1]
    whole = total / seconds if seconds else 0.0
    steps = [(later[0] - sooner[0], later[1] - sooner[1]) for sooner, later in pairwise(points) if later[0] > sooner[0]]
    best, split = None, 0
    times, sums = list(accumulate(step[0] for step in steps)), list(accumulate(step[1] for step in steps))
    squares = list(accumulate(step[1] ** 2 / step[0] for step in steps))
    for i in range(_LEAST, len(steps) - max(int(_BEHIND * len(steps)), _LEAST) + 1):
        first, second = sums[i - 1] ** 2 / times[i - 1], (sums[-1] - sums[i - 1]) ** 2 / (times[-1] - times[i - 1])
        if best is None or first + second > best:
            best, split = first + second, i
    if best is None:
        return Knee(whole, whole, None)
    before = sums[split - 1] / times[split - 1]
    behind = (sums[-1] - sums[split - 1]) / (times[-1] - times[split - 1])
    # The residual, as time-weighted variance of the rates, says how far the two means are off by chance.
    variance = max(squares[-1] - best, 0.0) / times[-1]
    error = (variance * (1 / split + 1 / (len(steps) - split))) ** 0.5
    if behind >= CLEARLY * before or before - behind < _SIGMAS * error:
        return Knee(whole, whole, None)
    return Knee(before, behind, sums[split - 1])
