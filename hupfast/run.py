"""
One image onto one target by the C engine; hupfast.writer and hupfast.fetch are the friendly side of it.

Every call that can wait lets go of the GIL.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hupfast._engine import ffi, lib
from hupfast.engine import FORMATS, MEMORY_DEFAULT, UNKNOWN, check, new_error
from hupfast.errors import UsageError
from hupfast.stages import SPANS, STAGES, Event

if TYPE_CHECKING:
    from types import TracebackType

_FOREVER = 2**32 - 1
_FORMAT_NUMBERS = {"auto": lib.HUP_FORMAT_AUTO, **{name: number for number, name in FORMATS.items()}}
_MODES = {
    "write": lib.HUP_MODE_WRITE,
    "verify": lib.HUP_MODE_VERIFY,
    "check": lib.HUP_MODE_CHECK,
    "survey": lib.HUP_MODE_SURVEY,
}
_PHASES = {
    lib.HUP_PHASE_WRITE: "write",
    lib.HUP_PHASE_FLUSH: "flush",
    lib.HUP_PHASE_VERIFY: "verify",
    lib.HUP_PHASE_DONE: "done",
}


@dataclass(frozen=True)
class Range:
    """
    A part of the raw image that is to be written: offset and length in bytes.

    digest: of these bytes, SHA-256 (32 bytes) or SHA-1 (20 bytes, as in block maps of version 1.3), or None.
    """

    offset: int
    length: int
    digest: bytes | None = None


@dataclass(frozen=True)
class Progress:
    """
    Where a run stands.

    phase: "write", "flush", "verify" or "done" ("check": the first pass over an image with a block map).
    done: bytes of the raw image that this phase has finished. total: bytes of the raw image, None while unknown.
    bytes_in: bytes of input taken. durable: bytes from the start that a run that is cut off now need not do again.
    """

    phase: str
    done: int
    total: int | None
    bytes_in: int
    durable: int = 0


class Pulled(NamedTuple):
    """
    What Run.pull has done. moved: bytes. wanted: the run may need more.

    problem: the errno of why the descriptor gave no more: ETIMEDOUT when nothing came any more, EINTR when nothing came
        until a signal did, ENODATA at its end.
    """

    moved: int
    wanted: bool = True
    problem: int | None = None


class Run:
    """
    One run of the engine. A context manager: leaving it stops the run, and joins and frees everything.

    mode: "write", "verify", "check" or "survey". The other arguments are those of hup_config in csrc/hupfast.h.
    """

    def __init__(
        self,
        mode: str,
        target: str | os.PathLike[str] | None,
        *,
        memory: int = MEMORY_DEFAULT,
        format: str = "auto",
        read_back: bool = False,
        skip_unchanged: bool = False,
        create: bool = False,
        buffered: bool = False,
        workers: int = 0,
        depth: int = 0,
        block: int = 0,
        image_size: int | None = None,
        ranges: Sequence[Range] | None = None,
        sha256: bytes | None = None,
        table_sha256: bytes | None = None,
        survey: bool = False,
        older: str | os.PathLike[str] | None = None,
        trusted: int = 0,
        mark_ms: int = 0,
        rate: int = 0,
        events: int = 0,
        background: bool = False,
    ) -> None:
        _check_numbers(memory, workers, depth, block, image_size)
        for digest in (sha256, table_sha256):
            if digest is not None and len(digest) != 32:
                raise UsageError("a SHA-256 is 32 bytes")
        if mode not in _MODES or format not in _FORMAT_NUMBERS:
            raise UsageError(f"there is no mode {mode!r}, or no format {format!r}")
        config = ffi.new("hup_config *")
        keep = [config]  # cffi frees what nothing refers to

        def borrowed(kind: str, value: object) -> Any:
            keep.append(ffi.new(kind, value))
            return keep[-1]

        if target is not None:
            config.target = borrowed("char[]", os.fsencode(target))
        config.mode, config.format = _MODES[mode], _FORMAT_NUMBERS[format]
        config.flags = (
            (lib.HUP_READ_BACK if read_back else 0)
            | (lib.HUP_SKIP_UNCHANGED if skip_unchanged else 0)
            | (lib.HUP_CREATE if create else 0)
            | (lib.HUP_BUFFERED if buffered else 0)
            | (lib.HUP_SURVEY if survey else 0)
            | (lib.HUP_BACKGROUND if background else 0)
        )
        config.workers, config.depth, config.block = workers, depth, block
        config.memory = memory
        config.trusted, config.mark_ms, config.rate, config.events = trusted, mark_ms, rate, events
        self._events = events
        if older is not None:
            config.older = borrowed("char[]", os.fsencode(older))
        config.image_size = UNKNOWN if image_size is None else image_size
        if ranges is not None:
            config.ranges = _c_ranges(ranges, keep)
            config.range_count = len(ranges)
        if sha256 is not None:
            config.sha256 = borrowed("uint8_t[32]", sha256)
        if table_sha256 is not None:
            config.table_sha256 = borrowed("uint8_t[32]", table_sha256)

        handle, error = ffi.new("hup_writer **"), new_error()
        self._handle = ffi.NULL
        self._room: memoryview | None = None
        self._closing = allocate_lock()  # cancel comes from any thread
        check(lib.hup_writer_open(config, handle, error), error)
        self._handle = handle[0]

    def _live(self) -> Any:
        if not self._handle:
            raise UsageError("the writer is closed")
        return self._handle

    def acquire(self, timeout: float | None = None) -> memoryview | None:
        """
        Free input memory of the engine, to be filled from its start and then committed.

        Waits for room; None when `timeout` seconds pass first. Empty when the run needs no more input.
        The memoryview is the engine's memory: it is released by commit and close, and parts that were cut from it must
        not be used after that.
        """
        memory, size, error = ffi.new("void **"), ffi.new("size_t *"), new_error()
        milliseconds = _FOREVER if timeout is None else int(timeout * 1000)
        status = check(lib.hup_writer_acquire(self._live(), milliseconds, memory, size, error), error)
        if status == lib.HUP_RUNNING:
            return None
        self._room = memoryview(ffi.buffer(memory[0], size[0])) if size[0] else memoryview(bytearray())
        return self._room

    def _release_room(self) -> None:
        if self._room is not None:
            self._room.release()
            self._room = None

    def commit(self, size: int) -> None:
        """The first `size` bytes of the acquired memory are input now."""
        error = new_error()
        if size < 0:
            raise UsageError("less than nothing was committed")
        self._release_room()
        check(lib.hup_writer_commit(self._live(), size, error), error)

    def read_fd(self, fd: int, length: int | None = None) -> None:
        """Let the engine read `length` bytes (None: all) from fd, which stays open until the run is closed."""
        error = new_error()
        check(lib.hup_writer_read_fd(self._live(), fd, UNKNOWN if length is None else length, error), error)

    def pull(self, fd: int, length: int, timeout: float) -> Pulled:
        """
        Move bytes from a socket or pipe into the input, instead of acquire and commit: `length` at most, and for
        `timeout` seconds at most.
        """
        moved, error = ffi.new("uint64_t *"), new_error()
        status = lib.hup_writer_pull(self._live(), fd, length, int(timeout * 1000), moved, error)
        if status == lib.HUP_E_SOURCE and error.sys_errno:
            return Pulled(moved[0], problem=error.sys_errno)
        check(status, error)
        return Pulled(moved[0], wanted=status == lib.HUP_RUNNING or moved[0] == length)

    def next_range(self, timeout: float) -> tuple[int, int] | None:
        """
        Offset and length, in the image file, of the input that a run with `survey` wants next; length 0: no more.

        None when that is not known after `timeout` seconds.
        """
        offset, length, error = ffi.new("uint64_t *"), ffi.new("uint64_t *"), new_error()
        milliseconds = int(timeout * 1000)
        status = check(lib.hup_writer_next_range(self._live(), milliseconds, offset, length, error), error)
        return None if status == lib.HUP_RUNNING else (offset[0], length[0])

    def end(self) -> None:
        """There is no more input."""
        error = new_error()
        check(lib.hup_writer_end(self._live(), error), error)

    def wait(self, timeout: float) -> Any:
        """Wait `timeout` seconds at most: None when the run goes on, its hup_report when it is done; or raises."""
        report, error = ffi.new("hup_report *"), new_error()
        status = check(lib.hup_writer_wait(self._live(), int(timeout * 1000), report, error), error)
        return None if status == lib.HUP_RUNNING else report

    def events(self) -> tuple[list[Event], int]:
        """The timeline of a run that has ended, as far as it was kept, and how many events there were."""
        kept = ffi.new("hup_event[]", max(self._events, 1))
        seen = lib.hup_writer_events(self._live(), kept, self._events)
        return [
            Event(STAGES[e.stage], SPANS[e.span], e.thread, e.start_ns / 1e9, e.ns / 1e9, e.offset, e.bytes)
            for e in kept[0 : min(seen, self._events)]
        ], seen

    def progress(self) -> Progress:
        """Where the run stands now. Cheap, and never waits."""
        now = ffi.new("hup_progress *")
        lib.hup_writer_progress(self._live(), now)
        total = None if now.image_size == UNKNOWN else now.image_size
        return Progress(_PHASES[now.phase], now.done, total, now.bytes_in, now.durable)

    def cancel(self) -> None:
        """Ask the run to stop; from any thread. Waiting calls then raise Cancelled."""
        with self._closing:
            if self._handle:
                lib.hup_writer_cancel(self._handle)

    def close(self) -> None:
        """
        Stop if need be, join every thread, close the target. May be called twice.

        Only when no other thread is inside acquire, commit, pull, read_fd, end or wait: cancel() first, and join it.
        """
        with self._closing:
            handle, self._handle = self._handle, ffi.NULL
        self._release_room()
        lib.hup_writer_close(handle)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_numbers(memory: int, workers: int, depth: int, block: int, image_size: int | None) -> None:
    if not 0 < memory < 2**62:
        raise UsageError(f"a memory budget of {memory} bytes makes no sense")
    if any(not 0 <= number < 2**31 for number in (workers, depth, block)):
        raise UsageError("workers, depth and block are not negative, and below 2 GiB")
    if image_size is not None and not 0 <= image_size < 2**63:
        raise UsageError(f"an image of {image_size} bytes makes no sense")


def _c_ranges(ranges: Sequence[Range], keep: list[Any]) -> Any:
    array = ffi.new("hup_range[]", max(len(ranges), 1))
    keep.append(array)
    for c_range, item in zip(array, ranges, strict=False):
        c_range.offset, c_range.length = item.offset, item.length
        if item.digest is not None:
            c_range.digest = list(item.digest)
            c_range.digest_size = len(item.digest)
    return array
