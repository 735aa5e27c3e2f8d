"""
Rates without the luck of stalls.

A card that erases now and then stalls for some tenths of a second. Of ten seconds, stalls take their usual share; a
short run has one of them or none, and looks a third slower or faster for it. Two runs are compared by what they are
without: the time that operations took beyond the usual is left out, as far as the runs of a medium have it on average,
and three times that at most. So settings that a medium cannot stand, and that make it stall, are not excused.

    |op|op|op|   op: a stall   |op|op|        of it beyond the usual, by each of the `depth` operations that waited
             |<usual>|<------->|
"""

from __future__ import annotations

from collections.abc import Sequence

from hupfast.bench.document import Run
from hupfast.bench.stats import median

_LEAST_US = 50_000
"""An operation that takes so much longer than usual, and a quarter of the usual time, has met a stall."""

_ENOUGH = 16
"""Operations, for each that is in flight."""

_EXCUSED = 3
"""Times the average."""

_LEAST_LEFT = 0.1
"""Share of its seconds that a round keeps in any case."""


def stall_seconds(run: Run) -> list[float] | None:
    """What stalls have taken in each round; None when there are too few operations to know."""
    depth = max(run.depth, 1)
    waited = [one.latencies_us[depth - 1 :] for one in run.rounds]  # the first ones wait for fewer
    if sum(map(len, waited)) < _ENOUGH * depth:
        return None
    usual = median([us for some in waited for us in some])
    limit = usual + max(_LEAST_US, usual / 4)
    return [_beyond(some, usual, limit) / depth for some in waited]


def stall_share(runs: Sequence[Run]) -> float:
    """Seconds of stalls for each byte, over all runs of which they are known."""
    size = seconds = 0.0
    for run in runs:
        stalls = stall_seconds(run)
        if stalls is not None:
            seconds += sum(stalls)
            size += sum(one.bytes for one in run.rounds)
    return seconds / size if size else 0.0


def calm_rate(run: Run, share: float) -> float:
    """
    The rate of a run without stalls, of which `share` seconds for each byte are usual on its medium.

    The median of the rounds, each without its stalls; or the fastest one, where it is not known what stalls took.
    """
    stalls = stall_seconds(run)
    if stalls is None:
        return max((one.rate for one in run.rounds), default=0.0)
    excused = _EXCUSED * share * sum(one.bytes for one in run.rounds)
    part = min(1.0, excused / sum(stalls)) if any(stalls) else 0.0
    rates = []
    for one, stall in zip(run.rounds, stalls, strict=True):
        seconds = max(one.seconds - part * stall, _LEAST_LEFT * one.seconds)
        rates.append(one.bytes / seconds if seconds else 0.0)
    return median(rates)


def _beyond(waited: Sequence[int], usual: float, limit: float) -> float:
    """Seconds. What one operation waits longer because another one came first, that one waits less."""
    return max(sum(waited) - usual * len(waited), 0.0) / 1e6 if any(us > limit for us in waited) else 0.0
