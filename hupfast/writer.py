"""
Write an image to a block device or file, or compare the two: the library's main calls.

    report = hupfast.write_image("rootfs.img.zst", "/dev/mmcblk0p3")
    print(report.image_size, report.seconds)

`write_image` refuses all that can be refused before a byte of the target changes; `ImageWriter` is for callers
who have the bytes and not a file. Nothing here prints. Ctrl-C, cancel() and every exception leave no thread, no
descriptor and no lock behind.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hupfast import engine
from hupfast.engine import MEMORY_DEFAULT
from hupfast.errors import Refused, UsageError
from hupfast.examine import check_digest, prepare
from hupfast.feed import ProgressFunction, checking, feed, wait
from hupfast.run import Progress, Range, Run
from hupfast.source import open_source
from hupfast.stages import Stage, stages_of
from hupfast.target import check_target

if TYPE_CHECKING:
    from types import TracebackType

    from hupfast.bmap import Bmap
    from hupfast.source import Source, SourceLike
    from hupfast.source.transport import Transport

__all__ = ["MEMORY_DEFAULT", "ImageWriter", "Progress", "ProgressFunction", "Report", "verify_image", "write_image"]

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Report:
    """
    What a run did. Sizes in bytes, times in seconds of wall clock.

    format: "raw", "zstd" or "chunked", as the engine saw it. direct: the page cache was bypassed.
    verified: the whole target was read back past every cache and compared. memory: what the engine allocated.
    in_flight, write_size: writes in flight, and bytes of each, that the writer has adapted to (else depth and block).
    written: sent as data. zeroed: zeroed without sending data. unchanged: left alone, for they were there already.
    copied: of those written, what came from the older system. unmapped: outside the block map. stages: where
    the time went, by "read", "survey", "decode", "write", "flush", "verify".
    """

    format: str
    direct: bool
    verified: bool
    workers: int
    depth: int
    block: int
    in_flight: int
    write_size: int
    memory: int
    bytes_in: int
    image_size: int
    written: int
    zeroed: int
    unchanged: int
    copied: int
    unmapped: int
    write_seconds: float
    flush_seconds: float
    verify_seconds: float
    seconds: float
    stages: Mapping[str, Stage]

    def as_dict(self) -> dict[str, object]:
        """All fields, for JSON."""
        return asdict(self)


class ImageWriter:
    """
    A file-like writer of one image onto one target. A context manager.

        with ImageWriter("/dev/mmcblk0p3", image_size=size) as writer:
            writer.write(data)                    # copies; or, without a copy:
            room = writer.acquire()               # memory of the engine
            writer.commit(socket.recv_into(room))
            report = writer.finish()

    Leaving it without finish() stops the run: the target then holds part of the image. The bytes may be raw, zstd
    or chunked (format "auto"), or be taken as they are (format "raw").

    Raises TargetError at once when the target cannot be used, as write_image does; later calls raise what has
    become of the run: MemoryBudgetError, DataError, MediumError, MismatchError, Cancelled.
    """

    def __init__(
        self,
        target: Path,
        *,
        memory: int = MEMORY_DEFAULT,
        verify: bool = True,
        skip_unchanged: bool = False,
        create: bool = False,
        format: str = "auto",
        image_size: int | None = None,
        workers: int = 0,
        depth: int = 0,
        block: int = 0,
        ranges: Sequence[Range] | None = None,
        sha256: bytes | None = None,
        table_sha256: bytes | None = None,
    ) -> None:
        found = check_target(target, image_size=image_size, create=create)
        self._started = time.monotonic()
        self._run = Run(
            "write",
            target,
            memory=memory,
            format=format,
            read_back=verify,
            skip_unchanged=skip_unchanged,
            create=create and not found.exists,
            image_size=image_size,
            workers=workers,
            depth=depth,
            block=block,
            ranges=ranges,
            sha256=sha256,
            table_sha256=table_sha256,
        )

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take all of data as input; returns its length in bytes."""
        rest = memoryview(data).cast("B")
        while rest:
            room = self._run.acquire()
            if not room:
                raise UsageError("more input was given than the image has")
            size = min(len(room), len(rest))
            room[:size] = rest[:size]
            self._run.commit(size)
            rest = rest[size:]
        return len(data)

    def acquire(self) -> memoryview:
        """Memory of the engine to put input into, from its start; waits for room. Empty: no more is needed."""
        room = self._run.acquire()
        assert room is not None  # without a timeout it waits
        return room

    def commit(self, size: int) -> None:
        """The first `size` bytes of what acquire gave are input now. Do not touch that memory any more."""
        self._run.commit(size)

    def progress(self) -> Progress:
        """Where the run stands."""
        return self._run.progress()

    def cancel(self) -> None:
        """Stop the run, from any thread; every waiting call then raises Cancelled."""
        self._run.cancel()

    def finish(self, progress: ProgressFunction | None = None) -> Report:
        """The input is complete: write what is left, flush, read back. Returns when the medium has it all."""
        self._run.end()
        return report_of(wait(self._run, progress), time.monotonic() - self._started)

    def close(self) -> None:
        """Stop, unless finish() has returned; free everything. May be called twice."""
        self._run.close()

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_image(
    source: SourceLike,
    target: Path,
    *,
    memory: int = MEMORY_DEFAULT,
    verify: bool = True,
    bmap: Path | None = None,
    sha256: str | None = None,
    skip_unchanged: bool = False,
    create: bool = False,
    workers: int = 0,
    depth: int = 0,
    block: int = 0,
    image_size: int | None = None,
    table_sha256: bytes | None = None,
    rate: int = 0,
    trace: Path | None = None,
    background: bool = False,
    progress: ProgressFunction | None = None,
    transport: Transport | None = None,
) -> Report:
    """
    Write an image to a block device or file, flush it, read it back.

    source: a path, an address (http, https), `-` for standard input, a descriptor, a binary file object. raw,
        zstd, chunked, gzip, xz and bzip2 are told apart by their first bytes.
    target: a block device, or a regular file that is large enough; with `create` it is made if it is missing, and
        removed again when the write fails.
    memory: budget in bytes for buffers and decoders. verify: read back past every cache.
    bmap: path of a block map: only what it maps is written, and its checksums are checked before anything is.
    sha256: 64 hex digits, the digest of the source's bytes as they are stored; checked before anything is written
        where the source can be read twice, else at its end.
    skip_unchanged: read the target first, and leave alone what is equal.
    workers, depth, block: decoders, writes in flight, bytes of one write; 0: chosen.
    image_size: raw bytes that the image must have. table_sha256: digest that its chunk table must have.
    transport: how an address is reached, where `source` is one.
    rate: bytes a second at the target, written or read back; 0: no limit. trace: file for the timeline (trace.py).
    background: others on the machine come first (csrc/pace.c).

    Raises Refused (TargetError, MemoryBudgetError) before anything is written; DataError and DigestError for a bad
    image, SourceError when it cannot be read, MediumError and MismatchError for a bad target.
    """
    started = time.monotonic()
    with open_source(source, memory=memory, transport=transport) as stream:
        budget = memory - stream.memory
        ready = prepare(stream, target, budget, bmap=bmap, image_size=image_size, create=create)
        late_digest = check_digest(stream, sha256, budget, progress)
        if ready.block_map is not None:
            _check_map(stream, ready.block_map, budget, progress)
        with Run(
            "write",
            target,
            memory=budget,
            format=stream.format,
            read_back=verify,
            skip_unchanged=skip_unchanged,
            create=create and not ready.target.exists,
            workers=workers,
            depth=depth,
            block=block,
            image_size=ready.size,
            ranges=None if ready.block_map is None else ready.block_map.ranges,
            sha256=late_digest,
            table_sha256=table_sha256,
            rate=rate,
            events=begin_trace(trace),
            background=background,
        ) as run:
            feed(run, stream, progress)
            report = report_of(wait(run, progress), time.monotonic() - started)
            end_trace(trace, run)
            return report


