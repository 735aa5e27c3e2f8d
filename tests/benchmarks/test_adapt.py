"""benchmarks/adapt.py: what adapting is worth, where that is plain to see, and the table that says so."""

import os
import random
from pathlib import Path

import pytest

from benchmarks.adapt import ADAPTING, START, Result, Setting, markdown
from benchmarks.stalls import stalling_card, stalling_missing
from hupfast.writer import write_image

MIB = 1 << 20


@pytest.mark.skipif(
    os.geteuid() != 0 or stalling_missing() is not None,
    reason=stalling_missing() or "loop devices need root",
)
def test_the_writer_finds_that_a_card_likes_large_writes(tmp_path: Path):
    """With a small budget its blocks are small, and on this card each request costs 5 ms: it puts them together."""
    data = random.Random(1).randbytes(64 * MIB)
    image = tmp_path / "image"
    image.write_bytes(data)
    with stalling_card(tmp_path, 64 * MIB, 200e6, latency=0.005, seed=None) as card:
        report = write_image(image, card.path, memory=2 * MIB)
        fixed = write_image(image, card.path, memory=2 * MIB, depth=4, verify=False)
    assert report.verified
    assert report.block == 256 << 10
    assert report.write_size > report.block
    assert report.write_seconds < 0.8 * fixed.write_seconds
    assert (fixed.in_flight, fixed.write_size) == (4, 256 << 10)


def test_only_the_rounds_that_count_count():
    """The best fixed setting is picked among those measured afresh, and the ratios are of medians."""
    two, eight = Setting(2, MIB), Setting(8, 4 * MIB)
    result = Result("card", 64 * MIB)
    one = Setting(4, MIB)
    result.picked = {two: [2.0], one: [2.1], eight: [0.1], Setting(1, MIB): [9.0]}
    assert result.finalists() == [eight, two, one]
    result.walls = {two: [1.0, 2.0, 9.0], eight: [4.0, 4.0, 4.0], START: [2.1, 2.1, 2.1], ADAPTING: [1.0, 2.02, 3.0]}
    result.ended = ["2 x 1M", "4 x 1M", "2 x 1M"]
    row = [cell.strip() for cell in markdown([result]).splitlines()[2].strip("|").split("|")]
    assert row == ["card", "64 MiB", "2 x 1M", "2.00 s", "200%", "1.010", "1.050", "2 x 1M (2), 4 x 1M (1)"]
