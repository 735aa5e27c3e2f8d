"""How long an image takes, by figures that were made up."""

from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from bench.made import document, run, stage, stalling
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bench.document import Round, Sustained
from hupfast.bench.predict import predict
from hupfast.bench.stats import latency, middle
from hupfast.bench.sustained import make_points
from hupfast.errors import UsageError

MIB = 2**20


def test_prediction_by_hand():
    """The parts of a prediction are those of the formula: data, then zeroes, then reading."""
    found = predict(document(), 100_000_000, 40_000_000, 0.2)
    assert found.write_seconds == pytest.approx(80 / 40 + 20 / 20)
    assert found.verify_seconds == pytest.approx(100 / 80)
    assert found.seconds == pytest.approx(found.write_seconds + found.verify_seconds)


def test_a_reading_without_a_block_tells_nothing():
    """A document may say that reads had no bytes: their rate says nothing of those of the verdict's size."""
    odd = document(runs=(run(), replace(run("read", 80e6), block=0)))
    assert predict(odd, 8_000_000_000, 1).verify_seconds == pytest.approx(1)  # by the checksums


def test_prediction_of_a_slow_processor():
    """Where decompression is slower than the medium it decides; a raw image needs none."""
    fast = document(runs=(run(rate=900e6), run("read", 900e6)))
    assert predict(fast, 200_000_000, 100_000_000).write_seconds == pytest.approx(1 + 100 / 400 + 200 / 8000)
    assert predict(fast, 200_000_000, 100_000_000, level=1).write_seconds < 1
    raw = predict(fast, 200_000_000, 200_000_000).write_seconds
    assert raw == pytest.approx(200 / 400 + 200 / 8000)


def test_prediction_with_a_knee():
    """What goes into the medium's cache goes fast, the rest does not."""
    knee = Sustained(MIB, 4, ((0.0, 0), (5.0, 400_000_000), (15.0, 600_000_000)), 80e6, 20e6, 400_000_000)
    cached = document(sustained=knee)
    assert predict(cached, 400_000_000, 1_000_000).write_seconds == pytest.approx(5)
    assert predict(cached, 600_000_000, 1_000_000).write_seconds == pytest.approx(5 + 10)


