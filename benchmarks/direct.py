"""
Plain O_DIRECT reads and writes, several in flight: the measure of what a device can do.

As a program it is the probe that the runs are compared with:
    python -m benchmarks.direct write|read PATH --size BYTES --block BYTES --depth N
prints {"bytes": ..., "seconds": ...}; the seconds hold the writes and the flush, not the start of Python.
"""

import argparse
import hashlib
import itertools
import json
import mmap
import os
import random
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ALIGNMENT = 4096
"""What offsets and lengths here are multiples of: enough for every device."""


def old_content(size: int) -> bytes:
    """`size` bytes without any zero run, always the same: what a target holds before a run."""
    return random.Random(2).randbytes(size)


def _in_flight(size: int, block: int, depth: int, io: Callable[[memoryview, int], int], fill: bytes) -> None:
    """Call io(buffer, offset) for each block of `size` bytes, from `depth` threads with a buffer each."""
    if size % ALIGNMENT or block % ALIGNMENT:
        raise ValueError(f"size {size} and block {block} must be multiples of {ALIGNMENT}")
    offsets = itertools.count(0, block)
    failures: list[BaseException] = []

    def work() -> None:
        memory = mmap.mmap(-1, block, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # aligned, for O_DIRECT
        memory[: len(fill)] = fill
        view = memoryview(memory)
        try:
            while not failures and (offset := next(offsets)) < size:
                length = min(block, size - offset)
                done = io(view[:length], offset)
                if done != length:
                    raise OSError(f"{done} of {length} bytes at {offset}")
        except BaseException as error:  # a thread has nobody to raise to
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(depth)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def write_all(path: Path, size: int, *, block: int, depth: int) -> float:
    """Write old content over the first `size` bytes of path and flush. Returns the seconds that took."""
    fill = old_content(block)
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    try:
        start = time.monotonic()
        _in_flight(size, block, depth, lambda view, offset: os.pwrite(fd, view, offset), fill)
        os.fsync(fd)
        return time.monotonic() - start
    finally:
        os.close(fd)


def read_all(path: Path, size: int, *, block: int, depth: int) -> float:
    """Read the first `size` bytes of path past the page cache. Returns the seconds that took."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        start = time.monotonic()
        _in_flight(size, block, depth, lambda view, offset: os.preadv(fd, [view], offset), b"")
        return time.monotonic() - start
    finally:
        os.close(fd)


def digest(path: Path, ranges: Iterable[tuple[int, int]], *, direct: bool = True) -> str:
    """SHA-256, in hexadecimal, of the (offset, length) ranges of path, read past the page cache."""
    block = 4 << 20
    memory = memoryview(mmap.mmap(-1, block))
    state = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
    try:
        for start, length in ranges:
            offset, end = start, start + length
            while offset < end:
                want = min(block, end - offset)
                got = os.preadv(fd, [memory[:want]], offset)
                if got <= 0:
                    raise OSError(f"{path} ends at {offset}, before {end}")
                state.update(memory[:got])
                offset += got
    finally:
        os.close(fd)
    return state.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.direct")
    parser.add_argument("what", choices=["write", "read"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--block", type=int, default=1 << 20)
    parser.add_argument("--depth", type=int, default=4)
    options = parser.parse_args()
    function = write_all if options.what == "write" else read_all
    seconds = function(options.path, options.size, block=options.block, depth=options.depth)
    print(json.dumps({"bytes": options.size, "seconds": seconds}))


if __name__ == "__main__":
    main()
