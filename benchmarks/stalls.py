"""
A card that stalls as real ones do, while device.card() only keeps a rate:

    file ── nbdkit with nbd_stalls.py ── nbdfuse ── file in a FUSE mount ── loop device

What it does with its time is drawn in nbd_stalls.py.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import nbd_stalls
from benchmarks.device import Device, _allocate, _loop, _serve, _stop, _unmount, _until, card_missing
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


def _nbdkit(socket: Path, backing: Path, rate: float, latency: float, seed: int | None) -> list[str]:
    """The command line of the server that holds the bytes and takes the time."""
    argv = ["nbdkit", "--foreground", "--exit-with-parent", "--unix", str(socket), "python", nbd_stalls.__file__]
    options = [f"file={backing}", f"rate={rate}", f"latency_us={latency * 1e6}"]
    return [*argv, *options, *([] if seed is None else [f"stalls={seed}"])]


@contextmanager
def stalling_card(
    directory: Path, size: int, rate: float, *, latency: float = LATENCY, seed: int | None = 1
) -> Iterator[Device]:
    """A card of `rate` bytes a second with `latency` seconds for each request; seed None: it never stalls."""
    backing, mount = directory / "stalling.bin", directory / "stalling"
    disk, socket = mount / "disk", directory / "stalling.socket"
    with ExitStack() as stack:
        stack.callback(backing.unlink, missing_ok=True)
        _allocate(backing, size)
        socket.unlink(missing_ok=True)
        stack.callback(socket.unlink, missing_ok=True)
        mount.mkdir(exist_ok=True)
        stack.callback(mount.rmdir)
        stack.callback(_stop, _serve(_nbdkit(socket, backing, rate, latency, seed)))
        _until(socket.exists, "nbdkit")
        stack.callback(_stop, _serve(["nbdfuse", str(disk), "--unix", str(socket)]))
        stack.callback(_unmount, mount)
        _until(disk.exists, "nbdfuse")
        yield Device("stalling card", stack.enter_context(_loop(disk)), backing, size, int(rate))
