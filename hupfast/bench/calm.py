"""
Rates without the luck of stalls.

A card that erases now and then stalls for some tenths of a second. Of ten seconds, stalls take their usual share; a
short run has one of them or none, and looks a third slower or faster for it. So two runs are compared by what they are
without: the time that operations took beyond the usual is left out.

    |op|op|op|   op: a stall   |op|op|        of it beyond the usual, by each of the `depth` operations that waited
             |<usual>|<------->|

To choose settings, only so much is left out as all other runs of the medium have for so many bytes, and three times
that at most: settings that a medium cannot stand, and that make it stall, are not excused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from hupfast.bench.document import Microseconds, Run
from hupfast.bench.stats import median

_LEAST_US = 50_000
"""An operation that takes so much longer than usual, and a quarter of the usual time, has met a stall."""

_ENOUGH = 16
"""Operations, for each that is in flight."""

_EXCUSED = 3
"""Times what the others have."""

_LEAST_LEFT = 0.1
"""Share of its seconds that a round keeps in any case."""


def full_queue(run: Run) -> list[Microseconds]:
    """Of each round the operations that waited for as many as all others; the first ones wait for fewer."""
    return [one.latencies_us[max(run.depth, 1) - 1 :] for one in run.rounds]


def stall_seconds(run: Run) -> list[float] | None:
    """What stalls have taken in each round; None when there are too few operations to know."""
    depth = max(run.depth, 1)
    waited = full_queue(run)
    if sum(map(len, waited)) < _ENOUGH * depth:
        return None
    usual = median([us for some in waited for us in some])
    limit = usual + max(_LEAST_US, usual / 4)
    return [_beyond(some, usual, limit) / depth for some in waited]


def excused_rates(runs: Iterable[Run]) -> list[float]:
    """Of each run, the median of its rounds, without the stalls that are usual by what the others have."""
    found = [(run, stall_seconds(run), sum(one.bytes for one in run.rounds)) for run in runs]
    seconds = sum(sum(stalls) for _, stalls, _ in found if stalls is not None)
    size = sum(written for _, stalls, written in found if stalls is not None)
    rates = []
    for run, stalls, written in found:
        own, there = (0.0, 0) if stalls is None else (sum(stalls), written)
        usual = (seconds - own) / (size - there) if size > there else 0.0
        rates.append(_rate(run, stalls, _EXCUSED * usual * written))
    return rates


def calm_rate(run: Run) -> float | None:
    """The median of its rounds, without any stall; None when it is not known what these took."""
    stalls = stall_seconds(run)
    return None if stalls is None else _rate(run, stalls, inf)


def extra_seconds(runs: Iterable[Run], chosen: tuple[int, int], base: tuple[int, int]) -> float:
    """
    Seconds for each byte that writing in one block and depth takes more than in another; below 0: that it saves.

    What stalls is slow with both, and is not in it. 0 where the runs do not tell.
    """
    plain = [run for run in runs if run.plain and run.operation == "write"]
    calm = {(run.block, run.depth): calm_rate(run) for run in plain if (run.block, run.depth) in (chosen, base)}
    ours, theirs = calm.get(chosen), calm.get(base)
    return 1 / ours - 1 / theirs if ours and theirs else 0.0


def _rate(run: Run, stalls: Sequence[float] | None, excused: float) -> float:
    """The median of the rounds, without `excused` seconds of all their stalls."""
    took = stalls or [0.0] * len(run.rounds)
    part = min(1.0, excused / sum(took)) if any(took) else 0.0
    rates = []
    for one, stall in zip(run.rounds, took, strict=True):
        seconds = max(one.seconds - part * stall, _LEAST_LEFT * one.seconds)
        rates.append(one.bytes / seconds if seconds else 0.0)
    return median(rates) if rates else 0.0


def _beyond(waited: Sequence[int], usual: float, limit: float) -> float:
    """Seconds. What one operation waits longer because another one came first, that one waits less."""
    return max(sum(waited) - usual * len(waited), 0.0) / 1e6 if any(us > limit for us in waited) else 0.0
