"""
Progress for people: a bar on a terminal, a line now and then in a log.

Both go to standard error, and neither can stop the work: when nobody reads them any more, they fall silent.
No control codes but the carriage return are used, so that the bar works on a serial console too.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, TextIO

from hupfast.cli.output import human

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hupfast.run import Progress
    from hupfast.source import Source

_WINDOW = 5.0
"""Seconds that the rate is an average of."""

_REDRAW = 0.1
_LINE_SECONDS = 10.0
_LINE_PERCENT = 10
_BAR_MIN = 10


class Meter:
    """
    Rate, percent and time left of one phase.

    source: what is read, for when its raw size is unknown. names: what to call phases instead.
    """

    def __init__(self, source: Source | None = None, names: Mapping[str, str] | None = None) -> None:
        self._source = source
        self._names = names or {}
        self.phase = ""
        self.done = 0
        self.total: int | None = None
        self.started = time.monotonic()
        self._taken = 0
        self._samples: deque[tuple[float, int]] = deque()

    def feed(self, now: Progress) -> None:
        """Take in where the run stands. A new phase starts new figures."""
        moment = time.monotonic()
        if now.phase != self.phase:
            self.phase, self.started = now.phase, moment
            self._samples.clear()
        self.done, self.total, self._taken = now.done, now.total, now.bytes_in
        self._samples.append((moment, now.done))
        while self._samples[-1][0] - self._samples[0][0] > _WINDOW:
            self._samples.popleft()

    def finish(self, total: int | None) -> None:
        """The phase has ended; `total`: bytes of the image, which may have become known only now."""
        if total is not None:
            self.done = total

    @property
    def name(self) -> str:
        """What to call the phase."""
        return self._names.get(self.phase, self.phase)

    @property
    def elapsed(self) -> float:
        """Seconds since the phase began."""
        return time.monotonic() - self.started

    @property
    def rate(self) -> float:
        """Raw bytes a second over the last seconds."""
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - start) if end > start else 0.0

    @property
    def percent(self) -> int | None:
        """How much of the phase is done, rounded down; None when that cannot be known."""
        if self.total is not None:
            return 100 * self.done // self.total if self.total else 100
        if self._source is None or not self._source.origin.size or self.phase == "flush":
            return None
        taken = self._source.origin.taken if self._source.format == "raw" else self._taken
        return min(99, 100 * taken // self._source.origin.size)

    @property
    def left(self) -> float | None:
        """Seconds that the phase will still take, None while unknown."""
        percent, rate = self.percent, self.rate
        if percent is None or not rate:
            return None
        if self.total is not None:
            return (self.total - self.done) / rate
        return self.elapsed * (100 - percent) / percent if percent else None


class Bar:
    """One line that is drawn again and again; each phase leaves its last line behind."""

    def __init__(self, stream: TextIO, meter: Meter) -> None:
        self._stream = _Quiet(stream)
        self._meter = meter
        self._drawn = 0.0
        self._width = 0

    def __call__(self, now: Progress) -> None:
        if now.phase != self._meter.phase:
            self._finish_phase(now.total)
            self._drawn = 0.0
        self._meter.feed(now)
        moment = time.monotonic()
        if now.phase != "done" and moment - self._drawn >= _REDRAW:
            self._drawn = moment
            self._draw(bar_line(self._meter, self._stream.columns() - 1))

    def close(self) -> None:
        """Leave what stands there, and go to the next line."""
        if self._width:
            self._stream.write("\n")
            self._width = 0

    def _finish_phase(self, total: int | None) -> None:
        meter = self._meter
        if meter.phase in ("", "done"):
            return
        if meter.phase == "flush":  # it has no figures worth keeping
            self._draw("")
            self._stream.write("\r")
            self._width = 0
            return
        meter.finish(total)
        self._draw(end_line(meter, self._stream.columns() - 1))
        self.close()

    def _draw(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._width))
        self._width = len(line)


class Lines:
    """A line for every tenth, or every ten seconds, so that a log stays short."""

    def __init__(self, stream: TextIO, meter: Meter) -> None:
        self._stream = _Quiet(stream)
        self._meter = meter
        self._next = _LINE_PERCENT
        self._last = time.monotonic()

    def __call__(self, now: Progress) -> None:
        if now.phase != self._meter.phase:
            if self._meter.phase not in ("", "flush", "done"):
                self._meter.finish(now.total)
                self._stream.write(end_line(self._meter, 200) + "\n")
            self._next, self._last = _LINE_PERCENT, time.monotonic()
        self._meter.feed(now)
        percent, moment = self._meter.percent, time.monotonic()
        due = percent is not None and self._next <= percent < 100
        if now.phase == "done" or not (due or moment - self._last >= _LINE_SECONDS):
            return
        self._last = moment
        if percent is not None:
            self._next = percent - percent % _LINE_PERCENT + _LINE_PERCENT
        self._stream.write(log_line(self._meter) + "\n")

    def close(self) -> None:
        """Nothing is open."""


class _Quiet:
    """A stream that nobody may be reading any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None

    def columns(self) -> int:
        try:
            return (os.get_terminal_size(self._stream.fileno()).columns if self._stream else 0) or 80
        except (OSError, ValueError):  # a serial console does not know
            return 80


def bar_line(meter: Meter, width: int) -> str:
    """Where the phase stands, in at most `width` characters: what matters least is left out first."""
    if meter.phase == "flush":
        return f"flush    waiting for the medium, {clock(meter.elapsed)}"[:width]
    percent, left = meter.percent, meter.left
    head = f"{meter.name:<7}" + (f" {percent:3}%" if percent is not None else "")
    size = f"  {human(meter.done):>8}"
    whole = f" of {human(meter.total)}" if meter.total is not None else ""
    rate = f"  {human(meter.rate):>8}/s"
    time_left = f"  {clock(left):>7} left" if left is not None else " " * 14 if percent is not None else ""
    for tail in (size + whole + rate + time_left, rate + time_left, time_left):
        room = width - len(head) - len(tail) - 3
        if percent is not None and room >= _BAR_MIN:
            return f"{head} [{'#' * (room * percent // 100):{room}}]{tail}"
        if room >= -3:
            return head + tail
    return head[:width]


def log_line(meter: Meter) -> str:
    """Where the phase stands, for a log."""
    if meter.phase == "flush":
        return f"flush: waiting for the medium, {clock(meter.elapsed)}"
    percent, left = meter.percent, meter.left
    whole = f" of {human(meter.total)}" if meter.total is not None else ""
    return (
        meter.name
        + (f" {percent}%" if percent is not None else "")
        + f": {human(meter.done)}{whole}, {human(meter.rate)}/s"
        + (f", {clock(left)} left" if left is not None else "")
    )


def end_line(meter: Meter, width: int) -> str:
    """What a phase came to, in at most `width` characters."""
    elapsed = max(meter.elapsed, 1e-3)
    line = f"{meter.name:<7} 100%  {human(meter.done)} in {elapsed:.1f} s, {human(meter.done / elapsed)}/s"
    return line if len(line) <= width else line.partition(",")[0][:width]


def clock(seconds: float) -> str:
    """Seconds as 0:05, 12:34 or 1:02:03."""
    whole = min(int(seconds + 0.5), 359_999)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
