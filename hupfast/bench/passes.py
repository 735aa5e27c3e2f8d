"""
What a long write that goes over the same places again and again tells of these.

    curve      |--pass 1--|--pass 2--|--p    of bytes; a pass is the part of the target that is used
    pass       | 0 | 1 | ... |PARTS-1|       in parts, each with its seconds in each pass

Some media have slow places, and each pass finds them where they were. Others stall after so many bytes, or when they
like, and where one pass did is nothing to the next. So a part is taken to be as much slower than the average as it was
in the mean of the passes, times their agreement: 1 - what they differ by in the same part / what the parts differ by
(the variance of a mean within the parts, and between them). That is 1 when all passes are the same, and about 0 when
parts differ no more than chance would make them, or there is one pass only. The sum of all parts is the same in any
case, and no part counts more in it because a last pass that ended halfway has gone over it once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from hupfast.bench.stats import mean, variance
from hupfast.bench.sustained import seconds_at

PARTS = 16

_POINTS = 4
"""Of a curve, in each pass; with fewer it does not show any places."""


def seconds_of_parts(points: Sequence[tuple[float, int]], size: int) -> list[float]:
    """What each part of `size` bytes takes; none when not all were gone over, or a pass has too few points."""
    written = points[-1][1]
    passes = written // size
    if not 1 <= passes <= len(points) / _POINTS:
        return []
    took = [
        [
            seconds_at(points, at + (part + 1) * size / PARTS) - seconds_at(points, at + part * size / PARTS)
            for at in range(0, written, size)
            if at + (part + 1) * size / PARTS <= written
        ]
        for part in range(PARTS)
    ]
    parts = [mean(some) for some in took]
    average = mean(parts)
    agreement = _agreement([some[:passes] for some in took])
    return [average + agreement * (part - average) for part in parts]


def _agreement(took: Sequence[Sequence[float]]) -> float:
    """Of two whole passes or more; none of one."""
    passes = len(took[0])
    within = sum(variance(some) for some in took) / len(took) / passes if passes > 1 else inf
    between = variance([mean(some) for some in took])
    return max(1 - within / between, 0.0) if between else 0.0
