"""Medians, spreads, percentiles: against the standard library, and by their definition."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bench.stats import latency, mean, median, middle, percentile, variance

values = st.lists(st.floats(0, 1e12), min_size=1, max_size=40)


@given(values)
def test_median(numbers):
    """The median is the standard library's."""
    assert median(numbers) == statistics.median(numbers)


@given(values)
def test_mean_and_variance(numbers):
    """They are the standard library's too."""
    assert mean(numbers) == pytest.approx(statistics.fmean(numbers))
    if len(numbers) > 1:
        close = max(1e-12 * max(numbers) ** 2, 1e-300)
        assert variance(numbers) == pytest.approx(statistics.variance(numbers), abs=close)


@given(values)
def test_spread(numbers):
    """The spread is the median of the distances from the median; of one value it is 0."""
    found = middle(numbers)
    assert found.spread == statistics.median([abs(number - found.median) for number in numbers])
    assert middle(numbers[:1]).spread == 0


@given(values, st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_percentile(numbers, share):
    """The percentile is a value that enough of them do not exceed, and the next smaller one is not."""
    found = percentile(sorted(numbers), share)
    count = len(numbers)
    assert sum(number <= found for number in numbers) >= share * count - 1e-9
    assert sum(number < found for number in numbers) < share * count + 1e-9


def test_latency():
    """Of a hundred values, the percentiles are what their names say, in whatever order they come."""
    found = latency([*range(100, 50, -1), *range(1, 51)])
    assert (found.p50, found.p90, found.p99, found.max) == (50, 90, 99, 100)
    assert latency([]).max == 0