def verify_image(
    source: SourceLike,
    target: Path,
    *,
    memory: int = MEMORY_DEFAULT,
    bmap: Path | None = None,
    progress: ProgressFunction | None = None,
    transport: Transport | None = None,
) -> Report:
    """
    Compare the target with an image, past every cache. Nothing is written; the target may be in use.

    A chunked image is compared by the digests of its table, without being decoded.
    Raises MismatchError with the first bytes that differ, and what write_image raises for the source.
    """
    started = time.monotonic()
    with open_source(source, memory=memory, transport=transport) as stream:
        budget = memory - stream.memory
        ready = prepare(stream, target, budget, bmap=bmap, writing=False)
        with Run(
            "verify",
            target,
            memory=budget,
            format=stream.format,
            image_size=ready.size,
            ranges=None if ready.block_map is None else ready.block_map.ranges,
        ) as run:
            feed(run, stream, progress)
            return report_of(wait(run, progress), time.monotonic() - started)


def _check_map(stream: Source, block_map: Bmap, budget: int, progress: ProgressFunction | None) -> None:
    """Decode the image once without a target: every checksum of the map is checked before a range is written."""
    if all(item.digest is None for item in block_map.ranges):
        return
    if not stream.seekable:
        raise Refused(
            f"the checksums of a block map are checked before anything is written, so {stream.name} would have "
            "to be read twice: download it to a file first"
        )

    with Run(
        "check",
        None,
        memory=budget,
        format=stream.format,
        image_size=block_map.image_size,
        ranges=block_map.ranges,
    ) as run:
        show = checking(progress)
        feed(run, stream, show)
        wait(run, show)
    stream.rewind()


def begin_trace(path: Path | None) -> int:
    """How many events a run keeps for the timeline in `path`, which can be written. Raises: Refused."""
    if path is None:
        return 0
    from hupfast.trace import ROOM, check_trace

    check_trace(path)
    return ROOM


def end_trace(path: Path | None, run: Run) -> None:
    """Write the timeline of a run that has ended well. Raises: HupfastError."""
    if path is not None:
        from hupfast.trace import write_trace

        write_trace(path, *run.events())


def report_of(c_report: Any, seconds: float) -> Report:
    """A hup_report as a value."""
    return Report(
        format=engine.format_name(c_report.format),
        direct=bool(c_report.direct),
        verified=bool(c_report.verified),
        workers=c_report.workers,
        depth=c_report.depth,
        block=c_report.block,
        in_flight=c_report.in_flight,
        write_size=c_report.write_size,
        memory=c_report.memory,
        bytes_in=c_report.bytes_in,
        image_size=c_report.image_size,
        written=c_report.written,
        zeroed=c_report.zeroed,
        unchanged=c_report.unchanged,
        copied=c_report.copied,
        unmapped=c_report.unmapped,
        write_seconds=c_report.write_ns / 1e9,
        flush_seconds=c_report.flush_ns / 1e9,
        verify_seconds=c_report.verify_ns / 1e9,
        seconds=seconds,
        stages=stages_of(c_report),
    )
