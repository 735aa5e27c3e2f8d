"""
A card that stalls as real ones do, while device.card() only keeps a rate:

    file ── nbdkit with nbd_stalls.py ── nbdfuse ── file in a FUSE mount ── loop device

What it does with its time is drawn in nbd_stalls.py.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import nbd_stalls
from benchmarks.device import Device, card_missing, fuse_card
from benchmarks.machine import BenchmarkError, run

LATENCY = 0.0015
"""Seconds of each write beside its bytes: what an SD card's own housekeeping takes for a command."""


def stalling_missing() -> str | None:
    """Why there can be no stalling card here, or None."""
    absent = card_missing()
    if absent:
        return absent
    if os.environ.get("LD_PRELOAD"):
        return "nbdkit's Python does not start with a library loaded before it (LD_PRELOAD)"
    try:
        run(["nbdkit", "--dump-plugin", "python"])
    except BenchmarkError:
        return "nbdkit's python plugin is missing (Debian: nbdkit-plugin-python)"
    return None


def _nbdkit(backing: Path, rate: float, latency: float, seed: int | None, wander: bool) -> list[str]:
    """Plugin and options of the server that holds the bytes and takes the time."""
    options = [f"file={backing}", f"rate={rate}", f"latency_us={latency * 1e6}", f"wander={wander:d}"]
    return ["python", nbd_stalls.__file__, *options, *([] if seed is None else [f"stalls={seed}"])]


@contextmanager
def stalling_card(
    directory: Path, size: int, rate: float, *, latency: float = LATENCY, seed: int | None = 1, wander: bool = False
) -> Iterator[Device]:
    """
    A card of `rate` bytes a second with `latency` seconds for each request.

    seed: None when it never stalls. wander: whether its stalls come anywhere, see nbd_stalls.py.
    """
    nbdkit = partial(_nbdkit, rate=rate, latency=latency, seed=seed, wander=wander)
    with fuse_card(directory, "stalling", size, nbdkit) as (path, backing):
        yield Device("stalling card", path, backing, size, int(rate))
