"""Where the time of a run goes: the words that its report, its timeline and the benchmarks share (csrc/trace.h)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """
    Where the time of one stage went: seconds of all its threads together.

    busy: at work. input_wait: for the stage before it. output_wait: for the stage behind it, or for its turn under a
    limit. bytes: that it has worked on, in so many pieces, with so many threads.
    """

    busy: float
    input_wait: float
    output_wait: float
    bytes: int
    pieces: int
    threads: int


@dataclass(frozen=True)
class Event:
    """
    What one thread did for a while. start, seconds: since the run was opened, and how long.

    span: "busy", or what it waited for: "input", "output". offset, bytes: of the image (stage "read": of its file).
    """

    stage: str
    span: str
    thread: int
    start: float
    seconds: float
    offset: int
    bytes: int


STAGES = ("read", "survey", "decode", "write", "flush", "verify")
"""Names of the stages, in the order in which bytes go through them."""

SPANS = ("busy", "input", "output")
"""What a thread of a stage does with its time: it works, or waits for the stage before it or behind it."""


def stages_of(c_report: Any) -> dict[str, Stage]:
    """The stages that have done something, of a hup_report."""
    found = {}
    for name, stage in zip(STAGES, c_report.stages, strict=True):
        if stage.busy_ns or stage.input_ns or stage.output_ns:
            waits = (stage.input_ns / 1e9, stage.output_ns / 1e9)
            found[name] = Stage(stage.busy_ns / 1e9, *waits, stage.bytes, stage.pieces, stage.threads)
    return found
