"""
The writes of a machine, as QEMU's blklogwrites records them, and the disks that a power cut can leave.

```
sector 0     superblock: magic, version, entries, sector size       <QQQI
then each    header: sector, sectors, flags, bytes of data          <QQQQ, padded to a sector
entry        data: `sectors` sectors, none for a discard
```
(the format of Linux's dm-log-writes). A cut leaves all that was written before the last flush, and of what came
after it any part, in any order: that is what a medium with a cache may do.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import unpack_from

SECTOR = 512
_MAGIC = 0x6A736677736872
_FLUSH, _FUA, _DISCARD = 1, 2, 4
BLOCK = 8
"""Sectors that are dropped or kept together: 4 KiB, as a page of the page cache is."""


@dataclass(frozen=True)
class Write:
    """One entry. flushes: whether all before it, and itself, is on the medium after it."""

    sector: int
    data: bytes
    flushes: bool


def read_log(path: Path) -> list[Write]:
    """All entries of a log."""
    log = path.read_bytes()
    magic, _, count, size = unpack_from("<QQQI", log)
    assert (magic, size) == (_MAGIC, SECTOR)
    writes, offset = [], SECTOR
    for _ in range(count):
        sector, sectors, flags, _ = unpack_from("<QQQQ", log, offset)
        offset += SECTOR
        length = sectors * SECTOR
        if flags & _DISCARD:
            writes.append(Write(sector, bytes(length), flushes=False))
            continue
        writes.append(Write(sector, log[offset : offset + length], flushes=bool(flags & (_FLUSH | _FUA))))
        offset += length
    return writes


def within(writes: Sequence[Write], start: int, size: int) -> list[Write]:
    """Those of a partition, counted from its start; flushes of the whole disk stay. start, size: in bytes."""
    first, end = start // SECTOR, (start + size) // SECTOR
    inside = []
    for write in writes:
        if first <= write.sector < end and write.data:
            inside.append(Write(write.sector - first, write.data, write.flushes))
        elif write.flushes:
            inside.append(Write(0, b"", flushes=True))
    return inside


def apply(image: bytearray, writes: Sequence[Write]) -> None:
    """Carry the writes out."""
    for write in writes:
        start = write.sector * SECTOR
        image[start : start + len(write.data)] = write.data


@dataclass(frozen=True)
class Cut:
    """
    A power cut: `flushed` writes are on the medium, and these blocks of what came after them.

    name: for messages. pieces: blocks of the writes that were not flushed, in their order.
    """

    name: str
    flushed: int
    pieces: tuple[Write, ...]


def cuts(writes: Sequence[Write], samples: int, seed: int, first: int = 0) -> Iterator[Cut]:
    """
    After each write: the writes so far, only what was flushed, each unflushed block alone missing or alone there
    while they are few, and `samples` random parts of what was not flushed. first: the write that they begin after.
    """
    choice = random.Random(seed)
    flushed = max((number + 1 for number, write in enumerate(writes[:first]) if write.flushes), default=0)
    for number in range(first, len(writes) + 1):
        pending = [piece for write in writes[flushed:number] for piece in _pieces(write)]
        yield Cut(f"{number} whole", flushed, tuple(pending))
        if pending and pending[-1].data:
            yield Cut(f"{number} flushed", flushed, ())
            if len(pending) <= 16:
                for index, piece in enumerate(pending):
                    yield Cut(f"{number} only {index}", flushed, (piece,))
                    yield Cut(f"{number} without {index}", flushed, (*pending[:index], *pending[index + 1 :]))
            for sample in range(samples):
                some = tuple(piece for piece in pending if choice.random() < 0.5)
                yield Cut(f"{number} sample {sample}", flushed, some)
        if number < len(writes) and writes[number].flushes:
            flushed = number + 1


def _pieces(write: Write) -> Iterator[Write]:
    sector, data = write.sector, write.data
    while data:
        room = (BLOCK - sector % BLOCK) * SECTOR
        yield Write(sector, data[:room], flushes=False)
        sector, data = sector + BLOCK - sector % BLOCK, data[room:]
