"""
What two versions of hupfast took for the same suites, in rounds that took turns: which stages are slower now.

Others on the machine make a stage slower, hardly ever faster, and some rounds go by undisturbed. So what counts is the
low end of the rounds, of times that are the smallest that a session has seen:

    smallest . a quarter ........ half ............................. largest
    |--------------- spread -----|    how far disturbances reach does not matter
               ^ the stage's time

A stage's ratio is its time now by that of BASE. The noise is 1.3 times the spreads of both together (the root of their
squares, of logarithms), and never less than what is usual in its family: the middle one of all stages there. The family
("processor" or "medium") is the start of a group's name; eight rounds can be close together by chance, thirty stages
cannot. Of fifty stages that are the same, with normal noise of 2% or so and eight rounds, one goes beyond that in one
comparison of twenty; compare.py times again what seems slower, and joins the rounds, which leaves none of a hundred.

A stage is slower when its ratio is further above 1 than the noise, and than the threshold.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, hypot, log, log1p
from statistics import median
from typing import Any

THRESHOLD = 0.05
"""Share of the time that a difference must be larger than, unless told otherwise."""

_WIDTH = 1.3

SLOWER, FASTER, SAME, NEW, GONE = "slower", "faster", "same", "not there in BASE", "there in BASE only"


@dataclass(frozen=True)
class Timing:
    """One stage in one session. seconds: the smallest time. group: "family: stage"."""

    group: str
    seconds: float


Session = Mapping[str, Timing]
"""The stages that one session has timed, by the full names of their tests."""


@dataclass(frozen=True)
class Stage:
    """
    One stage in both. base, now: medians over the rounds, in seconds, None where it was not timed.

    ratio: of the new time to the old one. noise: how far from 1 it may be by chance, as a share. change: see above.
    """

    name: str
    group: str
    base: float | None
    now: float | None
    rounds: int
    ratio: float
    noise: float
    change: str


def session(document: Mapping[str, Any]) -> Session:
    """What is in a JSON document of pytest-benchmark."""
    return {
        each["fullname"]: Timing(each["group"] or "other", float(each["stats"]["min"]))
        for each in document["benchmarks"]
    }


def judge(base: Sequence[Session], now: Sequence[Session], threshold: float = THRESHOLD) -> list[Stage]:
    """Every stage of both, in the order of groups and names. base, now: a session for each round."""
    groups = {name: timing.group for each in (*base, *now) for name, timing in each.items()}
    both = {name: (_Rounds.of(name, base), _Rounds.of(name, now)) for name in groups}
    spreads: dict[str, list[float]] = {}
    for name, (old, new) in both.items():
        if old and new:
            spreads.setdefault(_family(groups[name]), []).append(hypot(old.spread, new.spread))
    usual = {family: median(found) for family, found in spreads.items()}
    found = [
        _stage(name, group, *both[name], usual.get(_family(group), 0.0), threshold) for name, group in groups.items()
    ]
    return sorted(found, key=lambda stage: (stage.group, stage.name))


@dataclass(frozen=True)
class _Rounds:
    """One stage of one version. time: in seconds. spread: of logarithms. See above."""

    time: float
    spread: float
    count: int

    @classmethod
    def of(cls, name: str, sessions: Iterable[Session]) -> "_Rounds | None":
        """None when it was never timed."""
        times = sorted(each[name].seconds for each in sessions if name in each)
        if not times:
            return None
        # The first quarter is rounded up, half is rounded down.
        quarter, half = times[-(-len(times) // 4) - 1], times[(len(times) - 1) // 2]
        return cls(quarter, log(half / times[0]), len(times))


def _family(group: str) -> str:
    return group.partition(":")[0]


def _stage(name: str, group: str, base: _Rounds | None, now: _Rounds | None, usual: float, threshold: float) -> Stage:
    if base is None or now is None:
        times = base.time if base else None, now.time if now else None
        return Stage(name, group, *times, 0, 1.0, 0.0, NEW if base is None else GONE)
    step, width = log(now.time / base.time), _WIDTH * max(hypot(base.spread, now.spread), usual)
    change = SAME
    if abs(step) > max(width, log1p(threshold)):
        change = SLOWER if step > 0 else FASTER
    return Stage(name, group, base.time, now.time, min(base.count, now.count), exp(step), exp(width) - 1, change)


def table(stages: Sequence[Stage]) -> Iterator[str]:
    """The lines of a table, group by group."""
    names = {stage.name: stage.name.rpartition("::")[2].removeprefix("test_") for stage in stages}
    width = max([*map(len, names.values()), 5]) + 2
    yield f"{'stage':{width}}  {'BASE':>9}  {'now':>9}  {'ratio':>5}  noise"
    group = ""
    for stage in stages:
        if stage.group != group:
            group = stage.group
            yield group
        line = f"{'  ' + names[stage.name]:{width}}  {_time(stage.base):>9}  {_time(stage.now):>9}"
        if stage.change in (NEW, GONE):
            yield f"{line}  {stage.change}"
        else:
            word = "" if stage.change == SAME else f"  {stage.change}"
            yield f"{line}  {stage.ratio:5.2f}  {'±' + format(stage.noise, '.1%'):>6}{word}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e6:.1f} us"
