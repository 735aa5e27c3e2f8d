"""benchmarks/stalls.py: a card that does one request after the other, and stalls at the same places each time."""

import hashlib
import os
import random
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.nbd_stalls import SPACING, STALL_SECONDS, Clockwork
from benchmarks.stalls import stalling_card, stalling_missing

MIB = 1 << 20

needs_a_card = pytest.mark.skipif(
    os.geteuid() != 0 or stalling_missing() is not None,
    reason=stalling_missing() or "loop devices need root",
)


def test_requests_queue_up():
    """One after the other, each with its latency and its bytes at the card's rate; what comes late loses the gap."""
    clock = Clockwork(MIB, 0.5, None)
    assert clock.done(10.0, 0, MIB, write=True) == 11.5
    assert clock.done(10.0, MIB, MIB, write=True) == 13.0
    assert clock.done(20.0, 2 * MIB, MIB, write=True) == 21.5


def test_every_part_stalls_once():
    """However the requests cut it, and for as long as is said."""
    whole = Clockwork(1e9, 0, 7)
    for part in range(20):
        start = part * SPACING
        at_once = whole.stalls(start, SPACING)
        assert STALL_SECONDS[0] <= at_once <= STALL_SECONDS[1]
        pieces = [whole.stalls(start + offset, MIB // 4) for offset in range(0, SPACING, MIB // 4)]
        assert [seconds for seconds in pieces if seconds] == [at_once]
    assert whole.stalls(0, 20 * SPACING) == pytest.approx(sum(whole.stalls(n * SPACING, SPACING) for n in range(20)))


def test_the_seed_makes_the_card():
    """The same one stalls at the same places, another one elsewhere, and none nowhere."""
    places = {seed: [Clockwork(1e9, 0, seed).stall(part) for part in range(5)] for seed in (1, 2)}
    assert places[1] == [Clockwork(1e9, 0, 1).stall(part) for part in range(5)]
    assert places[1] != places[2]
    assert Clockwork(1e9, 0, None).stalls(0, 100 * SPACING) == 0


def test_stalls_that_wander():
    """They come as often, by what is written in all: at other places of the second pass, and not to who reads."""
    clock = Clockwork(1e9, 0, 3, wander=True)

    def stalled(*, write: bool) -> list[bool]:
        ends = [clock.free, *(clock.done(0, offset, MIB, write=write) for offset in range(0, SPACING, MIB))]
        return [end - start > 0.1 for start, end in pairwise(ends)]

    first, second = stalled(write=True), stalled(write=True)
    assert (sum(first), sum(second)) == (1, 1)
    assert first != second
    assert not any(stalled(write=False))


@needs_a_card
def test_the_card_takes_its_time(tmp_path: Path):
    """dd takes as long as the clockwork says, and the bytes arrive."""
    data = random.Random(1).randbytes(8 * MIB)
    source = tmp_path / "data"
    source.write_bytes(data)
    rate, clock = 40e6, Clockwork(40e6, 0.0015, 1)
    clock.free = 0
    for offset in range(0, len(data), MIB):
        least = clock.done(0, offset, MIB, write=True)
    with stalling_card(tmp_path, 16 * MIB, rate) as card:
        command = ["dd", f"if={source}", f"of={card.path}", "bs=1M", "oflag=direct", "conv=fsync"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert card.digest(((0, len(data)),)) == hashlib.sha256(data).hexdigest()
    seconds = float(done.stderr.rsplit(" s,", 1)[0].rsplit(" ", 1)[1])
    assert least <= seconds < 2 * least