def going_over(size: int, parts: list[list[float]], depth: int = 4) -> Sustained:
    """A long write over the same places: of each pass, the seconds of its equal parts."""
    ends = accumulate(took for one in parts for took in one)
    steps = [size * (i + 1) // len(parts[0]) for i in range(len(parts) * len(parts[0]))]
    points = ((0.0, 0), *zip(ends, steps, strict=True))
    rate = points[-1][1] / points[-1][0]
    return Sustained(MIB, depth, points, rate, rate, None)


def test_places_that_are_slow_in_each_pass():
    """An image for a device takes what all passes took over its places, and the average behind them."""
    found = document(sustained=going_over(16 * 10**7, [[1.0, 1.0, 1.0, 1.0, 7.0, 1.0, 1.0, 3.0]] * 3))
    found = replace(found, settings=replace(found.settings, size=16 * 10**7))
    for size, seconds in ((4, 2), (8, 4), (10, 11), (16, 16), (20, 20)):
        assert predict(found, size * 10**7, 1).write_seconds == pytest.approx(seconds)
    file = replace(found, storage=replace(found.storage, filesystem="ext4"))  # it is somewhere else on the medium
    assert predict(file, 8 * 10**7, 1).write_seconds == pytest.approx(8)


def test_data_between_zeroes():
    """It lies all over an image, and not at its start; in a cache of the medium it comes first all the same."""
    slow_end = going_over(16 * 10**7, [[1.0] * 6 + [9.0] * 2] * 3)
    runs = (run(), run("zero", 40e6, 4 * MIB, 1))
    found = document(runs=runs, sustained=slow_end)
    found = replace(found, settings=replace(found.settings, size=16 * 10**7))
    assert predict(found, 16 * 10**7, 1, 0.5).write_seconds == pytest.approx(24, rel=0.01)
    assert predict(found, 8 * 10**7, 1, 0.25).write_seconds == pytest.approx(4, rel=0.01)
    fast_zeroes = document(runs=(run(), run("zero", 4e9, 4 * MIB, 1)), sustained=slow_end)
    fast_zeroes = replace(fast_zeroes, settings=found.settings)
    assert predict(fast_zeroes, 16 * 10**7, 1, 0.5).write_seconds == pytest.approx(12, rel=0.02)
    knee = replace(slow_end, burst_rate=80e6, sustained_rate=20e6, knee_bytes=8 * 10**7)
    assert predict(document(runs=runs, sustained=knee), 16 * 10**7, 1, 0.5).write_seconds == pytest.approx(
        1 + 4, rel=0.01
    )


@pytest.mark.parametrize(
    "parts",
    [
        [[1.0, 1.0, 1.0, 1.0, 7.0, 1.0, 1.0, 3.0]],  # one pass: who knows
        [[1.0, 1.0, 1.0, 1.0, 7.0, 1.0, 1.0, 3.0], [7.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0]],
        [[3.0, 1.0, 3.0, 1.0]] * 2 + [[1.0, 3.0, 1.0, 3.0]] * 2,
        [[1.0], [3.0]] * 4,  # nothing is seen within a pass
    ],
)
def test_places_that_are_slow_in_one_pass(parts):
    """Stalls that are not bound to places are everywhere: the average."""
    found = document(sustained=going_over(16 * 10**7, parts))
    found = replace(found, settings=replace(found.settings, size=16 * 10**7))
    average = sum(map(sum, parts)) / len(parts)
    for share in (0.25, 0.5, 1, 2):
        assert predict(found, round(share * 16 * 10**7), 1).write_seconds == pytest.approx(average * share)


def test_half_a_pass_more():
    """What was gone over once more counts as the mean of both, and the slow start of a target no more than its end."""
    whole = going_over(16 * 10**7, [[3.0, 1.0, 1.0, 1.0]] * 2)
    long = replace(whole, points=whole.points[:7], sustained_rate=24e7 / 10)
    found = document(sustained=long)
    found = replace(found, settings=replace(found.settings, size=16 * 10**7))
    for share in (0.5, 1, 2):
        assert predict(found, round(share * 16 * 10**7), 1).write_seconds == pytest.approx(6 * share)


@pytest.mark.parametrize("wander", [False, True])
@pytest.mark.parametrize(("size", "passes"), [(128, 2.3), (128, 5.5), (256, 3.4)])
def test_cards_that_stall(size, passes, wander, monkeypatch):
    """
    By the clockwork of the made card, of several seeds, an image of a half, one or two times what was gone over.

    Stalls of places are known, and what is predicted is right, but for the places behind; those that wander are as
    many as usual.
    """
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])  # the benchmarks are not installed
    from benchmarks.nbd_stalls import Clockwork

    for seed in range(8):
        clock = Clockwork(40e6, 0.003, seed, wander=wander)
        ends = [clock.done(0, at % size * MIB, MIB, write=True) for at in range(int(passes * size))]
        points = make_points(ends, MIB, ends[-1], len(ends) * MIB)
        rate = points[-1][1] / points[-1][0]
        found = document(sustained=Sustained(MIB, 4, tuple(points), rate, rate, None))
        found = replace(found, settings=replace(found.settings, size=size * MIB))
        start = clock.free
        ends = [clock.done(0, at * MIB, MIB, write=True) - start for at in range(2 * size)]
        for share in (0.5, 1, 2):
            blocks = round(share * size)
            seconds = predict(found, blocks * MIB, 1).write_seconds
            if wander:
                assert seconds == pytest.approx(blocks * MIB / rate, rel=0.1)
            else:
                assert seconds == pytest.approx(ends[blocks - 1], rel=0.05 if share <= 1 else 0.15)


def test_a_stall_in_short_runs_is_no_gain():
    """The long write has its stalls; other settings make the rest faster, and not these."""
    stalled = stalling(20.0 * MIB, (0.4, 0.4, 0.4))
    other = stalling(25.0 * MIB, (0.0, 0.0, 0.1), depth=1)
    long = Sustained(MIB, 4, ((0.0, 0), (10.0, 160 * MIB)), 16.0 * MIB, 16.0 * MIB, None)
    found = document(runs=(stalled, other), sustained=long)
    assert found.verdict.depth == 1
    seconds = 1 / 16 + 1 / 25 - 1 / 20  # for a MiB: the long write's, and what another depth saves of it
    assert predict(found, 160 * MIB, 160 * MIB).write_seconds == pytest.approx(160 * seconds)


