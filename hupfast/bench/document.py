"""
What a measurement leaves behind: one JSON document, schema version 1.

Sizes are bytes, times seconds unless the name ends in _us (microseconds), rates bytes a second. What is not known is
null. Every key is there, always; a reader leaves out keys that it does not know. A spread is the median absolute
deviation of the rounds, 0 of one round.

```
{
  "format": "hupfast-bench", "version": 1,
  "hupfast": "hupfast 0.1.0, zstd 1.5.4", "date": "2026-11-27T05:00:00Z",
  "board": {"model": text|null, "profile": text|null, "kernel": text, "cpus": int, "cpu": text, "memory": int},
  "storage": {
    "path": text,
    "kind": "mmc" (eMMC), "sd", "nvme", "scsi" (USB sticks too), "virtio", "loop", "other": of the disk below a
            partition or a file; "file": nothing is known of what is below the file
    "model": text|null, "serial": text|null, "cid": text|null,
    "size": int (of the target), "sector": int,
    "health": {name: text, ...}       whatever sysfs tells: life_time, pre_eol_info (eMMC), life_time_estimation_a and
            _b, eol_info (UFS), firmware, date of manufacture (health.py has the words for these numbers)
    "filesystem": text|null           type, when the target is a file
    "direct": bool                    it was read and written past the page cache (O_DIRECT)
  },
  "settings": {
    "mode": "quick|default|full", "size": int (of the part that was used), "rounds": int,
    "seconds": number|null (most of the long write), "in_flight": int|null (most bytes), "memory": int|null (budget of
               writing the image); an early document has none of the three
  },
  "noise": {
    "load": number                    load average before the first run
    "busy_elsewhere": number          share of all processors that other processes had meanwhile, 0 to 1
    "throttled": bool                 the processor got slower for its temperature, or the lack of power
    "temperature": null|[before, after] (degrees Celsius), "frequency": null|[before, after] (Hz),
    "remarks": [text, ...]            what a reader of the figures should know
  },
  "skipped": [{"what": text, "why": text}, ...],
  "runs": [{
    "operation": "write|read|zero|discard", "method": "threads|io_uring", "block": int, "depth": int,
    "flush_every": int                bytes, 0: at the end only (every run but a read ends with a flush)
    "rounds": [{"bytes": int, "seconds": number (wall, flushes included), "flush_seconds": number (of these),
                "flushes": int, "flush_max_seconds": number|null (the longest; null in an early document),
                "latencies_us": [int, ...] (of each operation, in the order in which they ended)}],
    "rate": {"median": number, "spread": number},
    "latency_us": {"p50": number, "p90": number, "p99": number, "max": number}    over all rounds
  }],
  "sustained": null | {
    "block": int, "depth": int,
    "points": [[seconds, bytes], ...]         both from the start, of one long write; two or more, and they never fall.
                                              Two with the same bytes at the end: between them is its flush
    "burst_rate": number, "sustained_rate": number,   before and behind the knee, equal without one
    "knee_bytes": int|null                    so much goes fast; null: no end of that was seen
  },
  "stages": [{
    "name": "decompress|sha256|xxh3", "level": int|null (of zstd), "threads": int,
    "rounds": [rate, ...], "ratio": number|null (raw bytes to packed ones),
    "rate": {"median": number, "spread": number}      of raw bytes; for sha256 and xxh3, of the bytes that are hashed
  }],
  "pipeline": null | {
    "image": text ("made", or a file's name), "image_size": int, "packed_size": int, "zero_share": number,
    "seconds": {"median": number, "spread": number, "rounds": [number, ...]},
    "report": {...}                   of hupfast.write_image, of the round in the middle
  },
  "verdict": {
    "limit": "medium|processor", "sentence": text,
    "block": int, "depth": int, "memory": int (the product)    to write images with
    "rates": {"write", "read", "zero", "decompress", "sha256", "xxh3", "pipeline", "sustained": number|null}
             write: of short runs with these settings, the median, stalls included; read, zero: the best of short runs;
             those of all processors; of the whole pipeline (raw bytes); sustained: of the long write behind its knee,
             as it would be with these settings (null without one, and in an early document)
  }
}
```
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from hupfast.bench.read import read_value
from hupfast.bench.stats import Latency, Middle
from hupfast.errors import DataError, UsageError

__all__ = ["Document", "Latency", "Middle", "load", "parse"]

FORMAT = "hupfast-bench"
VERSION = 1
_LIMIT = 256 << 20
_MICROSECONDS_MOST = 2**32 - 1  # 71 minutes

if TYPE_CHECKING:
    Microseconds = array[int]
else:  # before Python 3.12 it takes no brackets when it runs
    Microseconds = array


def microseconds(values: Iterable[float]) -> Microseconds:
    """Times as a document keeps them: 4 bytes each, for there may be half a million."""
    return array("I", (min(round(value), _MICROSECONDS_MOST) for value in values))


@dataclass(frozen=True)
class Board:
    """The machine."""

    model: str | None
    profile: str | None
    kernel: str
    cpus: int
    cpu: str
    memory: int


@dataclass(frozen=True)
class Storage:
    """The medium."""

    path: str
    kind: str
    model: str | None
    serial: str | None
    cid: str | None
    size: int
    sector: int
    health: dict[str, str]
    filesystem: str | None
    direct: bool


@dataclass(frozen=True)
class Settings:
    """How it was measured."""

    mode: str
    size: int
    rounds: int
    seconds: float | None = None
    in_flight: int | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Noise:
    """What else went on."""

    load: float
    busy_elsewhere: float
    throttled: bool
    temperature: tuple[float, float] | None
    frequency: tuple[float, float] | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Skipped:
    """What could not be measured here."""

    what: str
    why: str


@dataclass(frozen=True)
class Round:
    """One go."""

    bytes: int
    seconds: float
    flush_seconds: float
    flushes: int
    latencies_us: Microseconds
    flush_max_seconds: float | None = None

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Run:
    """One way of using the medium, in several rounds."""

    operation: str
    method: str
    block: int
    depth: int
    flush_every: int
    rounds: tuple[Round, ...]
    rate: Middle
    latency_us: Latency

    @property
    def plain(self) -> bool:
        """Whether the medium was used as the writer uses it."""
        return self.method == "threads" and not self.flush_every


@dataclass(frozen=True)
class Sustained:
    """One long write."""

    block: int
    depth: int
    points: tuple[tuple[float, int], ...]
    burst_rate: float
    sustained_rate: float
    knee_bytes: int | None


@dataclass(frozen=True)
class Stage:
    """What the processor does without the medium."""

    name: str
    level: int | None
    threads: int
    rounds: tuple[float, ...]
    ratio: float | None
    rate: Middle


@dataclass(frozen=True)
class Seconds:
    """Times of several rounds."""

    median: float
    spread: float
    rounds: tuple[float, ...]


@dataclass(frozen=True)
class Pipeline:
    """The whole of writing an image."""

    image: str
    image_size: int
    packed_size: int
    zero_share: float
    seconds: Seconds
    report: dict[str, object]


@dataclass(frozen=True)
class Rates:
    """Bytes a second; None: not measured."""

    write: float | None
    read: float | None
    zero: float | None
    decompress: float | None
    sha256: float | None
    xxh3: float | None
    pipeline: float | None
    sustained: float | None = None

    @property
    def lasting(self) -> float | None:
        """What the medium takes in the end, as far as that is known."""
        return self.sustained or self.write


@dataclass(frozen=True)
class Verdict:
    """What follows."""

    limit: str
    sentence: str
    block: int
    depth: int
    memory: int
    rates: Rates


@dataclass(frozen=True)
class Document:
    """One measurement, whole."""

    hupfast: str
    date: str
    board: Board
    storage: Storage
    settings: Settings
    noise: Noise
    skipped: tuple[Skipped, ...]
    runs: tuple[Run, ...]
    sustained: Sustained | None
    stages: tuple[Stage, ...]
    pipeline: Pipeline | None
    verdict: Verdict

    def as_dict(self) -> dict[str, object]:
        """All of it, for JSON."""
        return {"format": FORMAT, "version": VERSION, **asdict(self, dict_factory=_plain)}

    def chunks(self, **before: object) -> Iterator[bytes]:
        """Its JSON, a line, one run after the other: objects of all samples take more than a board has to spare."""
        rest = replace(self, runs=()).as_dict()
        del rest["runs"]
        yield json.dumps({**before, **rest}).encode()[:-1] + b', "runs": ['
        for number, run in enumerate(self.runs):
            yield (b", " if number else b"") + json.dumps(asdict(run, dict_factory=_plain)).encode()
        yield b"]}\n"


def parse(text: str | bytes, name: str) -> Document:
    """A document out of its JSON. name: for messages. Raises: DataError."""
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{name} is no JSON document: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise DataError(f"{name} is no result of `hupfast bench`")
    if data.get("version") != VERSION or isinstance(data["version"], bool):
        raise DataError(
            f"{name} has version {data.get('version')!r} of the format, and this hupfast knows version {VERSION} only"
        )
    document: Document = read_value(Document, data, name)
    if document.sustained is not None and not _is_curve(document.sustained.points):
        raise DataError(f"{name}.sustained.points are not two or more that go on from 0, 0")
    return document


def _is_curve(points: tuple[tuple[float, int], ...]) -> bool:
    """Whether both time and bytes begin at 0, and only grow, or stay."""
    rising = all(one[0] <= two[0] and one[1] <= two[1] for one, two in pairwise(points))
    return len(points) > 1 and points[0] == (0, 0) and rising


def load(path: str) -> Document:
    """The document in a file. Raises: UsageError when it cannot be read, DataError."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > _LIMIT:
        raise DataError(f"{path} is no result of `hupfast bench`: it is larger than {_LIMIT >> 20} MiB")
    return parse(data, path)


def _plain(items: list[tuple[str, object]]) -> dict[str, object]:
    return {name: list(value) if isinstance(value, array) else value for name, value in items}


def _no_constant(word: str) -> object:
    raise ValueError(f"it has {word} in it")
