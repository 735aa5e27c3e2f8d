"""
Packing: an image becomes a chunked image (table.py) that every zstd tool decodes.

Chunks are compressed on several threads and written in order, so that the same image gives the same bytes
whatever the number of threads (with the same libzstd). The table stands first, and is known last: when the
image's size is known, room for it is left at the start of the file, else the frames wait in a file beside it.
Nothing is at OUT before it is whole and on the medium.

For build hosts: `zstandard` and `xxhash` are needed, which boards do not have.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.durable import SUFFIX, fsync_path, write_all
from hupfast.errors import DataError, HupfastError, Refused, UsageError
from hupfast.source import open_source
from hupfast.system import explained
from hupfast.table import Chunk, Table, chunk_count, is_chunk_size, read_table, serialize_table, table_size
from hupfast.target import in_dev

if TYPE_CHECKING:
    from hupfast.source import Source, SourceLike

__all__ = ["CHUNK_SIZE", "LEVEL", "Chunk", "PackReport", "Table", "pack", "read_table"]

LEVEL = 9
"""Default zstd level."""

CHUNK_SIZE = 2**20
"""Default raw bytes of a chunk."""

PackProgress = Callable[[int, int | None], None]
"""Called after each chunk with the raw bytes packed, and those of the whole image, None while unknown."""

UNPACK_MEMORY = 2**30
"""Bytes that decoding xz may take: a build host has more than a board."""

_COPY = 2**24


@dataclass(frozen=True)
class PackReport:
    """What a packing did. Sizes in bytes; table_sha256 names the image in a bundle's manifest."""

    image_size: int
    packed_size: int
    chunk_size: int
    chunk_count: int
    zero_chunks: int
    level: int
    threads: int
    table_sha256: bytes
    seconds: float

    def as_dict(self) -> dict[str, object]:
        """All fields, for JSON."""
        return asdict(self) | {"table_sha256": self.table_sha256.hex()}


def pack(
    source: SourceLike,
    out: str | os.PathLike[str],
    *,
    level: int = LEVEL,
    chunk_size: int = CHUNK_SIZE,
    threads: int | None = None,
    force: bool = False,
    progress: PackProgress | None = None,
) -> PackReport:
    """
    Make the chunked image `out` of an image: raw, zstd (chunked or not), gzip, xz or bzip2.

    level: 1 to 22. chunk_size: a power of two from 64 KiB to 64 MiB; each thread takes about four times
    that. threads: None for one per processor. force: replace the file `out`.
    Raises UsageError, Refused when `out` exists, SourceError, DataError when the image is damaged or empty,
    HupfastError when `out` cannot be written. Then `out` is as it was.
    """
    started = time.monotonic()
    if threads is None:
        threads = len(os.sched_getaffinity(0))
    _check_numbers(level, chunk_size, threads)
    path = Path(out)
    _check_out(path, force)
    with _raw(source) as raw:
        size = raw.size
        packer = _Packer(level, chunk_size)
        chunks: list[Chunk] = []
        done = 0
        gap = table_size(chunk_count(size, chunk_size)) if size is not None else 0
        with _Output(path, gap) as output:
            with closing(packer.run(raw, threads)) as packed_chunks:
                for chunk, frame, length in packed_chunks:
                    output.write(frame)
                    chunks.append(chunk)
                    done += length
                    if progress:
                        progress(done, size)
            if not chunks:
                raise DataError(f"{raw.name} is empty: there is no image in it")
            table = serialize_table(done, chunk_size, chunks)
            packed = output.finish(table)
    zero = sum(chunk.zero for chunk in chunks)
    seconds = time.monotonic() - started
    return PackReport(done, packed, chunk_size, len(chunks), zero, level, threads, table[-32:], seconds)


def _check_numbers(level: int, chunk_size: int, threads: int) -> None:
    if not 1 <= level <= 22:
        raise UsageError(f"the level must be from 1 to 22, not {level}")
    if not is_chunk_size(chunk_size):
        raise UsageError(f"the chunk size must be a power of two from 64K to 64M, not {chunk_size}")
    if not 1 <= threads <= 256:
        raise UsageError(f"the number of threads must be from 1 to 256, not {threads}")


