"""What follows from figures that were made up: the limit, the settings, the time of an image."""

from dataclasses import replace

import pytest
from bench.made import STAGES, document, run, stage
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bench.document import Round, Run, Sustained, microseconds
from hupfast.bench.stats import latency, middle
from hupfast.bench.verdict import best_settings, make_verdict, mb, predict, usual_ratio
from hupfast.errors import UsageError

MIB = 2**20


def test_medium_limits():
    """A slow card is named with its rate, and what decompression could do beside it."""
    verdict = document().verdict
    assert verdict.limit == "medium"
    assert verdict.sentence == "the card (SC16G): 40.0 MB/s; decompression could do 200 MB/s on 2 processors"
    assert (verdict.rates.write, verdict.rates.read, verdict.rates.zero) == (40e6, 80e6, 20e6)
    assert verdict.rates.pipeline == pytest.approx(80e6 / 3)


@pytest.mark.parametrize(
    ("burst", "slow", "knee", "words"),
    [
        (15.4e6, 15.4e6, None, "the card (SC16G): 15.4 MB/s in the long run (40.0 MB/s in short ones); d"),
        (39e6, 39e6, None, "the card (SC16G): 39.0 MB/s; d"),
        (80e6, 20e6, 400 * 10**6, "the card (SC16G): 20.0 MB/s in the long run (80.0 MB/s for the first 400 MB); d"),
    ],
)
def test_the_long_run_limits(burst, slow, knee, words):
    """The rate that a long write has kept is the medium's; that of short runs stands beside it where it is another."""
    found = document(sustained=Sustained(MIB, 4, ((0.0, 0), (10.0, 10**9)), burst, slow, knee)).verdict
    assert found.sentence.startswith(words)
    assert found.rates.write == 40e6


def test_the_long_run_decides_what_limits():
    """A medium that is faster than the processor only in short runs limits all the same."""
    long = Sustained(MIB, 4, ((0.0, 0), (10.0, 10**9)), 50e6, 50e6, None)
    assert document(runs=(run(rate=900e6),), sustained=None).verdict.limit == "processor"
    assert document(runs=(run(rate=900e6),), sustained=long).verdict.limit == "medium"


def test_processor_limits():
    """On a fast medium the processor is named, with all that it does to each byte counted."""
    verdict = make_verdict((run(rate=900e6),), STAGES, None, "nvme", None)
    work = 1 / (1 / 200e6 + 0.5 / 400e6 + 1 / 8e9)
    assert verdict.limit == "processor"
    assert mb(work) in verdict.sentence
    assert "the NVMe drive could do 900 MB/s" in verdict.sentence


@given(st.dictionaries(st.tuples(st.sampled_from([65536, MIB, 4 * MIB]), st.sampled_from([1, 4, 16])),
                       st.floats(1e6, 1e9), min_size=1))  # fmt: skip
def test_settings(rates):
    """The settings are within 3% of the best, and none of those takes less memory."""
    runs = [run(rate=rate, block=block, depth=depth) for (block, depth), rate in rates.items()]
    chosen = best_settings(runs)
    best = max(one.rate.median for one in runs)
    assert chosen.rate.median >= 0.97 * best
    for one in runs:
        if one.block * one.depth < chosen.block * chosen.depth:
            assert one.rate.median < 0.97 * best


def test_only_what_the_writer_does_counts():
    """io_uring and flushes in between are measured, and never chosen; without plain writes there is no choice."""
    runs = [run(), run(rate=99e6, method="io_uring"), run(rate=98e6, flush_every=MIB), run("read", 1e9)]
    assert best_settings(runs) is runs[0]
    with pytest.raises(UsageError):
        best_settings(runs[1:])


def test_prediction_by_hand():
    """The parts of a prediction are those of the formula: data, then zeroes, then reading."""
    found = predict(document(), 100_000_000, 40_000_000, 0.2)
    assert found.write_seconds == pytest.approx(80 / 40 + 20 / 20)
    assert found.verify_seconds == pytest.approx(100 / 80)
    assert found.seconds == pytest.approx(found.write_seconds + found.verify_seconds)


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


