"""benchmarks/stats.py: the few numbers that stand for many runs."""

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.device import Counters
from benchmarks.measure import Usage
from benchmarks.rounds import Sample
from benchmarks.stats import Spread, needed, rate, summaries, summarize

MIB = 1 << 20


def sample(wall: float, *, name: str = "x", cold: bool = False, failure: str = "", **other: Any) -> Sample:
    """One run of 1 s of user and 0.5 s of system time that wrote 100 bytes."""
    usage = Usage(
        wall=wall,
        user=1.0,
        system=0.5,
        machine=2.0,
        resident=other.get("resident", 10 * MIB),
        tree=11 * MIB,
        anonymous=5 * MIB,
        cache=other.get("cache", MIB),
        charged=9 * MIB,
        limit_hits=0,
        oom_kills=0,
        statuses=(0,),
        stdout="",
        stderr="",
    )
    counters = Counters(0, other.get("written", 100), 0, 1, 1)
    return Sample(name, other.get("device", "fast"), 0, cold, usage, counters, other.get("report", {}), failure)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_a_spread_holds_median_and_bounds(values: list[float]) -> None:
    """The median is that of the standard library, and lies between the bounds."""
    spread = Spread.of(values)

    assert spread.median == statistics.median(values)
    assert spread.low == min(values)
    assert spread.high == max(values)


def test_times_come_from_the_timed_runs_only() -> None:
    """A run with a cold source adds to the peaks, and not to the times."""
    summary = summarize([sample(1), sample(3), sample(2), sample(50, cold=True, resident=30 * MIB)])

    assert summary.wall == Spread(2, 1, 3)
    assert summary.cpu.median == 1.5
    assert summary.runs == 3
    assert summary.resident == 30 * MIB


def test_page_cache_comes_from_the_cold_run() -> None:
    """What was cached before costs nothing, so only the cold run tells how much the page cache grows."""
    summary = summarize([sample(1, cache=0), sample(1, cache=7 * MIB, cold=True)])

    assert summary.cache == 7 * MIB
    assert summary.cache_warm == 0


def test_without_a_cold_run_the_page_cache_is_unknown() -> None:
    """None, and not the number of a run whose source was cached."""
    assert summarize([sample(1)]).cache is None


def test_a_failed_run_does_not_count_and_is_told() -> None:
    """The times are those of the good runs, the failure stays visible."""
    summary = summarize([sample(2), sample(0.1, failure="killed: out of memory")])

    assert summary.wall.median == 2
    assert summary.failure == "killed: out of memory"


def test_summaries_keep_devices_and_names_apart() -> None:
    """One summary for each pair, in the order of the runs."""
    table = summaries([sample(1, name="b"), sample(2, name="a", device="card"), sample(3, name="b")])

    assert list(table) == [("fast", "b"), ("card", "a")]
    assert table["fast", "b"].wall.median == 2


def test_the_probe_gives_the_rate_by_its_own_clock() -> None:
    """The start of its interpreter is no time of the device."""
    probe = summarize([sample(9, report={"seconds": 2.0}), sample(9, report={"seconds": 4.0})])

    assert rate(probe, 300) == pytest.approx(100)


def test_no_rate_without_a_clock_of_its_own() -> None:
    """A program that does not tell its seconds is no probe."""
    assert rate(summarize([sample(9)]), 300) is None


@pytest.mark.parametrize(
    ("zeroes", "report", "expected"),
    [
        ("data", {"written": 60}, 90),  # the kernel's count: zeroes cost what data costs
        ("free", {"written": 60}, 60),  # zeroes cost nothing: only the data had to be written
        ("free", {}, 90),  # a program that does not tell
    ],
)
def test_bytes_that_had_to_be_written(zeroes: str, report: dict[str, int], expected: int) -> None:
    """What the device charges for, by how it charges."""
    assert needed(summarize([sample(1, written=90, report=report)]), 100, zeroes) == expected


def test_writing_twice_is_not_needed() -> None:
    """Nobody has to write more than the image."""
    assert needed(summarize([sample(1, written=250)]), 100, "data") == 100
