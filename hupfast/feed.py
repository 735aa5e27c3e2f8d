"""
Moving an image from its source into a run of the engine, and waiting for the end of the run.

Where C can read a descriptor it does; else the source fills the engine's own memory, piece by piece. All waiting
is done in short steps, between which Ctrl-C and the caller's progress function are heard.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hupfast.engine import Progress, Run

if TYPE_CHECKING:
    from hupfast.source import Source

ProgressFunction = Callable[[Progress], None]
"""Called about ten times a second on the calling thread; what it raises stops the run and comes out."""

_TICK = 0.1


def checking(progress: ProgressFunction | None) -> ProgressFunction | None:
    """A progress function for a pass that reads the image, and writes nothing: its phase is "check"."""
    if progress is None:
        return None
    return lambda now: progress(replace(now, phase="check"))


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
    while room := _room(run, progress):
        got = stream.readinto(room)
        run.commit(got)
        if not got:
            run.end()
            break
        if progress is not None and time.monotonic() - told >= _TICK:
            told = time.monotonic()
            progress(run.progress())


def _room(run: Run, progress: ProgressFunction | None) -> memoryview:
    """Wait for input memory, in steps that let Ctrl-C and the progress function in."""
    while (room := run.acquire(_TICK)) is None:
        if progress is not None:
            progress(run.progress())
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
        if progress is not None:
            progress(run.progress())
    if progress is not None:
        progress(run.progress())
    return report
