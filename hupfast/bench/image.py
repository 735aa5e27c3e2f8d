"""
A made image, to measure the whole pipeline with: chunked, of any size, without a file and without much memory.

A few chunks that look like those of a root filesystem (programs and text, what is compressed already, zeroes) are
packed once, one of each kind, and come again and again. A medium sees every byte of them; only one that looks for equal
blocks far apart could save itself work.
"""

import io
import random

from hupfast.bench.engine import Frame, compress
from hupfast.engine import sha256
from hupfast.table import Chunk, serialize_table

CHUNK = 1 << 20
PATTERN = "ptptnptz"
"""Kinds of the chunks, over and over: t text, p program, n noise, z zeroes."""

KINDS = "".join(sorted(set(PATTERN)))

_SEED = 4
_FREQUENT = bytes(byte for byte in range(256) for _ in range(1 + 200 // (1 + byte)))


def make_chunk(kind: str, size: int = CHUNK) -> bytes:
    """The raw chunk of a kind."""
    chaos = random.Random(f"{_SEED} {kind}")
    if kind == "z":
        return bytes(size)
    if kind == "n":
        return chaos.randbytes(size)
    make = _text if kind == "t" else _program
    parts, left = [], size
    while left:
        parts.append(make(chaos)[:left])
        left -= len(parts[-1])
    return b"".join(parts)


def _text(chaos: random.Random) -> bytes:
    """Lines of words, some of them seen before, as in documentation and configuration files."""
    words = [bytes(chaos.choices(b"etaoinshrdlucmfwyp", k=chaos.randrange(2, 10))) for _ in range(3000)]
    out = bytearray()  # and no list: so many objects leave memory behind that nothing else can use
    for _ in range(20000):
        out += chaos.choice(words)
        out += b"\n" if chaos.random() < 0.1 else b" "
    return bytes(out)


def _program(chaos: random.Random) -> bytes:
    """
    A quarter of a MiB that packs and decodes about as libraries do: short new pieces of bytes, of which some are
    frequent, between short copies of what was there before, most often of a short while ago.
    """
    pool = bytes(chaos.choices(_FREQUENT, k=1 << 16))
    chance, length = chaos.random, chaos.expovariate
    out = bytearray(pool[:64])
    while len(out) < 1 << 18:
        at = int(chance() * (len(pool) - 256))
        out += pool[at : at + int(length(1 / 6))]
        start = len(out) - int(len(out) ** (1 - chance() / 2))
        out += out[start : start + 4 + int(length(1 / 8))]
    return bytes(out)


class MadeImage(io.RawIOBase):
    """
    The image as a file that can be read, once from start to end; give each run one of its own (`again`).

    image_size, packed_size: bytes. zero_share: of the raw bytes, what is zero.
    """

    name = "made"

    def __init__(self, image_size: int, frames: list[Frame], chunks: list[Chunk]) -> None:
        super().__init__()
        count = max(image_size // CHUNK, 1)
        kinds = [i % len(frames) for i in range(count)]
        self.image_size = count * CHUNK
        self.zero_share = sum(chunks[kind].zero for kind in kinds) / count
        self._frames, self._chunks, self._kinds = frames, chunks, kinds
        self._table = serialize_table(self.image_size, CHUNK, [chunks[kind] for kind in kinds])
        self.packed_size = len(self._table) + sum(chunks[kind].length for kind in kinds)
        self._part: memoryview = memoryview(self._table)
        self._next = 0

    def again(self, image_size: int | None = None) -> "MadeImage":
        """The same, or one of another size, from its start."""
        return MadeImage(self.image_size if image_size is None else image_size, self._frames, self._chunks)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: object) -> int:
        """As of every file: 0 at the end."""
        room = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if not self._part and self._next < len(self._kinds):
            self._part = memoryview(self._frames[self._kinds[self._next]].data)
            self._next += 1
        size = min(len(room), len(self._part))
        room[:size] = self._part[:size]
        self._part = self._part[size:]
        return size


def make_image(image_size: int, level: int) -> MadeImage:
    """Make one of about `image_size` bytes, packed at a level of zstd."""
    made: dict[str, tuple[Frame, Chunk]] = {}
    for kind in KINDS:
        raw = make_chunk(kind)
        frame = compress(raw, level)
        made[kind] = frame, Chunk(len(frame.data), kind == "z", sha256(frame.data), frame.xxh3, sha256(raw))
    return MadeImage(image_size, [made[kind][0] for kind in PATTERN], [made[kind][1] for kind in PATTERN])
