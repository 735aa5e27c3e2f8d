"""The knee of a long write: found where it is, and not where there is none."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast.bench.sustained import BINS, find_knee, flush_seconds, make_points, seconds_at

MIB = 2**20


def curve(rates, noise: float, seed: int, stalls: bool = False):
    """Ends of blocks of 1 MiB, written at one rate after the other: (rate, seconds)."""
    chaos, now, ends = random.Random(seed), 0.0, []
    for rate, seconds in rates:
        until = now + seconds
        while now < until:
            now += MIB / rate * chaos.uniform(1 - noise, 1 + noise)
            now += 0.3 if stalls and chaos.random() < 0.01 else 0
            ends.append(now)
    return make_points(ends, MIB, now, len(ends) * MIB)


@settings(derandomize=True)  # a rare curve, by chance, looks otherwise to anybody
@given(st.floats(30e6, 90e6), st.floats(0.2, 0.6), st.floats(4, 12), st.integers(0, 999))
def test_knee(burst, share, seconds, seed):
    """A fall to less than two thirds is found, where it is, with both rates."""
    found = find_knee(curve([(burst, seconds), (burst * share, 10)], 0.2, seed))
    assert found.bytes is not None
    assert abs(found.bytes - burst * seconds) < 0.1 * burst * seconds
    assert abs(found.burst_rate / burst - 1) < 0.1
    assert abs(found.sustained_rate / (burst * share) - 1) < 0.1


@settings(derandomize=True)
@given(st.floats(10e6, 90e6), st.integers(0, 9999), st.booleans())
def test_no_knee(rate, seed, stalls):
    """An even write has none, be it noisy, or full of stalls; its rate is that of the whole."""
    points = curve([(rate, 15)], 0.5, seed, stalls)
    found = find_knee(points)
    assert found.bytes is None
    assert found.burst_rate == found.sustained_rate == points[-1][1] / points[-1][0]


def test_seconds_at():
    """Between two points of a curve time goes evenly; a curve of nothing takes none."""
    points = [(0.0, 0), (1.0, 10), (5.0, 10), (6.0, 20)]
    assert [seconds_at(points, size) for size in (0, 5, 10, 15, 20)] == [0, 0.5, 1, 5.5, 6]
    assert seconds_at([(0.0, 0), (3.0, 0)], 0) == 0


def test_flush_seconds():
    """It is the time without bytes at the end; a curve that ends in bytes does not tell."""
    assert flush_seconds(make_points([1.0, 2.0, 3.0], MIB, 3.5, 3 * MIB)) == 0.5
    assert flush_seconds([(0.0, 0), (3.0, 10)]) == 0


@given(st.lists(st.floats(0.001, 100), max_size=300), st.floats(0, 5))
def test_points(ends, flush):
    """A curve starts at nothing, never falls, ends where the write did, and is short."""
    seconds = max(ends, default=1.0) + flush
    points = make_points(ends, MIB, seconds, len(ends) * MIB)
    assert points[0] == (0.0, 0)
    assert points[-1] == (seconds, len(ends) * MIB)
    assert points == sorted(points)
    assert [size for _, size in points] == sorted(size for _, size in points)
    assert len(points) <= BINS + 2
    assert ends == [] or flush_seconds(points) == pytest.approx(flush)
    find_knee(points)
