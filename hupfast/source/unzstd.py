"""
zstd decoded in Python, for packing on a build host: everywhere else zstd is the engine's.

The package `zstandard` is needed, and imported only here and in hupfast.image.
"""

from __future__ import annotations

from hupfast.errors import HupfastError
from hupfast.source.base import Source
from hupfast.source.decode import ZSTD_MAGIC, DecodedSource

# Input is given to libzstd in pieces of this size, as the only bound of what comes out: 4 bytes of input may
# stand for a block of 128 KiB.
_PIECE = 512
_WINDOW_MAX = 2**31
_MEMORY = _PIECE // 4 * 2**17


def decoded_zstd(source: Source) -> Source:
    """A source of the raw bytes in zstd frames. Raises HupfastError when `zstandard` is not installed."""
    try:
        import zstandard
    except ImportError:
        raise HupfastError("the Python package zstandard is needed to unpack zstd: pip install zstandard") from None
    context = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX)
    return DecodedSource(source, "zstd", ZSTD_MAGIC, lambda: _ZstdDecoder(context.decompressobj()), _MEMORY)


class _ZstdDecoder:
    """One frame; zstandard's interface, made that of lzma and bz2."""

    def __init__(self, frame) -> None:  # type: ignore[no-untyped-def]  # zstandard has no type for it
        self._frame = frame
        self._in = memoryview(b"")
        self._out = memoryview(b"")

    @property
    def eof(self) -> bool:
        return self._frame.eof and not self._out

    @property
    def needs_input(self) -> bool:
        return not self._in and not self._out

    @property
    def unused_data(self) -> bytes:
        return bytes(self._frame.unused_data) + bytes(self._in)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._in = memoryview(data)
        if not self._out:
            piece, self._in = self._in[:_PIECE], self._in[_PIECE:]
            self._out = memoryview(self._frame.decompress(piece))
        out, self._out = self._out[:max_length], self._out[max_length:]
        return bytes(out)
