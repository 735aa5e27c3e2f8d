"""The measuring part of the C engine: values in, values out. Every call that can wait lets go of the GIL."""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hupfast._engine import ffi, lib
from hupfast.engine import UNKNOWN, check, new_error
from hupfast.errors import HupfastError, UsageError

_OPERATIONS = {
    "write": lib.HUP_BENCH_WRITE,
    "read": lib.HUP_BENCH_READ,
    "zero": lib.HUP_BENCH_ZERO,
    "discard": lib.HUP_BENCH_DISCARD,
}
_METHODS = {"threads": lib.HUP_BENCH_THREADS, "io_uring": lib.HUP_BENCH_URING}
_STAGES = {
    "decompress": lib.HUP_BENCH_DECOMPRESS,
    "sha256": lib.HUP_BENCH_SHA256,
    "xxh3": lib.HUP_BENCH_XXH3,
}
_TICK_MS = 100

SAMPLES = 65536
"""Of one measurement, so many are kept."""

_ABSENT = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP})


class NotHere(HupfastError):
    """This machine, or this medium, cannot do that at all: no io_uring, no discarding. The message says why."""


class SystemFault(HupfastError):
    """The system, and not the medium, has failed a measurement: no memory, a broken io_uring. `errno` says how."""


@dataclass(frozen=True)
class Moved:
    """
    What one measurement of a medium did. Times in seconds.

    starts, latencies: of each operation that was kept, from the start of the measurement, in the order in which they
    ended. seconds: all of it, with the flushes.
    """

    bytes: int
    seconds: float
    flush_seconds: float
    flushes: int
    flush_max_seconds: float
    direct: bool
    sector: int
    starts: Sequence[float]
    latencies: Sequence[float]


def move(
    target: str,
    operation: str,
    *,
    method: str = "threads",
    block: int,
    depth: int,
    offset: int = 0,
    length: int,
    first: int = 0,
    total: int | None = None,
    limit: float = 0.0,
    flush_every: int = 0,
    samples: int = SAMPLES,
) -> Moved:
    """
    Write, read, zero or discard, and measure it. The arguments are those of hup_bench_config in csrc/hupfast.h.

    total: bytes, None for until `limit` seconds are over. Raises: NotHere, SystemFault, UsageError, TargetError,
    MediumError.
    """
    if min(block, depth, offset, length, first, total or 0, flush_every) < 0 or max(block, depth) >= 2**31:
        raise UsageError("a measurement has no negative numbers in it, and no large ones")
    config, handle, error = ffi.new("hup_bench_config *"), ffi.new("hup_bench **"), new_error()
    path = ffi.new("char[]", os.fsencode(target))
    config.target, config.operation, config.method = path, _OPERATIONS[operation], _METHODS[method]
    config.block, config.depth = block, depth
    config.offset, config.length, config.first = offset, length, first
    config.total = UNKNOWN if total is None else total
    config.limit_ms, config.flush_every, config.room = int(limit * 1000), flush_every, samples
    _checked(lib.hup_bench_open(config, handle, error), error)
    try:
        result = ffi.new("hup_bench_result *")
        # In short steps, so that Ctrl-C is heard.
        while _checked(lib.hup_bench_wait(handle[0], _TICK_MS, result, error), error) == lib.HUP_RUNNING:
            pass
        starts, latencies = _samples(handle[0])
    finally:
        lib.hup_bench_close(handle[0])
    return Moved(
        bytes=result.bytes,
        seconds=result.ns / 1e9,
        flush_seconds=result.flush_ns / 1e9,
        flushes=result.flushes,
        flush_max_seconds=result.flush_max_ns / 1e9,
        direct=bool(result.direct),
        sector=result.align,
        starts=starts,
        latencies=latencies,
    )


def _samples(handle: Any) -> tuple[array[float], array[float]]:
    """Starts and latencies in seconds."""
    count = ffi.new("size_t *")
    kept = lib.hup_bench_samples(handle, count)
    numbers = array("Q")
    if count[0]:
        numbers.frombytes(ffi.buffer(kept, count[0] * ffi.sizeof("hup_bench_sample")))
    return array("d", (ns / 1e9 for ns in numbers[0::3])), array("d", (ns / 1e9 for ns in numbers[1::3]))


def _checked(status: int, error: Any) -> int:
    if status == lib.HUP_E_SYSTEM:
        message = ffi.string(error.message).decode(errors="replace")
        if error.sys_errno in _ABSENT:
            raise NotHere(message)
        raise SystemFault(message, errno=error.sys_errno or None)
    return check(status, error)


@dataclass(frozen=True)
class Frame:
    """A piece of an image as a zstd frame of its own. raw: bytes that it gives. xxh3: of these."""

    data: bytes
    raw: int
    xxh3: bytes


def compress(data: bytes, level: int) -> Frame:
    """Make a frame. Raises: UsageError for a level that zstd does not know, MemoryError."""
    room = lib.hup_bench_room(len(data))
    memory, length = ffi.new("uint8_t[]", room), ffi.new("size_t *")
    xxh3, error = ffi.new("uint8_t[16]"), new_error()
    check(
        lib.hup_bench_compress(ffi.from_buffer(data), len(data), level, memory, room, length, xxh3, error),
        error,
    )
    return Frame(bytes(ffi.buffer(memory, length[0])), len(data), bytes(ffi.buffer(xxh3)))


def stage_rate(name: str, pieces: Sequence[bytes], raw: Sequence[int], *, threads: int, seconds: float) -> float:
    """
    Bytes a second that `threads` threads together do of a stage: "decompress", "sha256" or "xxh3".

    pieces: frames to decompress, or data to hash. raw: what each frame gives. Raises: HupfastError, UsageError.
    """
    error, rate = new_error(), ffi.new("uint64_t *")
    array_of_pieces = ffi.new("hup_bench_piece[]", max(len(pieces), 1))
    keep = [ffi.from_buffer(piece) for piece in pieces]
    for item, data, piece, size in zip(array_of_pieces, keep, pieces, raw, strict=False):
        item.data, item.size, item.raw = data, len(piece), size
    milliseconds = max(int(seconds * 1000), 1)
    check(
        lib.hup_bench_stage(_STAGES[name], array_of_pieces, len(pieces), threads, milliseconds, rate, error),
        error,
    )
    if not rate[0]:
        raise HupfastError(f"the stage {name} did nothing in {milliseconds} ms")
    return float(rate[0])
