"""
The image of a bundle onto a slot, from a source that can seek: only what the board does not have is fetched.

    chunk is in the slot already     left alone
    chunk is in the running system   copied from there, at the same place
    else                             fetched, checked, decoded, written

The engine finds out which is which (csrc/survey.c), and asks for ranges of the image's file. While it writes, it
tells how much is durable; that is what a run after a power cut is given as `trusted`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from hupfast.engine import MEMORY_DEFAULT
from hupfast.errors import MismatchError, StaleError
from hupfast.feed import ProgressFunction, checking, feed_missing, wait, watching
from hupfast.run import Run
from hupfast.target import check_target
from hupfast.writer import begin_trace, end_trace, report_of

if TYPE_CHECKING:
    from hupfast.manifest import ImageMember
    from hupfast.source import Source
    from hupfast.writer import Report

SURVEY_MEMORY = 2 * 2**16
"""Bytes that looking at the board takes at least, above what an image needs by itself."""

MARK_SECONDS = 2.0
"""
How often what is written is flushed and noted. At most once a second: a flush costs a card time, a note costs it wear.
"""

_ATTEMPTS = 3

Path = str | os.PathLike[str]
MarkFunction = Callable[[int], None]
"""Called with the bytes of the image that a run which is cut off now need not write again."""


@dataclass(frozen=True)
class Survey:
    """What an update would do with the image. Bytes: of the raw image, but for `fetched`, which is of its file."""

    there: int
    copied: int
    fetched: int
    written: int

    def as_dict(self) -> dict[str, object]:
        """All fields, for JSON."""
        return asdict(self)


def survey_image(
    source: Source,
    image: ImageMember,
    target: Path,
    *,
    older: Path | None = None,
    memory: int = MEMORY_DEFAULT,
    rate: int = 0,
    background: bool = False,
    progress: ProgressFunction | None = None,
) -> Survey:
    """
    Find out what fetch_image would fetch and write; only the chunk table is fetched, nothing is written.

    Raises: as fetch_image, but for MediumError.
    """
    with Run(
        "survey",
        target,
        memory=memory - source.memory,
        survey=True,
        older=older,
        rate=rate,
        background=background,
        image_size=image.image_size,
        table_sha256=image.table_sha256,
    ) as run:
        show = checking(progress)
        feed_missing(run, source, _table_size(image), show)
        report = wait(run, show)
    there = report.unchanged
    return Survey(there=there, copied=report.copied, fetched=report.needed, written=image.image_size - there)


def fetch_image(
    source: Source,
    image: ImageMember,
    target: Path,
    *,
    older: Path | None = None,
    trusted: int = 0,
    mark: MarkFunction | None = None,
    memory: int = MEMORY_DEFAULT,
    rate: int = 0,
    block: int = 0,
    depth: int = 0,
    trace: Path | None = None,
    background: bool = False,
    progress: ProgressFunction | None = None,
) -> Report:
    """
    Write what is missing of a chunked image, flush, read the whole of it back.

    source: the image's file, seekable. older: device or file of the running system, which may change meanwhile.
    trusted: what `mark` was last called with by a run of the same image that was cut off; its last chunks are read
    again before the rest is believed. rate: bytes a second at the target, 0: no limit.
    block, depth: bytes of one write, writes in flight; 0: chosen. trace: file for the timeline (trace.py).
    background: others on the machine come first.
    Raises TargetError and MemoryBudgetError before anything is written; DataError, DigestError, SourceError,
    MediumError, Cancelled.
    """
    started = time.monotonic()
    durable = trusted

    def note(size: int) -> None:
        nonlocal durable
        durable = max(durable, size)
        if mark is not None:
            mark(durable)

    check_target(target, image_size=image.image_size)
    for attempt in range(1, _ATTEMPTS + 1):
        believed = durable
        try:
            with Run(
                "write",
                target,
                memory=memory - source.memory,
                read_back=True,
                survey=True,
                older=older if attempt < _ATTEMPTS else None,
                trusted=believed,
                mark_ms=int(MARK_SECONDS * 1000),
                rate=rate,
                block=block,
                depth=depth,
                image_size=image.image_size,
                table_sha256=image.table_sha256,
                events=begin_trace(trace),
                background=background,
            ) as run:
                show = watching(progress, note)
                feed_missing(run, source, _table_size(image), show)
                report = report_of(wait(run, show), time.monotonic() - started)
                end_trace(trace, run)
                return report
        except StaleError:  # what was copied until then is found on the target next time
            if attempt == _ATTEMPTS:
                raise
        except MismatchError:  # somebody has written to the slot since it was noted how much of it is durable
            if attempt == _ATTEMPTS or not believed:
                raise
            durable = 0
            if mark is not None:
                mark(0)
    raise AssertionError("the last attempt returns or raises")


def _table_size(image: ImageMember) -> int:
    from hupfast.table import chunk_count, table_size

    return table_size(chunk_count(image.image_size, image.chunk_size))
