"""
The insides of a stalling card: a model of its time, and a plugin that nbdkit runs with it (see stalls.py):

    nbdkit python benchmarks/nbd_stalls.py file=CARD rate=BYTES latency_us=N stalls=SEED [wander=1]

A card does one request after the other. Each takes its latency, and its bytes at the card's rate. Here and there the
card erases before it can write: such a place is drawn in every part of SPACING bytes, by the seed, and the request
that touches it takes 100 to 500 ms more. The places are places of the medium, and not moments, so that every run over
it has the same ones, whatever it does. Nothing is saved up while nobody asks: a gap between two requests is lost.

    request   |latency| bytes / rate |        |latency| bytes / rate | stall        |
                                     ^ answer  ^ the next one came late              ^ answer

Reads are as fast, have a third of the latency, and a tenth of the stalls' length (a read has to wait for what the card
does by itself, but erases nothing).

With `wander`, a card erases what it likes, as one does that moves its blocks around: SPACING bytes are counted as they
are written, wherever, and a place has a stall in one run and none in the next. Reads then meet none.
"""

import importlib
import mmap
import os
import random
import threading
import time

MIB = 1 << 20
SPACING = 32 * MIB
STALL_SECONDS = (0.1, 0.5)
API_VERSION = 2
"""Of nbdkit's Python interface: buffers are given, not returned."""


class Clockwork:
    """When requests are done. Times in seconds of any one clock; `rate` in bytes a second; seed None: no stalls."""

    def __init__(self, rate: float, latency: float, seed: int | None, *, wander: bool = False) -> None:
        self.rate, self.latency, self.seed, self.wander = rate, latency, seed, wander
        self.free = 0.0
        self.written = 0

    def stall(self, part: int) -> tuple[int, float]:
        """Where the stall of a part of SPACING bytes is, and its seconds."""
        chance = random.Random(f"{self.seed} {part}")
        return part * SPACING + chance.randrange(SPACING), chance.uniform(*STALL_SECONDS)

    def stalls(self, offset: int, size: int) -> float:
        """The seconds of all stalls in [offset, offset + size)."""
        if self.seed is None:
            return 0.0
        parts = map(self.stall, range(offset // SPACING, (offset + size - 1) // SPACING + 1))
        return sum(seconds for place, seconds in parts if offset <= place < offset + size)

    def done(self, now: float, offset: int, size: int, *, write: bool) -> float:
        """When the card has done a request that comes now, after those that came before."""
        share, weight = (1.0, 1.0) if write else (1 / 3, 0.1)
        if self.wander:
            offset, weight = self.written, float(write)
        self.written += size if write else 0
        busy = self.latency * share + size / self.rate + self.stalls(offset, size) * weight
        self.free = max(now, self.free) + busy
        return self.free


# -------- the plugin: what follows is called by nbdkit --------

options: dict[str, str] = {}
clockwork = Clockwork(1, 0, None)  # until get_ready knows the options
fd = -1
turn = threading.Lock()
spare: list[mmap.mmap] = []
"""Memory for direct I/O, one piece for each request that is worked on, and kept for the next one."""

MAX_REQUEST = 32 * MIB
"""What nbdkit takes at most."""


def config(key: str, value: str) -> None:
    """An option of the command line."""
    options[key] = value


def thread_model() -> int:
    """Requests are taken while others are worked on, as the kernel queues them; the clockwork puts them in order."""
    return int(importlib.import_module("nbdkit").THREAD_MODEL_PARALLEL)  # there is such a module in nbdkit only


def get_ready() -> None:
    """Open the file past the page cache, so that this machine's cache does not answer for the card."""
    global fd, clockwork
    fd = os.open(options["file"], os.O_RDWR | os.O_DIRECT)
    seed = int(options["stalls"]) if options.get("stalls") else None
    latency, wander = float(options.get("latency_us", "0")) / 1e6, options.get("wander") == "1"
    clockwork = Clockwork(float(options["rate"]), latency, seed, wander=wander)


def open(readonly: bool) -> int:
    """A connection."""
    return 1


def can_multi_conn(handle: int) -> bool:
    """Several connections see the same bytes."""
    return True


def get_size(handle: int) -> int:
    """Of the card."""
    return os.fstat(fd).st_size


def _answer_at(now: float, offset: int, size: int, *, write: bool) -> float:
    with turn:
        return clockwork.done(now, offset, size, write=write)


def _memory() -> mmap.mmap:
    try:
        return spare.pop()
    except IndexError:
        return mmap.mmap(-1, MAX_REQUEST, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _rest(until: float) -> None:
    seconds = until - time.monotonic()
    if seconds > 0:
        time.sleep(seconds)


def pread(handle: int, buffer: bytearray, offset: int, flags: int) -> None:
    """Read into all of buffer."""
    until = _answer_at(time.monotonic(), offset, len(buffer), write=False)
    memory = _memory()
    with memoryview(memory)[: len(buffer)] as view:
        if os.preadv(fd, [view], offset) != len(buffer):
            raise OSError("short read")
        buffer[:] = view
    spare.append(memory)
    _rest(until)


def pwrite(handle: int, buffer: bytes, offset: int, flags: int) -> None:
    """Write all of buffer."""
    until = _answer_at(time.monotonic(), offset, len(buffer), write=True)
    memory = _memory()
    with memoryview(memory)[: len(buffer)] as view:
        view[:] = buffer
        if os.pwritev(fd, [view], offset) != len(buffer):
            raise OSError("short write")
    spare.append(memory)
    _rest(until)


def flush(handle: int, flags: int) -> None:
    """All has been written by then."""
    os.fdatasync(fd)
