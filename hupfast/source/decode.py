"""
gzip, xz and bzip2 images, decoded by the standard library on the way to the engine.

    gzip    1f 8b 08
    bzip2   "BZh" '1'..'9', then the magic of a block (31 41 59 26 53 59) or of the end (17 72 45 38 50 90)
    xz      fd "7zXZ" 00, 2 bytes of stream flags, CRC32 of them, then the first block header:
              u8  size / 4 - 1
              u8  flags: bits 0-1 number of filters - 1, bit 6 compressed size follows, bit 7 raw size follows
              these sizes, as variable length integers (7 bits a byte, low ones first; bit 7: more follow)
              for each filter: its number and the size of its properties, as such integers; its properties;
                number 0x21 is LZMA2, with one byte b of properties: the dictionary has 2**(b / 2 + 12) bytes,
                for odd b 3 * 2**(b // 2 + 11)

Each may be several streams behind one another, with zero bytes between and after them; anything else there is
an error. Memory is bounded: output is asked for in pieces, and a dictionary over the budget is refused.

The bytes decide what an image is, not its name. But a file that is called .gz and does not begin like one is
damaged, and no raw image; nor is a zip archive or the disk of a virtual machine. Both are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hupfast.errors import DataError, DigestError, MemoryBudgetError, UsageError
from hupfast.source.base import Source

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable
    from typing import Protocol

    class Decoder(Protocol):
        """One stream, as lzma.LZMADecompressor and bz2.BZ2Decompressor have it."""

        @property
        def eof(self) -> bool: ...
        @property
        def needs_input(self) -> bool: ...
        @property
        def unused_data(self) -> bytes: ...
        def decompress(self, data: bytes, max_length: int) -> bytes: ...


_XZ_MAGIC = (b"\xfd7zXZ\0",)
_GZIP_MAGIC = (b"\x1f\x8b\x08",)
_BZIP2_MAGIC = (b"BZh",)
ZSTD_MAGIC = (b"\x28\xb5\x2f\xfd", *(bytes((0x50 + n, 0x2A, 0x4D, 0x18)) for n in range(16)))
"""What a zstd frame begins with; all but the first are skippable frames."""

_SUFFIXES = {".gz": _GZIP_MAGIC, ".xz": _XZ_MAGIC, ".bz2": _BZIP2_MAGIC, ".zst": ZSTD_MAGIC}
_FOREIGN = {
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"\x04\x22\x4d\x18": "compressed with lz4: unpack it first",
    b"QFI\xfb": "a qcow2 disk: make a raw image of it first (qemu-img convert -O raw)",
    b"KDMV": "a VMDK disk: make a raw image of it first (qemu-img convert -O raw)",
    b"vhdxfile": "a VHDX disk: make a raw image of it first (qemu-img convert -O raw)",
    b"\x3a\xff\x26\xed": "an Android sparse image: make a raw image of it first (simg2img)",
}
_BZIP2_NEXT = (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")

_PIECE_IN = 2**16
_PIECE_OUT = 2**18
_ENGINE_SHARE = 2**20
"""Bytes of the budget that a decoder must leave to the engine."""

_GZIP_MEMORY = 2**18
_BZIP2_MEMORY = 4 * 2**20
_XZ_OVERHEAD = 2**20
"""What liblzma and our pieces take above the dictionary, rounded up."""


class DecodedSource(Source):
    """The raw bytes of a compressed source. `size` is unknown; progress is origin.taken of origin.size."""

    format = "raw"

    def __init__(
        self, origin: Source, kind: str, magic: tuple[bytes, ...], make: Callable[[], Decoder], memory: int
    ) -> None:
        super().__init__(origin.name, None)
        self.seekable = origin.seekable
        self.remote = origin.remote
        self.memory = origin.memory + memory
        self._origin = origin
        self._kind = kind
        self._magic = magic
        self._make = make
        self._decoder = make()
        self._waiting = b""  # read, and not given to the decoder yet
        self._input = bytearray(_PIECE_IN)
        self._decoded = 0
        self._early: list[bytes] = []  # compressed bytes that peek needed: a digest may still be asked for
        self._sha256: bytes | None = None
        self._hash: hashlib._Hash | None = None

    @property
    def origin(self) -> Source:
        return self._origin.origin

    def expect_sha256(self, digest: bytes) -> None:
        """
        Let readinto raise DigestError at the end unless this is the SHA-256 of the compressed bytes.

        For a source that cannot be read twice. Peeking may come before, reading may not.
        """
        if self.taken:
            raise UsageError("expect_sha256 was called after the first byte had been read")
        import hashlib

        self._sha256 = digest
        self._hash = hashlib.sha256(b"".join(self._early))

    def seek(self, offset: int, end: int | None = None) -> None:
        """To the start only: nobody knows where a byte of the image is in what it was packed into."""
        if offset or end is not None:
            raise UsageError(f"{self.name} is compressed with {self._kind}, and can be read from its start only")
        self._origin.rewind()
        self._decoder = self._make()
        self._waiting = self._peeked = b""
        self._decoded = self.taken = 0
        self._early.clear()
        if self._sha256 is not None:
            self.expect_sha256(self._sha256)

    def close(self) -> None:
        self._origin.close()

    def _read(self, buffer: memoryview) -> int:
        if not buffer:
            return 0
        while True:
            if self._decoder.eof and not self._next_stream():
                self._check_digest()
                return 0
            data = b""
            if self._decoder.needs_input:
                data = self._waiting or self._more()
                self._waiting = b""
                if not data:
                    raise self._error("it is cut short")
            try:
                out = self._decoder.decompress(data, min(len(buffer), _PIECE_OUT))
            except MemoryError:
                raise
            except Exception as error:  # zlib.error, LZMAError, EOFError, OSError, ValueError: bad data, all
                raise self._error(str(error) or type(error).__name__) from error
            if out:
                buffer[: len(out)] = out
                self._decoded += len(out)
                return len(out)

    def _more(self) -> bytes:
        got = self._origin.readinto(memoryview(self._input))
        data = bytes(memoryview(self._input)[:got])
        if self._hash is not None:
            self._hash.update(data)
        elif self.taken == 0:
            self._early.append(data)
        else:
            self._early.clear()
        return data

    def _next_stream(self) -> bool:
        """Go on with the stream that follows the one that has ended. False: the input has ended too."""
        rest = (self._waiting or self._decoder.unused_data).lstrip(b"\0")
        while len(rest) < len(self._magic[0]):
            data = self._more()
            if not data:
                break
            rest = (rest + data).lstrip(b"\0")
        self._waiting = rest
        if not rest:
            return False
        if not rest.startswith(self._magic):
            raise self._error("something else follows behind the compressed data")
        self._decoder = self._make()
        return True

    def _check_digest(self) -> None:
        if self._hash is not None and self._hash.digest() != self._sha256:
            raise DigestError(f"{self.name} is not the promised image: its SHA-256 is {self._hash.hexdigest()}")

    def _error(self, reason: str) -> DataError:
        return DataError(
            f"{self.name} is damaged: after {self._decoded} bytes of the image, {self._kind} says: {reason}",
            offset=self._decoded,
        )


class _GzipDecoder:
    """zlib's interface, made that of lzma and bz2."""

    def __init__(self) -> None:
        import zlib

        self._zlib = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail or data, max_length)


