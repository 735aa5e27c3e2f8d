"""What tests of remote files share: a file, how to read it, and a server that has it as /f."""

from contextlib import AbstractContextManager

from hupfast.source import Source
from servers import Behaviour, Misbehaving, misbehaving

DATA = bytes(range(251)) * 2000
SMALL = 16 * 1024


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


def serve(data: bytes = DATA, **how) -> AbstractContextManager[Misbehaving]:
    """A server with the file, which behaves as the keywords of Behaviour say."""
    return misbehaving({"/f": data}, Behaviour(**how))
