"""What follows from figures that were made up: the limit, and the settings."""

from dataclasses import replace

import pytest
from bench.made import STAGES, document, run, stage, stalling
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bench.document import Sustained
from hupfast.bench.verdict import best_settings, make_verdict, mb, usual_ratio
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


def test_the_rate_of_other_settings():
    """What the long write would be with the settings to use is told as what it is; its rate stands in the document."""
    runs = (stalling(20.0 * MIB, (0.0, 0.0, 0.0), count=64), stalling(25.0 * MIB, (0.0, 0.0, 0.0), depth=1, count=64))
    long = Sustained(MIB, 4, ((0.0, 0), (10.0, 160 * MIB)), 16.0 * MIB, 16.0 * MIB, None)
    found = document(runs=runs, sustained=long).verdict
    rate = MIB / (1 / 16 + 1 / 25 - 1 / 20)
    assert found.rates.sustained == found.rates.lasting == pytest.approx(rate, rel=1e-3)
    assert f"the card (SC16G): about {mb(rate)} in the long run (" in found.sentence
    assert document(runs=runs).verdict.rates.sustained is None
    assert document(runs=runs).verdict.rates.lasting == 25 * MIB
    assert " about " not in document(sustained=long).verdict.sentence


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


def test_stalls_do_not_choose():
    """A stall that came to the best settings, and not to others, makes these no better."""
    best = stalling(40.0 * MIB, (0.5, 0.4, 0.0))
    other = stalling(30.0 * MIB, (0.0, 0.0, 0.3), MIB // 4, 1, 128)
    assert best.rate.median < other.rate.median
    assert best_settings([other, best]) is best


def test_settings_that_stall_are_not_excused():
    """What stalls in every round, and many times as much as all else, is not chosen for what it would be without."""
    bad = stalling(42.0 * MIB, (2.0, 2.0, 2.0), MIB // 4, 1, 128)
    good = [stalling(40.0 * MIB, (0.0, 0.1, 0.0), depth=depth) for depth in (1, 2, 4, 6)]
    assert best_settings([bad, *good]) in good


def test_usual_ratio():
    """How well an image packs is told by the level that is nearest to that of `hupfast pack`."""
    better = replace(stage("decompress", 1e8, 1, level=10), ratio=3.0)
    assert usual_ratio((stage("decompress", 1e8, 1, level=1), better, stage("sha256", 1e8))) == 3.0
    assert usual_ratio(()) == 2.0
