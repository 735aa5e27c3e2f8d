"""Rates without stalls: which are left out, of which settings, and where nothing is known of them."""

import pytest
from bench.made import run, stalling
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bench.calm import calm_rate, excused_rates, extra_seconds, stall_seconds

MIB = 2**20


def test_stall_seconds():
    """A stall counts once, however many operations it keeps waiting; noise is none."""
    assert stall_seconds(stalling(40.0 * MIB, (0.3, 0.0, 0.5))) == pytest.approx([0.3, 0.0, 0.5], abs=1e-3)
    assert stall_seconds(stalling(40.0 * MIB, (0.04, 0.0, 0.0))) == [0.0, 0.0, 0.0]
    assert stall_seconds(stalling(4.0 * MIB, (0.2, 0.0, 0.0))) == [0.0, 0.0, 0.0]  # a second is usual there


def test_few_operations():
    """They do not tell what stalls took: their rate is the median of the rounds, be one of them lucky."""
    few = stalling(40.0 * MIB, (0.5, 0.4, 0.0), count=16)
    assert stall_seconds(few) is None
    assert calm_rate(few) is None
    assert excused_rates([few, stalling(40.0 * MIB, (0.9, 0.9, 0.9))])[0] == few.rate.median


def test_only_usual_stalls_are_excused():
    """Three times what the others have, for as many bytes."""
    unlucky, lucky, calm = (stalling(40.0 * MIB, stalls) for stalls in ((0.5, 0.4, 0.3), (0.5, 0.4, 0.0), (0.0,) * 3))
    assert excused_rates([unlucky, lucky]) == pytest.approx([40 * MIB] * 2, rel=1e-3)
    part = 3 * (0.9 / 2) / 4.8  # the two others have 0.9 s, and it has 4.8 s
    bad = stalling(40.0 * MIB, (1.6, 1.6, 1.6))
    assert excused_rates([bad, lucky, calm])[0] == pytest.approx(32 * MIB / (0.8 + 1.6 * (1 - part)), rel=1e-3)


def test_no_run_excuses_itself():
    """One that stalls, beside others that never do, is as slow as it was; so is one that is alone."""
    bad = stalling(40.0 * MIB, (0.5, 0.5, 0.5))
    assert excused_rates([bad]) == [bad.rate.median]
    assert excused_rates([bad, stalling(30.0 * MIB, (0.0, 0.0, 0.0))])[0] == bad.rate.median
    assert excused_rates([]) == []


def test_extra_seconds():
    """What settings cost is what they cost between stalls; 0 when one side is not measured, or not enough."""
    base, other = stalling(20.0 * MIB, (0.4, 0.4, 0.4)), stalling(25.0 * MIB, (0.0, 0.0, 0.1), depth=1)
    assert extra_seconds([base, other], (MIB, 1), (MIB, 4)) == pytest.approx((1 / 25 - 1 / 20) / MIB, rel=1e-3)
    assert extra_seconds([base, other], (MIB, 4), (MIB, 1)) > 0
    assert extra_seconds([other], (MIB, 1), (MIB, 4)) == 0
    assert extra_seconds([run(), other], (MIB, 1), (MIB, 4)) == 0


@given(st.lists(st.lists(st.floats(0, 3), min_size=3, max_size=3), min_size=1, max_size=6), st.data())
def test_bounds(all_stalls, data):
    """A rate is between that with all stalls and that without any."""
    runs = [
        stalling(data.draw(st.floats(1e6, 1e8)), tuple(stalls), depth=data.draw(st.sampled_from([1, 2, 8])))
        for stalls in all_stalls
    ]
    for one, rate in zip(runs, excused_rates(runs), strict=True):
        calm = calm_rate(one)
        assert one.rate.median <= rate * 1.001
        assert calm is None or rate <= calm * 1.001
