"""Numbers that noise cannot move far: medians, their spread, percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Middle:
    """A median, and the median absolute deviation from it, in the same unit (0 of one value)."""

    median: float
    spread: float

    @property
    def relative(self) -> float:
        """The spread as a share of the median."""
        return self.spread / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles and the maximum, in microseconds."""

    p50: float
    p90: float
    p99: float
    max: float


def mean(values: Sequence[float]) -> float:
    """Of one value or more. (The statistics module has it, and takes a megabyte.)"""
    return sum(values) / len(values)


def variance(values: Sequence[float]) -> float:
    """Of what two values or more are a sample of."""
    center = mean(values)
    return sum((value - center) ** 2 for value in values) / (len(values) - 1)


def median(values: Sequence[float]) -> float:
    """The value in the middle. Of an even number, the mean of the two."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def middle(values: Sequence[float]) -> Middle:
    """Median and spread of one value or more."""
    center = median(values)
    return Middle(center, median([abs(value - center) for value in values]))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values, which are sorted, that `share` of them do not exceed. 0 when there are none."""
    if not ordered:
        return 0.0
    rank = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def latency(values: Sequence[float]) -> Latency:
    """Percentiles of values in any order."""
    ordered = sorted(values)
    return Latency(*(percentile(ordered, share) for share in (0.5, 0.9, 0.99, 1.0)))
