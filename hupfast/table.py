"""
The chunk table, which leads a chunked image.

A chunked image is an ordinary .zst file: one skippable frame, which is the table, then one independent frame
for each chunk, in order, and nothing else. All integers are little endian.

     0  u32  0x184D2A5C      magic number of a skippable frame
     4  u32  size            bytes that follow: 64 + 88 * count + 32
     8  8    "HUPCHNK2"
    16  u64  image size      raw bytes
    24  u32  chunk size      raw bytes of each chunk but the last: a power of two, 64 KiB to 64 MiB
    28  u32  count           ceil(image size / chunk size)
    32  u64  data size       bytes of all the frames after the table
    40  32   zero            reserved
    72  88 * count           entries
          u32  length        bytes of the frame: 1 to chunk size + chunk size / 128 + 512
          u32  flags         bit 0: every raw byte is zero; the others are zero
          32   SHA-256 of the frame
          16   XXH3-128 of the raw bytes, canonical (big endian)
          32   SHA-256 of the raw bytes
   end  32   SHA-256 of all bytes before: the name of the table, and so of the image

The XXH3 tells an accident, quickly; the SHA-256 of the raw bytes tells an attack, where a chunk is not decoded from
its frame but found on the board (csrc/survey.c).

This is the side that packs and inspects; csrc/table.c is the side that writes images.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from hupfast.errors import DataError, DigestError, SourceError

CHUNK_SIZE_MIN = 1 << 16
CHUNK_SIZE_MAX = 1 << 26

_HEAD = struct.Struct("<II8sQIIQ32s")
_ENTRY = struct.Struct("<II32s16s32s")
_MAGIC = 0x184D2A5C
_NAME = b"HUPCHNK2"
_DIGEST_SIZE = 32
_FLAG_ZERO = 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk. length: bytes of its frame. zero: all zeroes. sha256: of the frame. xxh3, raw_sha256: of raw bytes."""

    length: int
    zero: bool
    sha256: bytes
    xxh3: bytes
    raw_sha256: bytes


@dataclass(frozen=True, slots=True)
class Table:
    """A chunk table. image_size, chunk_size: raw bytes. sha256: its last 32 bytes, by which it is known."""

    image_size: int
    chunk_size: int
    chunks: tuple[Chunk, ...]
    sha256: bytes

    @property
    def data_size(self) -> int:
        """Bytes of all frames after the table."""
        return sum(chunk.length for chunk in self.chunks)

    @property
    def size(self) -> int:
        """Bytes of the table itself."""
        return table_size(len(self.chunks))


def table_size(count: int) -> int:
    """Bytes of a table of `count` chunks."""
    return _HEAD.size + count * _ENTRY.size + _DIGEST_SIZE


def chunk_count(image_size: int, chunk_size: int) -> int:
    """How many chunks an image is cut into."""
    return -(-image_size // chunk_size)


def is_chunk_size(size: int) -> bool:
    """Whether a table can have chunks of `size` raw bytes."""
    return CHUNK_SIZE_MIN <= size <= CHUNK_SIZE_MAX and size & (size - 1) == 0


def serialize_table(image_size: int, chunk_size: int, chunks: list[Chunk]) -> bytes:
    """The bytes of a table; the last 32 are its name."""
    import hashlib

    data_size = sum(chunk.length for chunk in chunks)
    size = table_size(len(chunks)) - 8
    head = _HEAD.pack(_MAGIC, size, _NAME, image_size, chunk_size, len(chunks), data_size, b"")
    entries = (
        _ENTRY.pack(chunk.length, _FLAG_ZERO if chunk.zero else 0, chunk.sha256, chunk.xxh3, chunk.raw_sha256)
        for chunk in chunks
    )
    body = b"".join((head, *entries))
    return body + hashlib.sha256(body).digest()


def parse_table(data: bytes, name: str) -> Table:
    """
    The table at the start of `data`, which may go on behind it. Pure; `name` is for messages.

    Raises DataError when there is none, or a malformed one; DigestError when its own SHA-256 does not fit.
    """
    image_size, chunk_size, count, data_size = _parse_head(data, name)
    end = table_size(count)
    if len(data) < end:
        raise DataError(f"{name} is cut short in its chunk table", offset=len(data))
    import hashlib

    digest = data[end - _DIGEST_SIZE : end]
    if hashlib.sha256(memoryview(data)[: end - _DIGEST_SIZE]).digest() != digest:
        raise DigestError(f"the chunk table of {name} is damaged: its own SHA-256 does not fit")
    chunks: list[Chunk] = []
    longest = chunk_size + chunk_size // 128 + 512
    entries = memoryview(data)[_HEAD.size : end - _DIGEST_SIZE]
    for length, flags, sha256, xxh3, raw_sha256 in _ENTRY.iter_unpack(entries):
        if not 1 <= length <= longest or flags & ~_FLAG_ZERO:
            raise DataError(f"the chunk table of {name} is malformed: entry {len(chunks)}: {length}, {flags}")
        chunks.append(Chunk(length, bool(flags), sha256, xxh3, raw_sha256))
    table = Table(image_size, chunk_size, tuple(chunks), digest)
    if table.data_size != data_size:
        raise DataError(f"the chunk table of {name} is malformed: its frames make {table.data_size} bytes")
    return table


def read_table(path: str | os.PathLike[str]) -> Table:
    """
    The chunk table of a packed image, and whether the file has all the bytes that it tells of.

    Raises SourceError when the file cannot be read, DataError when it is not a whole chunked image.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            head = file.read(_HEAD.size)
            _, _, count, data_size = _parse_head(head, name)
            table = parse_table(head + file.read(table_size(count) - len(head)), name)
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise SourceError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error
    if size != table.size + data_size:
        raise DataError(f"{name} has {size} bytes, and must have {table.size + data_size}", offset=size)
    return table


def _parse_head(data: bytes, name: str) -> tuple[int, int, int, int]:
    """Image size, chunk size, count, data size: checked against each other, so that none is absurd."""
    if len(data) < _HEAD.size:
        raise DataError(f"{name} is no chunked image: it has {len(data)} bytes")
    magic, size, word, image_size, chunk_size, count, data_size, reserved = _HEAD.unpack_from(data)
    if magic != _MAGIC or word != _NAME:
        raise DataError(f"{name} is no chunked image: pack it with `hupfast pack`")
    if any(reserved):
        raise DataError(f"the chunk table of {name} uses reserved fields: it needs a newer hupfast")
    if not is_chunk_size(chunk_size):
        raise DataError(f"the chunk table of {name} is malformed: a chunk size of {chunk_size}")
    if chunk_count(image_size, chunk_size) != count or table_size(count) != size + 8:
        raise DataError(f"the chunk table of {name} is malformed: {count} chunks for {image_size} bytes")
    return image_size, chunk_size, count, data_size
