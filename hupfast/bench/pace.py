"""How fast a medium takes the bytes of an image: in pieces, one after the other, by its long write."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from hupfast.bench.calm import extra_seconds
from hupfast.bench.document import Document
from hupfast.bench.passes import PARTS, seconds_of_parts
from hupfast.bench.stats import mean
from hupfast.bench.sustained import flush_seconds

_LEAST = 0.5
"""No settings take less of the time that others take."""


@dataclass(frozen=True)
class Pace:
    """
    pieces: bytes, and seconds for each byte; the last one has no end. flush: seconds, behind all pieces.

    places: whether pieces are places of the target; else they are what comes first, wherever it goes.
    """

    pieces: tuple[tuple[float, float], ...]
    flush: float = 0.0
    places: bool = False

    def seconds(self, data: float, image_size: float) -> float:
        """What so many bytes of an image take. Between zeroes, data lies all over it."""
        if not self.places:
            return self._first(data)
        return self._first(image_size) * data / image_size if image_size else 0.0

    def _first(self, data: float) -> float:
        found = 0.0
        for size, pace in self.pieces:
            part = min(size, data)
            found += part * pace
            data -= part
        return found


def find_pace(document: Document) -> Pace:
    """
    Of the medium of a document, with the settings of its verdict.

    What the long write took for each byte: before its knee and behind it. Where there is none, an image for a device
    has the places that the long write has gone over again and again, and takes what these took, as far as it is known.

    Past the page cache, that is: through it, the first bytes are as fast as memory, and the flush takes what is left.
    """
    verdict, long = document.verdict, document.sustained
    if long is None or not long.sustained_rate or not long.burst_rate:
        return Pace(((inf, 1 / (verdict.rates.write or 1.0)),))
    seconds, written = long.points[-1]
    extra = extra_seconds(document.runs, (verdict.block, verdict.depth), (long.block, long.depth))
    if not document.storage.direct:
        return Pace(((inf, other_settings(seconds / (written or 1), extra)),))
    flush = flush_seconds(long.points)
    pieces = [(inf, _without(flush, written - (long.knee_bytes or 0), 1 / long.sustained_rate))]
    places: list[float] = []
    if long.knee_bytes is not None:
        pieces = [(float(long.knee_bytes), 1 / long.burst_rate), *pieces]
    elif document.storage.filesystem is None and document.settings.size:
        places = [
            took * PARTS / document.settings.size for took in seconds_of_parts(long.points, document.settings.size)
        ]
    if places:
        part = document.settings.size / PARTS
        pieces = [*((part, pace) for pace in places), (inf, mean(places))]
    return Pace(tuple((size, other_settings(pace, extra)) for size, pace in pieces), flush, bool(places))


def _without(flush: float, size: float, pace: float) -> float:
    """What a byte took, of so many at whose end was a flush."""
    return max(pace - flush / size, 0.0) if size > 0 else pace


def other_settings(pace: float, extra: float) -> float:
    """
    Seconds for each byte of a long write, had it been made in other blocks and depths.

    extra: what these take more for each byte without stalls (calm.py); stalls and a full cache take the same with all.
    """
    return max(pace + extra, _LEAST * pace)