def test_places_that_the_long_write_knows():
    """An image for a device takes what the long write took over its places, and the average behind them."""
    long = Sustained(MIB, 4, ((0.0, 0), (2.0, 100 * 10**6), (10.0, 200 * 10**6), (12.5, 500 * 10**6)), 40e6, 40e6, None)
    found = document(sustained=long)
    found = replace(found, settings=replace(found.settings, size=200 * 10**6))
    assert predict(found, 100 * 10**6, 1).write_seconds == pytest.approx(2)
    assert predict(found, 150 * 10**6, 1).write_seconds == pytest.approx(6)
    assert predict(found, 240 * 10**6, 1).write_seconds == pytest.approx(10 + 1)
    file = replace(found, storage=replace(found.storage, filesystem="ext4"))  # it is somewhere else on the medium
    assert predict(file, 100 * 10**6, 1).write_seconds == pytest.approx(2.5)


def _stalling(block: int, depth: int, rate: float, stalls: tuple[float, ...]) -> Run:
    """A run of 32 MiB in each round, of which one operation of each that is in flight has a stall of these seconds."""
    count = 32 * MIB // block
    usual = block * depth / rate
    rounds = []
    for stall in stalls:
        took = [(usual + stall if depth <= i < 2 * depth else usual) * 1e6 for i in range(count)]
        rounds.append(Round(32 * MIB, 32 * MIB / rate + stall, 0.0, 1, microseconds(took)))
    figures = middle([one.rate for one in rounds]), latency([us for one in rounds for us in one.latencies_us])
    return Run("write", "threads", block, depth, 0, tuple(rounds), *figures)


def test_stalls_do_not_choose():
    """A stall that came to the best settings, and not to others, makes these no better."""
    best = _stalling(MIB, 4, 40.0 * MIB, (0.5, 0.4, 0.0))
    other = _stalling(MIB // 4, 1, 30.0 * MIB, (0.0, 0.0, 0.3))
    assert best.rate.median < other.rate.median
    assert best_settings([other, best]) is best


def test_settings_that_stall_are_not_excused():
    """What stalls in every round, and many times as much as all else, is not chosen for what it would be without."""
    bad = _stalling(MIB // 4, 1, 42.0 * MIB, (2.0, 2.0, 2.0))
    good = [_stalling(MIB, depth, 40.0 * MIB, (0.0, 0.1, 0.0)) for depth in (1, 2, 4, 6)]
    assert best_settings([bad, *good]) in good


def test_a_stall_in_short_runs_is_no_gain():
    """The long write has its stalls; other settings make the rest faster, and not these."""
    stalled = _stalling(MIB, 4, 20.0 * MIB, (0.4, 0.4, 0.4))
    other = _stalling(MIB, 1, 25.0 * MIB, (0.0, 0.0, 0.1))
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


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.floats(0, 1),
    st.integers(1, 10**9),
    st.sampled_from([
        None,
        Sustained(MIB, 4, ((0.0, 0), (1.0, 10**8), (9.0, 10**9)), 1e8, 9e7, 10**8),
        Sustained(65536, 1, ((0.0, 0), (5.0, 10**8)), 2e7, 2e7, None),
        Sustained(MIB, 4, ((0.0, 0), (5.0, 10**10)), 3e9, 2e7, 10**10),
    ]),
)  # fmt: skip
def test_more_takes_longer(size, packed, zeroes, more, long):
    """A larger image never takes less time, and nothing takes negative time."""
    found = document(sustained=long)
    packed = min(packed, size)
    less = predict(found, size, packed, zeroes)
    assert less.write_seconds >= 0
    assert predict(found, size + more, packed + min(more, 10), zeroes).seconds >= less.seconds


def test_usual_ratio():
    """How well an image packs is told by the level that is nearest to that of `hupfast pack`."""
    better = replace(stage("decompress", 1e8, 1, level=10), ratio=3.0)
    assert usual_ratio((stage("decompress", 1e8, 1, level=1), better, stage("sha256", 1e8))) == 3.0
    assert usual_ratio(()) == 2.0


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
