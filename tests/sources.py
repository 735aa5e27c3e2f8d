"""How tests read a source: by readinto, or by its descriptor as C does."""

import os

from hupfast.source import Source


def read_all(source: Source, step: int = 2**16) -> bytes:
    """All bytes that are left."""
    out = bytearray()
    buffer = bytearray(step)
    while got := source.readinto(memoryview(buffer)):
        out += buffer[:got]
    return bytes(out)


def read(source: Source, size: int) -> bytes:
    """`size` bytes, fewer at the end only."""
    buffer = bytearray(size)
    have = 0
    while have < size and (got := source.readinto(memoryview(buffer)[have:])):
        have += got
    return bytes(buffer[:have])


def read_fd(source: Source) -> bytes:
    """What C would read: the peeked bytes first, then the descriptor for as long as `size` says."""
    peeked = source.take_peeked()
    fd = source.fileno()
    assert fd is not None
    left = source.size if source.size is None else source.size - len(peeked)
    with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
        return peeked + (file.readall() if left is None else b"" if not left else file.read(left))
