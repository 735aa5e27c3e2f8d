"""
Moving an image from its source into a run of the engine, and waiting for the end of the run.

Where C can read a descriptor or a socket it does; else the source fills the engine's own memory, piece by piece. All
waiting is done in short steps, between which Ctrl-C and the caller's progress function are heard.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hupfast.errors import DataError, SourceError
from hupfast.run import Progress, Pulled, Run

if TYPE_CHECKING:
    from hupfast.source import Source

ProgressFunction = Callable[[Progress], None]
"""Called about ten times a second on the calling thread; what it raises stops the run and comes out."""

_TICK = 0.1
_MUCH = 2**30


def checking(progress: ProgressFunction | None) -> ProgressFunction | None:
    """A progress function for a pass that reads the image, and writes nothing: its phase is "check"."""
    if progress is None:
        return None
    return lambda now: progress(replace(now, phase="check"))


def watching(progress: ProgressFunction | None, mark: Callable[[int], None]) -> ProgressFunction:
    """A progress function that calls `mark` too, each time that more of the image has become durable."""
    last = 0

    def watch(now: Progress) -> None:
        nonlocal last
        if now.durable > last:
            last = now.durable
            mark(last)
        if progress is not None:
            progress(now)

    return watch


def feed_missing(run: Run, stream: Source, head: int, progress: ProgressFunction | None) -> None:
    """
    Give a run with a survey what it asks for of `stream`, which can seek.

    head: bytes at the start of the file that are asked for in any case, so that they come in one piece.
    """
    stream.rewind()
    fd = stream.fileno()
    if fd is not None:
        run.read_fd(fd, stream.size)
        return
    told = time.monotonic()
    while True:
        while (found := run.next_range(_TICK)) is None:
            _tell(run, progress)
        offset, length = found
        if not length:
            run.end()
            return
        if stream.size is not None and offset + length > stream.size:
            raise DataError(f"{stream.name} has {stream.size} bytes, and fewer than its chunk table tells of")
        stream.seek(offset, max(offset + length, head))
        while length and (got := _move(run, stream, length, progress)) is not None:
            if not got:
                raise SourceError(f"{stream.name} ended {length} bytes early; run the same command again")
            length -= got
            if time.monotonic() - told >= _TICK:
                told = time.monotonic()
                _tell(run, progress)


def _tell(run: Run, progress: ProgressFunction | None) -> None:
    if progress is not None:
        progress(run.progress())


def feed(run: Run, stream: Source, progress: ProgressFunction | None) -> None:
    """Give the run its input: by descriptor where C can read it, else piece by piece into the engine's memory."""
    fd = stream.fileno()
    if fd is None:
        peeked = stream.take_peeked()
        fd = stream.fileno()
        if peeked and not _put(run, peeked, progress):
            return
    if fd is not None:
        run.read_fd(fd, None if stream.size is None else stream.size - stream.taken)
        return
    told = time.monotonic()
    while (got := _move(run, stream, _MUCH, progress)) is not None:
        if not got:
            run.end()
            break
        if progress is not None and time.monotonic() - told >= _TICK:
            told = time.monotonic()
            progress(run.progress())


def _move(run: Run, stream: Source, most: int, progress: ProgressFunction | None) -> int | None:
    """Some of the next bytes, `most` at most: how many, 0 at the end of the stream; None when the run needs no more."""

    def take(fd: int, size: int) -> Pulled:
        return run.pull(fd, size, _TICK)

    while (pulled := stream.pull(take, most)) is not None:
        if pulled.moved:
            return pulled.moved
        if not pulled.wanted:
            return None
        _tell(run, progress)
    room = _room(run, progress)
    if not room:
        return None
    with room[:most] as piece:
        got = stream.readinto(piece)
    run.commit(got)
    return got


def _room(run: Run, progress: ProgressFunction | None) -> memoryview:
    """Wait for input memory, in steps that let Ctrl-C and the progress function in."""
    while (room := run.acquire(_TICK)) is None:
        _tell(run, progress)
    return room


def _put(run: Run, data: bytes, progress: ProgressFunction | None) -> bool:
    """Give bytes that were read already; False when the run needs no more."""
    while data:
        room = _room(run, progress)
        if not room:
            return False
        size = min(len(room), len(data))
        room[:size] = data[:size]
        run.commit(size)
        data = data[size:]
    return True


def wait(run: Run, progress: ProgressFunction | None) -> Any:
    """Wait for the end of the run; its hup_report. Raises what has become of it."""
    while (report := run.wait(_TICK)) is None:
        _tell(run, progress)
    _tell(run, progress)
    return report
