"""
What is found out about an image before a byte of the target changes: its kind, its size, its digest, its map.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hupfast import engine
from hupfast.engine import MEMORY_DEFAULT
from hupfast.errors import DataError, DigestError, MemoryBudgetError, Refused, UsageError
from hupfast.feed import ProgressFunction, checking, feed, wait
from hupfast.run import Run
from hupfast.target import Target, check_not_source, check_target

if TYPE_CHECKING:
    from hupfast.bmap import Bmap
    from hupfast.source import Source


def examine(stream: Source, budget: int) -> engine.ImageInfo | None:
    """What the image's head says; None for one that is decoded on this side. Refuses what does not fit the budget."""
    if stream.format == "raw":
        return None
    info = engine.probe(stream.peek(engine.PROBE_SIZE))
    if info.memory > budget:
        raise MemoryBudgetError(
            f"{stream.name} needs a memory budget of {-(-info.memory // 2**20)}M "
            f"(it has a {'chunk size' if info.chunk_size else 'zstd window'} of {info.window >> 10} KiB), "
            f"and the budget is {budget >> 10} KiB: set --memory",
            needed=info.memory,
        )
    return info


def known_size(stream: Source, info: engine.ImageInfo | None, promised: int | None) -> int | None:
    """Raw bytes of the image, when that is known in advance. DataError when they are not the promised ones."""
    found = None if info is None else stream.size if info.format == "raw" else info.image_size
    if found is not None and promised is not None and found != promised:
        raise DataError(f"{stream.name} has {found} bytes, and not the {promised} that were promised")
    return promised if found is None else found


@dataclass(frozen=True)
class Prepared:
    """What is known before a run. size: raw bytes of the image or None. target: as check_target found it."""

    size: int | None
    block_map: Bmap | None
    target: Target


def prepare(
    stream: Source,
    target: str | os.PathLike[str],
    memory: int,
    *,
    bmap: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    create: bool = False,
    writing: bool = True,
) -> Prepared:
    """Refuse all that can be refused by looking at the image's head, the block map and the target."""
    if memory <= 0:
        needed = stream.memory + 2**20
        raise MemoryBudgetError(
            f"decoding {stream.name} takes {stream.memory >> 10} KiB of memory, and leaves nothing of the budget: "
            f"set --memory {-(-needed // 2**20)}M",
            needed=needed,
        )
    info = examine(stream, memory)
    size = known_size(stream, info, image_size)
    if size is None and info is not None and info.format == "raw" and not stream.end_is_told:
        raise Refused(
            f"the server does not tell the size of {stream.name}, so that a raw image that breaks off would pass for a "
            "whole one: compress it, or download it to a file first"
        )
    block_map = load_map(bmap, size)
    if block_map is not None:
        size = block_map.image_size
    at_least = size if size is not None else info.least_size if info else None
    found = check_target(target, image_size=at_least, create=create, writing=writing)
    if writing:
        check_not_source(found, stream.origin.fileno())
    return Prepared(size, block_map, found)


def load_map(path: str | os.PathLike[str] | None, image_size: int | None) -> Bmap | None:
    if path is None:
        return None
    from hupfast.bmap import load

    block_map = load(path)
    if image_size is not None and image_size != block_map.image_size:
        raise Refused(
            f"{os.fspath(path)} describes an image of {block_map.image_size} bytes, "
            f"and this image has {image_size}: use the block map that was made with the image"
        )
    return block_map


def check_digest(
    stream: Source, wanted: str | None, memory: int = MEMORY_DEFAULT, progress: ProgressFunction | None = None
) -> bytes | None:
    """
    Check the digest now where the source can be read twice, and arrange for it to be checked as it is read for good.

    What would be fetched twice is read once.

    Returns what the engine has to check: None where the bytes that it sees are not those that were promised.
    """
    if wanted is None:
        return None
    try:
        digest = bytes.fromhex(wanted)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise UsageError("a SHA-256 is 64 hexadecimal digits")
    if stream.origin.seekable and not stream.origin.remote:
        _check_whole(stream, digest, memory, progress)
    from hupfast.source.decode import DecodedSource

    if isinstance(stream, DecodedSource):
        stream.expect_sha256(digest)
        return None
    return digest


def _check_whole(stream: Source, digest: bytes, memory: int, progress: ProgressFunction | None) -> None:
    """Read the file as it is stored through the engine, which writes nothing, and start it again."""
    stream.rewind()
    origin = stream.origin
    with Run("check", None, memory=memory, format="raw", image_size=origin.size, sha256=digest) as run:
        show = checking(progress)
        feed(run, origin, show)
        try:
            wait(run, show)
        except DigestError as error:
            raise DigestError(f"{stream.name} does not have the SHA-256 {digest.hex()}; nothing was written") from error
    stream.rewind()