def test_reading_between_two_blocks():
    """A block size that was not read is between the two around it: each request costs, and so does each byte."""
    reads = (run("read", 8 * MIB, MIB // 4, 4), run("read", 32 * MIB, 4 * MIB, 4), run("read", 99e9, MIB, 1))
    found = document(runs=(run(block=MIB, depth=4), *reads))
    request = 1 / 32 + (1 / 8 - 1 / 32) * (1 - 0.25) / (4 - 0.25)
    assert predict(found, 64 * MIB, 64 * MIB).verify_seconds == pytest.approx(64 * request)


def test_a_stall_in_all_rounds_of_zeroing_counts_once():
    """One piece of three stalls in every round; when nothing does, zeroes are as fast as data, which has its stalls."""
    rounds = (Round(12 * MIB, 5.0, 0.0, 1, (1_000_000, 3_000_000, 1_000_000)),) * 3
    figures = middle([one.rate for one in rounds]), latency([us for one in rounds for us in one.latencies_us])
    zero = replace(run("zero", block=4 * MIB, depth=1), rounds=rounds, rate=figures[0], latency_us=figures[1])
    plain = run(rate=4.0 * MIB, block=MIB, depth=4)
    long = Sustained(MIB, 4, ((0.0, 0), (10.0, 32 * MIB)), 3.2 * MIB, 3.2 * MIB, None)
    found = document(runs=(plain, zero), sustained=long)
    assert predict(found, 64 * MIB, MIB, 0.5).write_seconds == pytest.approx(20, rel=0.01)
    assert predict(replace(found, sustained=None), 64 * MIB, MIB, 0.5).write_seconds > 21


def test_a_flush_counts_once():
    """An image has one, as the long write has, however much of that it is; and whatever the processor does."""
    long = Sustained(MIB, 4, ((0.0, 0), (10.0, 400 * 10**6), (12.0, 400 * 10**6)), 400e6 / 12, 400e6 / 12, None)
    found = document(sustained=long)
    assert predict(found, 100 * 10**6, 1).write_seconds == pytest.approx(2.5 + 2)
    assert predict(found, 800 * 10**6, 1).write_seconds == pytest.approx(20 + 2)
    assert predict(found, 100 * 10**6, 10**9).write_seconds == pytest.approx(1e9 / 400e6 + 1e8 / 8e9 + 2)
    knee = replace(long, knee_bytes=200 * 10**6, burst_rate=50e6, sustained_rate=200e6 / 8)
    assert predict(document(sustained=knee), 300 * 10**6, 1).write_seconds == pytest.approx(4 + 3 + 2)


def test_the_page_cache_is_no_cache_of_the_medium():
    """Without direct I/O the first part of a long write tells nothing; all of it with its flush does."""
    long = Sustained(MIB, 4, ((0.0, 0), (1.0, 10**9), (9.0, 10**9), (20.0, 10**9)), 1e9, 1e6, 10**8)
    found = document(sustained=long)
    found = replace(found, storage=replace(found.storage, direct=False))
    assert predict(found, 10**8, 1).write_seconds == pytest.approx(2)


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.floats(0, 1),
    st.integers(1, 10**9),
    st.sampled_from([
        None,
        Sustained(MIB, 4, ((0.0, 0), (1.0, 10**8), (9.0, 10**9)), 1e8, 9e7, 10**8),
        Sustained(65536, 1, ((0.0, 0), (5.0, 10**8)), 2e7, 2e7, None),
        Sustained(65536, 1, ((0.0, 0), (1.0, 10**8), (8.0, 2 * 10**8), (16.0, 6 * 10**8)), 4e7, 4e7, None),
        Sustained(65536, 1, ((0.0, 0), (1.0, 10**8), (80.0, 10**9)), 1e8, 1e7, 10**8),
        going_over(2**28, [[10.0, 1.0, 5.0, 1.0, 9.0]] * 2, depth=1),
        Sustained(MIB, 4, ((0.0, 0), (5.0, 10**10)), 3e9, 2e7, 10**10),
    ]),
    st.floats(5e6, 1e9),
)  # fmt: skip
def test_more_takes_longer(size, packed, zeroes, more, long, rate):
    """A larger image never takes less time, and nothing takes negative time, whatever the settings save."""
    base = [stalling(rate, (0.0, 0.0, 0.0), block, 1) for block in (65536, MIB)]
    found = document(runs=(stalling(40e6, (0.0, 0.0, 0.0), count=64), *base), sustained=long)
    packed = min(packed, size)
    less = predict(found, size, packed, zeroes)
    assert less.write_seconds >= 0
    assert predict(found, size + more, packed + min(more, 10), zeroes).seconds >= less.seconds * (1 - 1e-9)


def test_settings_save_no_more_than_half():
    """In each part of the long write: what is fast already is not for nothing with other settings."""
    runs = (stalling(40e6, (0.0, 0.0, 0.0), count=64), stalling(10e6, (0.0, 0.0, 0.0), 65536, 1))
    long = Sustained(65536, 1, ((0.0, 0), (1.0, 10**8), (20.0, 2 * 10**8)), 1e8, 1 / 1.9e-7, 10**8)
    saved = 1 / 10e6 - 1 / 40e6
    found = document(runs=runs, sustained=long)
    assert predict(found, 2 * 10**8, 1).write_seconds == pytest.approx(0.5 + 10**8 * (1.9e-7 - saved))


@pytest.mark.parametrize("numbers", [(-1, 0, 0.0), (1, -1, 0.0), (1, 1, 1.5), (1, 1, -0.1)])
def test_nonsense(numbers):
    """Sizes below nothing are wrong usage."""
    with pytest.raises(UsageError):
        predict(document(), *numbers)


def test_without_stages():
    """A document of the medium alone has a verdict and predictions too."""
    alone = document(runs=(run(),), stages=())
    assert "not measured" in alone.verdict.sentence
    assert predict(alone, 40_000_000, 10_000_000).write_seconds == pytest.approx(1)
    assert predict(document(stages=(stage("decompress", 1e6, 1, 9),)), 2_000_000, 1).write_seconds == pytest.approx(2)