def is_packed(head: bytes) -> bool:
    """Whether a file that begins so is gzip, xz, bzip2 or zstd. Pure: nothing is decoded."""
    return head.startswith((*_GZIP_MAGIC, *_XZ_MAGIC, *_BZIP2_MAGIC, *ZSTD_MAGIC))


def decoded(source: Source, memory: int) -> Source:
    """
    `source` itself, or, when its first bytes say gzip, xz or bzip2, a source of the raw bytes in it.

    Raises DataError when the bytes are those of something else that is no image, MemoryBudgetError for xz.
    """
    head = source.peek(64)
    if head.startswith(_GZIP_MAGIC):
        return DecodedSource(source, "gzip", _GZIP_MAGIC, _GzipDecoder, _GZIP_MEMORY)
    if head.startswith(_BZIP2_MAGIC) and head[4:10] in _BZIP2_NEXT:
        import bz2

        return DecodedSource(source, "bzip2", _BZIP2_MAGIC, bz2.BZ2Decompressor, _BZIP2_MEMORY)
    if head.startswith(_XZ_MAGIC):
        import lzma

        needed = xz_memory(head)
        others = source.memory + _ENGINE_SHARE
        limit = max(memory - others, 0)
        if needed > limit:
            raise MemoryBudgetError(
                f"{source.name} needs a memory budget of {-(-(needed + others) // 2**20)} MiB, "
                f"and it is {memory // 2**20} MiB: raise --memory, or compress with a smaller dictionary",
                needed=needed + others,
            )

        def make() -> Decoder:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, limit)

        return DecodedSource(source, "xz", _XZ_MAGIC, make, needed)
    _refuse_no_image(source, head)
    return source


def _refuse_no_image(source: Source, head: bytes) -> None:
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise DataError(f"{source.name} is {what}")
    name = source.name.removesuffix("?...").lower()  # of an address with a query
    for suffix, magics in _SUFFIXES.items():
        if head and name.endswith(suffix) and not (magics is ZSTD_MAGIC and head.startswith(magics)):
            raise DataError(
                f"{source.name} is called {suffix}, and does not begin like one: it is damaged or cut short"
                " (if it is a raw image, give it another name)",
                offset=0,
            )


def xz_memory(head: bytes) -> int:
    """
    Bytes of memory that decoding an xz file takes, by its first 64 bytes. Pure.

    The overhead alone where they do not say (an empty file, or nonsense that liblzma will refuse).
    """
    reader = _Integers(head, 14)
    flags = head[13] if len(head) > 13 else 0
    if len(head) <= 13 or head[12] == 0:  # no block at all: the index follows
        return _XZ_OVERHEAD
    for bit in (0x40, 0x80):
        if flags & bit:
            reader.take()
    for _ in range((flags & 3) + 1):
        number, size = reader.take(), reader.take()
        properties = head[reader.position : reader.position + size]
        reader.position += size
        if number == 0x21 and properties and properties[0] <= 40:
            bits = properties[0]
            return ((2 | bits & 1) << (bits // 2 + 11)) + _XZ_OVERHEAD
    return _XZ_OVERHEAD


class _Integers:
    """Variable length integers of the xz format, out of bytes; 0 past their end."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self.position = position

    def take(self) -> int:
        value = shift = 0
        while self.position < len(self._data) and shift < 63:
            byte = self._data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return value
