"""
What a long write that goes over the same places again and again tells of these.

    curve      |--pass 1--|--pass 2--|--p    of bytes; a pass is the part of the target that is used
    pass       | 0 | 1 | ... |PARTS-1|       in parts, each with its seconds in each pass

Some media have slow places, and each pass finds them where they were. Others stall after so many bytes, or when they
like, and where one pass did is nothing to the next. So a part is taken to be as much slower than the average as it was
in the mean of the passes, times their agreement: 1 - what they differ by in the same part / what the parts differ by
(the variance of a mean within the parts, and between them). That is 1 when all passes are the same, and about 0 when
parts differ no more than chance would make them. The sum of all parts is the same in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from hupfast.bench.sustained import seconds_at

PARTS = 16

_POINTS = 4
"""Of a curve, in each pass; with fewer it does not show any places."""


def seconds_of_parts(points: Sequence[tuple[float, int]], size: int) -> list[float]:
    """What each part of `size` bytes takes; none when there are less than two passes."""
    passes = points[-1][1] // size
    if not 2 <= passes <= len(points) / _POINTS:
        return []
    marks = [
        [seconds_at(points, (number + part / PARTS) * size) for part in range(PARTS + 1)] for number in range(passes)
    ]
    took = [[end - start for start, end in pairwise(row)] for row in marks]
    parts = [fmean(column) for column in zip(*took, strict=True)]
    mean = fmean(parts)
    between = sum((part - mean) ** 2 for part in parts) / (PARTS - 1)
    within = sum((one - part) ** 2 for row in took for one, part in zip(row, parts, strict=True)) / PARTS / (passes - 1)
    agreement = max(1 - within / passes / between, 0.0) if between else 0.0
    return [mean + agreement * (part - mean) for part in parts]
