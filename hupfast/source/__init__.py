"""
Where an image comes from: a stream of bytes, read forward, and from any offset where that can be.

`open_source` turns what the user named (a path, `-` for standard input, an `http(s)://` address, a
descriptor, a file object) into a Source. It looks at the first bytes, not at the name: gzip, xz and bzip2 are
decoded on the way (decode.py), raw and zstd bytes go through as they are.

    what was named                       class            who reads it
    file, block device                   FileSource       C, by its descriptor
    a part of one (member of a bundle)   SliceSource      C, by its descriptor
    pipe, socket, character device       PipeSource       C, after take_peeked()
    file object                          ObjectSource     readinto
    http(s)://                           HttpSource       readinto (remote.py, over the client in http.py)
    oci://                               OciSource        readinto (oci.py)
    gzip, xz, bzip2 of any of these      DecodedSource    readinto (decode.py)
    the next n bytes of any of these     PartSource       as the source that it is a part of

This module is imported on boards: it stays without pathlib, which costs a megabyte there.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from hupfast.errors import UsageError
from hupfast.source.base import BinaryFile, Source
from hupfast.source.local import FileSource, ObjectSource, PartSource, PipeSource, SliceSource, failed

if TYPE_CHECKING:
    from hupfast.source.transport import Transport

__all__ = [
    "BinaryFile",
    "FileSource",
    "ObjectSource",
    "PartSource",
    "PipeSource",
    "SliceSource",
    "Source",
    "SourceLike",
    "open_source",
]

SourceLike = str | os.PathLike[str] | int | BinaryFile | Source
"""What open_source takes: a path, `-`, an address, a descriptor, a binary file object, a Source."""

MEMORY_DEFAULT = 16 * 2**20
"""Budget of one write in bytes: the engine, and what reading and decoding take on this side."""

HTTP_MEMORY = 6 * 2**20
"""What Python's modules for http and TLS take."""


def open_source(
    location: SourceLike,
    *,
    memory: int = MEMORY_DEFAULT,
    transport: Transport | None = None,
    head: int | None = None,
    decode: bool = True,
) -> Source:
    """
    Open what the user named.

    A Source is returned as it is; a descriptor or a file object is read from where it stands, and stays open.

    memory: budget in bytes. What http, gzip, xz or bzip2 take of it is in Source.memory.
    transport: how addresses are reached; None: as Transport() says. head: bytes at the start that will
        be read first, and are all that is asked for until more is wanted. decode: False gives the bytes as they are,
        whatever they are: of what nobody has vouched for yet, no decoder may see a byte.
    Raises SourceError when it cannot be opened or read, UsageError when it is no kind of source, DataError when it
    is no image (a zip archive, a file called .gz that is no gzip file and the like),
    MemoryBudgetError when an xz file needs more memory to be decoded.
    """
    if isinstance(location, Source):
        return location
    source = _open(location, memory, transport, head)
    if not decode:
        return source
    try:
        from hupfast.source.decode import decoded

        return decoded(source, memory)
    except BaseException:
        source.close()
        raise


def _open(
    location: str | os.PathLike[str] | int | BinaryFile, memory: int, transport: Transport | None, head: int | None
) -> Source:
    if isinstance(location, int):
        return _open_fd(location, f"descriptor {location}", owned=False)
    if isinstance(location, (str, os.PathLike)):
        return _open_named(location, memory, transport, head)
    name = getattr(location, "name", None)
    if not isinstance(name, str):
        name = "the file object"
    if not hasattr(location, "read"):
        raise UsageError(f"an image cannot be read from a {type(location).__name__}")
    return ObjectSource(location, name)


def _open_named(location: str | os.PathLike[str], memory: int, transport: Transport | None, head: int | None) -> Source:
    if location == "-":
        if os.isatty(0):
            raise UsageError("standard input is a terminal: pipe the image into it, or name a file")
        return _open_fd(0, "standard input", owned=False)
    path = os.fspath(location)
    scheme, separator, _ = path.partition("://")
    if separator and scheme.replace("+", "").isalnum():
        if scheme.lower() in ("oci", "oci+http", "oci+https"):
            from hupfast.source.oci import OciSource

            return OciSource(path, transport=transport, memory=min(HTTP_MEMORY, memory // 2))
        if scheme.lower() not in ("http", "https"):
            raise UsageError(f"{scheme}:// is not understood: give a path, http://, https://, oci:// or -")
        from hupfast.source.remote import HttpSource

        return HttpSource(path, transport=transport, first=(0, head), memory=min(HTTP_MEMORY, memory // 2))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise failed(path, error) from error
    try:
        return _open_fd(fd, path, owned=True)
    except BaseException:
        os.close(fd)
        raise


def _open_fd(fd: int, name: str, *, owned: bool) -> Source:
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
            start = os.lseek(fd, 0, os.SEEK_CUR)
            end = os.lseek(fd, 0, os.SEEK_END)  # a block device tells its size in no other way
            os.lseek(fd, start, os.SEEK_SET)
            return FileSource(fd, name, offset=start, size=max(end - start, 0), owned=owned)
    except OSError as error:
        raise failed(name, error) from error
    return PipeSource(fd, name, owned=owned)