def _check_out(path: Path, force: bool) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if in_dev(str(path)):
            raise Refused(f"{path} lies where devices are: name a file elsewhere to pack into") from None
        if not path.parent.is_dir():
            raise Refused(f"{path} cannot be made: there is no folder {path.parent}") from None
        return
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise Refused(f"cannot look at {path}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode):
        raise Refused(f"{path} is no regular file: name another one to pack into")
    if not force:
        raise Refused(f"{path} exists: say --force to replace it")


def _raw(source: SourceLike) -> Source:
    """The raw bytes of the image, whatever it is compressed with, their number known where it is raw."""
    from hupfast.source.decode import ZSTD_MAGIC
    from hupfast.source.unzstd import decoded_zstd

    opened = open_source(source, memory=UNPACK_MEMORY)
    try:
        if opened.format == "auto" and opened.peek(4).startswith(ZSTD_MAGIC):
            return decoded_zstd(opened)
    except BaseException:
        opened.close()
        raise
    return opened


class _Packer:
    """Chunks of raw bytes in, frames with their table entries out, in order."""

    def __init__(self, level: int, chunk_size: int) -> None:
        try:
            import xxhash
            import zstandard
        except ImportError as error:
            raise HupfastError(
                f"the Python package {error.name} is needed to pack images: pip install hupfast[pack]"
            ) from None
        self._zstandard = zstandard
        self._xxh3 = xxhash.xxh3_128_digest
        self._level = level
        self._chunk_size = chunk_size
        self._zeroes = bytes(chunk_size)
        self._own = threading.local()  # a compressor serves one thread at a time
        self._zero: tuple[Chunk, bytes] | None = None

    def run(self, raw: Source, threads: int) -> Generator[tuple[Chunk, bytes, int], None, None]:
        """Entry, frame and raw length of each chunk. Twice as many as threads are under way at most."""
        waiting: deque[tuple[Future[tuple[Chunk, bytes]], int]] = deque()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="pack")
        try:
            while data := self._next(raw):
                waiting.append((pool.submit(self._pack, data), len(data)))
                if len(waiting) == 2 * threads:
                    future, length = waiting.popleft()
                    yield *future.result(), length
            while waiting:
                future, length = waiting.popleft()
                yield *future.result(), length
        finally:
            pool.shutdown(cancel_futures=True)

    def _next(self, raw: Source) -> bytearray:
        """The next chunk; shorter at the end only, empty behind it."""
        data = bytearray(self._chunk_size)
        filled = 0
        with memoryview(data) as view:
            while filled < len(data) and (got := raw.readinto(view[filled:])):
                filled += got
        del data[filled:]
        return data

    def _pack(self, data: bytearray) -> tuple[Chunk, bytes]:
        zero = data == self._zeroes[: len(data)]
        if not zero or len(data) < self._chunk_size:
            return self._compress(data, zero)
        if self._zero is None:  # two threads may both make it: it is the same
            self._zero = self._compress(data, zero)
        return self._zero

    def _compress(self, data: bytearray, zero: bool) -> tuple[Chunk, bytes]:
        import hashlib

        compressor = getattr(self._own, "compressor", None)
        if compressor is None:
            # The table has a better checksum. The content size in the frame keeps its window small.
            compressor = self._own.compressor = self._zstandard.ZstdCompressor(
                level=self._level, write_checksum=False, write_content_size=True
            )
        frame = compressor.compress(data)
        digest = hashlib.sha256(frame).digest()
        return Chunk(len(frame), zero, digest, self._xxh3(data), hashlib.sha256(data).digest()), frame


class _Output:
    """The file that becomes OUT. `gap`: bytes kept free for the table, 0 when its size is not known yet."""

    def __init__(self, path: Path, gap: int) -> None:
        self._path = path
        self._gap = gap
        self._what = f"cannot write {path}"
        self._made: list[Path] = []
        self._fd = -1
        with explained(self._what):
            self._fd = self._make(SUFFIX)
            os.lseek(self._fd, gap, os.SEEK_SET)

    def write(self, frame: bytes) -> None:
        with explained(self._what):
            write_all(self._fd, frame)

    def finish(self, table: bytes) -> int:
        """Put the table in front, bring all to the medium and to its name. Returns the file's size."""
        with explained(self._what):
            if self._gap:
                os.pwrite(self._fd, table, 0)
            else:
                self._put_behind(table)
            os.fsync(self._fd)
            size = os.fstat(self._fd).st_size
            os.rename(self._made.pop(), self._path)
            fsync_path(self._path.parent)
        return size

    def _put_behind(self, table: bytes) -> None:
        """Start a second file with the table, and copy the frames into it."""
        frames = self._fd
        try:
            self._fd = self._make(".table" + SUFFIX)
            write_all(self._fd, table)
            left, offset = os.fstat(frames).st_size, 0
            while left:
                copied = os.sendfile(self._fd, frames, offset, min(left, _COPY))
                left, offset = left - copied, offset + copied
        finally:
            os.close(frames)

    def _make(self, suffix: str) -> int:
        path = self._path.with_name(self._path.name + suffix)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        self._made.append(path)
        return fd

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *error: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        for path in self._made:
            path.unlink(missing_ok=True)
