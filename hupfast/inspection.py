"""
Whether a bundle is whole, to its last byte: what `hupfast bundle verify` does, on any machine.

```
signature -> manifest -> digest of each boot file and raw member
                      -> chunk table -> digest of each frame -> digest of its raw bytes
```
The members are read once and in order, so the bundle may be a stream. Of the bytes that no digest covers, the tar
headers must be those that the manifest asks for, and everything else must be zero.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hupfast.bundle import Bundle
from hupfast.engine import MEMORY_DEFAULT, PROBE_SIZE, probe
from hupfast.errors import DataError
from hupfast.feed import wait
from hupfast.keys import Key
from hupfast.manifest import ImageMember, Manifest
from hupfast.run import Run
from hupfast.source import Source
from hupfast.trust import check_trust

if TYPE_CHECKING:
    from hupfast.feed import ProgressFunction


_TICK = 0.1
_MEMORY_LIMIT = 1 << 30


@dataclass(frozen=True)
class Inspection:
    """A bundle that is whole. key: who has signed it, None when that was not asked for. image_size: raw bytes."""

    manifest: Manifest
    digest: str
    key: Key | None
    image_size: int


def verify_bundle(
    bundle: Bundle, keys: Sequence[Key], *, allow_unsigned: bool = False, progress: "ProgressFunction | None" = None
) -> Inspection:
    """
    Check signatures, then every member of an open bundle.

    Raises: what check_trust raises; DataError and DigestError (5) for the first thing that is wrong; SourceError.
    """
    key = check_trust(bundle.front, keys, allow_unsigned=allow_unsigned)
    manifest = bundle.accept()
    for member in (*manifest.boot, *manifest.raw):
        for _ in bundle.boot_file(member):
            pass
    image_size = check_image(bundle, manifest.image, progress)
    _check_end(bundle)
    return Inspection(manifest, bundle.front.digest, key, image_size)


def check_image(bundle: Bundle, image: ImageMember, progress: "ProgressFunction | None" = None) -> int:
    """
    Decode the image of a bundle, whose manifest was accepted, and check every frame of it. Returns its raw size.

    Raises: DataError and DigestError for the first thing that is wrong; SourceError.
    """
    with bundle.image() as source:
        head = probe(source.peek(PROBE_SIZE))
        if (head.format, head.image_size, head.chunk_size) != ("chunked", image.image_size, image.chunk_size):
            raise DataError(f"{image.name} in the bundle {bundle.name} is not the image that its manifest tells of")
        with Run(
            "check",
            None,
            memory=min(max(MEMORY_DEFAULT, head.memory), _MEMORY_LIMIT),
            format="chunked",
            image_size=image.image_size,
            table_sha256=image.table_sha256,
        ) as run:
            _feed(run, source, progress)
            report = wait(run, progress)
    return int(report.image_size)


def _feed(run: Run, source: Source, progress: "ProgressFunction | None") -> None:
    """By Python and not by descriptor, so that what is behind the image can be read from a stream afterwards."""
    told = time.monotonic()
    while (room := run.acquire(_TICK)) is None or room:
        if progress is not None and time.monotonic() - told >= _TICK:
            told = time.monotonic()
            progress(run.progress())
        if room is None:
            continue
        got = source.readinto(room)
        run.commit(got)
        if not got:
            run.end()
            return


def _check_end(bundle: Bundle) -> None:
    """Behind the image there is padding, and the zero blocks that end a tar."""
    if any(any(piece) for piece in bundle.rest()):
        raise DataError(f"the bundle {bundle.name} has bytes behind its image that do not belong to it")
