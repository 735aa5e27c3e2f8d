"""
The C engine, as Python sees it: cffi structs and status codes in, values and exceptions out.

`check` is the one gate that turns a status of csrc/hupfast.h into an exception of hupfast.errors. A Run is one
image onto one target; hupfast.writer is the friendly side of it. Every call that can wait lets go of the GIL.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hupfast import errors
from hupfast._engine import ffi, lib
from hupfast.stages import SPANS, STAGES, Event

if TYPE_CHECKING:
    from types import TracebackType

MEMORY_DEFAULT = 16 * 2**20
"""Budget of the engine in bytes, when the user says nothing."""

PROBE_SIZE = 4096
"""Bytes from the start of an image that `probe` wants to see."""

_UNKNOWN = 2**64 - 1
_FOREVER = 2**32 - 1
_FORMATS = {lib.HUP_FORMAT_RAW: "raw", lib.HUP_FORMAT_ZSTD: "zstd", lib.HUP_FORMAT_CHUNKED: "chunked"}
_FORMAT_NUMBERS = {"auto": lib.HUP_FORMAT_AUTO, **{name: number for number, name in _FORMATS.items()}}
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
_EXCEPTIONS: dict[int, type[errors.HupfastError]] = {
    lib.HUP_E_SYSTEM: errors.HupfastError,
    lib.HUP_E_USAGE: errors.UsageError,
    lib.HUP_E_TARGET: errors.TargetError,
    lib.HUP_E_FORMAT: errors.DataError,
    lib.HUP_E_DIGEST: errors.DigestError,
    lib.HUP_E_SOURCE: errors.SourceError,
    lib.HUP_E_MEDIUM: errors.MediumError,
    lib.HUP_E_MISMATCH: errors.MismatchError,
    lib.HUP_E_TOO_LARGE: errors.HupfastError,
    lib.HUP_E_CANCELLED: errors.Cancelled,
    lib.HUP_E_STALE: errors.StaleError,
}

_ADVICE = {
    lib.HUP_E_MEDIUM: "the medium may be failing, full or gone",
    lib.HUP_E_MISMATCH: "write the image again, and replace the medium if this comes back",
    lib.HUP_E_TOO_LARGE: "use a larger target; what it holds now is not usable",
    lib.HUP_E_SOURCE: "run the same command again",
    lib.HUP_E_STALE: "run the same command again",
}


def check(status: int, error: Any) -> int:
    """Return a status that is not negative; raise what a negative one stands for."""
    if status >= 0:
        return status
    message = ffi.string(error.message).decode(errors="replace")
    if status == lib.HUP_E_MEMORY:
        raise errors.MemoryBudgetError(
            f"{message}; set the memory budget to {-(-error.needed // 2**20)}M", needed=error.needed
        )
    if status in _ADVICE:
        message = f"{message}; {_ADVICE[status]}"
    raise _EXCEPTIONS[status](message, errno=error.sys_errno or None, offset=error.offset, length=error.length or None)


def _error() -> Any:
    return ffi.new("hup_error *")


@dataclass(frozen=True)
class ImageInfo:
    """
    What the first bytes of an image say. Sizes are bytes.

    format: "raw", "zstd" or "chunked". image_size: raw bytes, None when the start does not say.
    least_size: raw bytes that it has at least. window: zstd history. memory: the smallest budget of the engine.
    """

    format: str
    image_size: int | None
    least_size: int
    window: int
    memory: int
    chunk_size: int
    chunk_count: int


def probe(head: bytes) -> ImageInfo:
    """Understand the first PROBE_SIZE bytes of an image (all of a shorter one). DataError when they make no sense."""
    image, error = ffi.new("hup_image *"), _error()
    check(lib.hup_image_probe(ffi.from_buffer(head), len(head), image, error), error)
    return ImageInfo(
        _FORMATS[image.format],
        None if image.image_size == _UNKNOWN else image.image_size,
        image.least_size,
        image.window,
        image.memory,
        image.chunk_size,
        image.chunk_count,
    )


def sha256(data: bytes) -> bytes:
    """SHA-256 of bytes, as 32 bytes."""
    digest, error = ffi.new("uint8_t[32]"), _error()
    check(lib.hup_sha256(ffi.from_buffer(data), len(data), digest, error), error)
    return bytes(ffi.buffer(digest))


def parse_key(pem: bytes) -> tuple[bytes, bytes]:
    """
    The one public key in a PEM file: its 32 bytes, and its id (SHA-256 of the DER SubjectPublicKeyInfo).

    Raises: DataError ("it holds ...") when it is anything but one Ed25519 public key.
    """
    key, error = ffi.new("hup_key *"), _error()
    check(lib.hup_key_parse(ffi.from_buffer(pem), len(pem), key, error), error)
    return bytes(ffi.buffer(key.bytes)), bytes(ffi.buffer(key.id))


def verify_signature(public: bytes, data: bytes, signature: bytes) -> None:
    """Plain Ed25519 over data. public: 32 bytes, signature: 64. Raises: DigestError when it is not one of this key."""
    if len(public) != 32 or len(signature) != 64:
        raise errors.UsageError("a public key of Ed25519 is 32 bytes, and a signature 64")
    key, error = ffi.new("hup_key *"), _error()
    ffi.memmove(key.bytes, public, 32)
    check(lib.hup_signature_verify(key, ffi.from_buffer(data), len(data), signature, error), error)


def reserve(fd: int, size: int) -> None:
    """Give an open file its room, where the filesystem can. Raises: HupfastError, when there is not enough too."""
    error = _error()
    check(lib.hup_reserve(fd, size, error), error)


def version() -> str:
    """Versions of the engine and of libzstd."""
    return str(ffi.string(lib.hup_version()).decode())


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
                raise errors.UsageError("a SHA-256 is 32 bytes")
        if mode not in _MODES or format not in _FORMAT_NUMBERS:
            raise errors.UsageError(f"there is no mode {mode!r}, or no format {format!r}")
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
        config.image_size = _UNKNOWN if image_size is None else image_size
        if ranges is not None:
            config.ranges = _c_ranges(ranges, keep)
            config.range_count = len(ranges)
        if sha256 is not None:
            config.sha256 = borrowed("uint8_t[32]", sha256)
        if table_sha256 is not None:
            config.table_sha256 = borrowed("uint8_t[32]", table_sha256)

        handle, error = ffi.new("hup_writer **"), _error()
        self._handle = ffi.NULL
        self._room: memoryview | None = None
        self._closing = allocate_lock()  # cancel comes from any thread
        check(lib.hup_writer_open(config, handle, error), error)
        self._handle = handle[0]

    def _live(self) -> Any:
        if not self._handle:
            raise errors.UsageError("the writer is closed")
        return self._handle

    def acquire(self, timeout: float | None = None) -> memoryview | None:
        """
        Free input memory of the engine, to be filled from its start and then committed.

        Waits for room; None when `timeout` seconds pass first. Empty when the run needs no more input.
        The memoryview is the engine's memory: it is released by commit and close, and parts that were cut from it must
        not be used after that.
        """
        memory, size, error = ffi.new("void **"), ffi.new("size_t *"), _error()
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
        error = _error()
        if size < 0:
            raise errors.UsageError("less than nothing was committed")
        self._release_room()
        check(lib.hup_writer_commit(self._live(), size, error), error)

    def read_fd(self, fd: int, length: int | None = None) -> None:
        """Let the engine read `length` bytes (None: all) from fd, which stays open until the run is closed."""
        error = _error()
        check(lib.hup_writer_read_fd(self._live(), fd, _UNKNOWN if length is None else length, error), error)

    def next_range(self, timeout: float) -> tuple[int, int] | None:
        """
        Offset and length, in the image file, of the input that a run with `survey` wants next; length 0: no more.

        None when that is not known after `timeout` seconds.
        """
        offset, length, error = ffi.new("uint64_t *"), ffi.new("uint64_t *"), _error()
        milliseconds = int(timeout * 1000)
        status = check(lib.hup_writer_next_range(self._live(), milliseconds, offset, length, error), error)
        return None if status == lib.HUP_RUNNING else (offset[0], length[0])

    def end(self) -> None:
        """There is no more input."""
        error = _error()
        check(lib.hup_writer_end(self._live(), error), error)

    def wait(self, timeout: float) -> Any:
        """Wait `timeout` seconds at most: None when the run goes on, its hup_report when it is done; or raises."""
        report, error = ffi.new("hup_report *"), _error()
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
        total = None if now.image_size == _UNKNOWN else now.image_size
        return Progress(_PHASES[now.phase], now.done, total, now.bytes_in, now.durable)

    def cancel(self) -> None:
        """Ask the run to stop; from any thread. Waiting calls then raise Cancelled."""
        with self._closing:
            if self._handle:
                lib.hup_writer_cancel(self._handle)

    def close(self) -> None:
        """
        Stop if need be, join every thread, close the target. May be called twice.

        Only when no other thread is inside acquire, commit, read_fd, end or wait: cancel() first, and join it.
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
        raise errors.UsageError(f"a memory budget of {memory} bytes makes no sense")
    if any(not 0 <= number < 2**31 for number in (workers, depth, block)):
        raise errors.UsageError("workers, depth and block are not negative, and below 2 GiB")
    if image_size is not None and not 0 <= image_size < 2**63:
        raise errors.UsageError(f"an image of {image_size} bytes makes no sense")


def format_name(number: int) -> str:
    """The name of a hup_format."""
    return _FORMATS.get(number, "unknown")


def _c_ranges(ranges: Sequence[Range], keep: list[Any]) -> Any:
    array = ffi.new("hup_range[]", max(len(ranges), 1))
    keep.append(array)
    for c_range, item in zip(array, ranges, strict=False):
        c_range.offset, c_range.length = item.offset, item.length
        if item.digest is not None:
            c_range.digest = list(item.digest)
            c_range.digest_size = len(item.digest)
    return array
