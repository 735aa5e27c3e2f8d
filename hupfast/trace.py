"""
The timeline of a run, as a file that Perfetto (ui.perfetto.dev) and chrome://tracing open.

```
{"displayTimeUnit": "ms", "traceEvents": [
  {"ph": "M", "name": "thread_name", "pid": 1, "tid": 77, "args": {"name": "decode"}},
  {"ph": "X", "name": "decode", "cat": "busy", "pid": 1, "tid": 77, "ts": 12.5, "dur": 900.0,       microseconds
   "args": {"offset": 0, "bytes": 1048576}},
  {"ph": "X", "name": "wait for input", "cat": "decode", ...}]}
```
That is the "JSON Array Format" of the Trace Event Format, with complete events ("X") only. A thread has the name of the
stage that it was busy with first. What did not fit into the engine's memory is missing at the end, and is told.
"""

import json
from collections.abc import Iterator, Sequence
from os import PathLike, fspath

from hupfast.errors import Refused
from hupfast.stages import Event
from hupfast.system import explained

ROOM = 1 << 16
"""Events that are kept: three or four for each MiB of an image, so that 16 GiB have room."""

_WAITS = {"input": "wait for input", "output": "wait for output"}


def check_trace(path: str | PathLike[str]) -> None:
    """Make the file, empty, before anything else is done. Raises: Refused when that cannot be."""
    try:
        with open(path, "wb"):
            pass
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise Refused(f"cannot write the trace {fspath(path)}: {getattr(error, 'strerror', None) or error}") from error


def write_trace(path: str | PathLike[str], events: Sequence[Event], seen: int) -> None:
    """Write the events of a run; `seen`: how many there were. Raises: HupfastError."""
    document = {
        "displayTimeUnit": "ms",
        "otherData": {"events_lost": max(seen - len(events), 0)},
        "traceEvents": [*_names(events), *map(_event, events)],
    }
    with explained(f"cannot write the trace {fspath(path)}"), open(path, "w") as file:
        json.dump(document, file)
        file.write("\n")


def _names(events: Sequence[Event]) -> Iterator[dict[str, object]]:
    named: set[int] = set()
    for event in sorted(events, key=lambda event: event.start):
        if event.thread not in named and event.span == "busy":
            named.add(event.thread)
            yield _with("M", "thread_name", event.thread, args={"name": event.stage})


def _event(event: Event) -> dict[str, object]:
    times = {"ts": event.start * 1e6, "dur": event.seconds * 1e6}
    if event.span == "busy":
        args = {"offset": event.offset, "bytes": event.bytes}
        return _with("X", event.stage, event.thread, cat="busy", args=args, **times)
    return _with("X", _WAITS[event.span], event.thread, cat=event.stage, **times)


def _with(kind: str, name: str, thread: int, **more: object) -> dict[str, object]:
    return {"ph": kind, "name": name, "pid": 1, "tid": thread, **more}
