"""
Where what is in a bundle: each byte belongs to one region. By the standard library's tarfile, and the drawing of the
chunk table in hupfast/table.py; not by the code that reads bundles.

    for region in regions(data):
        region.name     "manifest.json", "boot/kernel header", "rootfs.img.zst padding", "frame 7", "end", ...
"""

import io
import itertools
import struct
import tarfile
from typing import NamedTuple

BLOCK = 512
_HEAD, _ENTRY, _DIGEST = 72, 88, 32


class Region(NamedTuple):
    """Bytes from `start` up to `end` of a bundle."""

    name: str
    start: int
    end: int

    @property
    def middle(self) -> int:
        """A byte in it."""
        return (self.start + self.end) // 2


def regions(data: bytes) -> list[Region]:
    """All regions, in their order, without a gap."""
    found: list[Region] = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            start, end = member.offset_data, member.offset_data + member.size
            found.append(Region(f"{member.name} header", member.offset, start))
            if member.name.endswith(".zst"):
                found += _image(data[start:end], start)
            elif member.size:
                found.append(Region(member.name, start, end))
            if end % BLOCK:
                found.append(Region(f"{member.name} padding", end, end + BLOCK - end % BLOCK))
    found.append(Region("end", found[-1].end, len(data)))
    assert all(one.end == other.start for one, other in itertools.pairwise(found))
    return found


def region(data: bytes, name: str) -> Region:
    """The one region of this name."""
    return next(one for one in regions(data) if one.name == name)


def frames(data: bytes) -> list[Region]:
    """The frames of the image's chunks."""
    return [one for one in regions(data) if one.name.startswith("frame ")]


def _image(image: bytes, base: int) -> list[Region]:
    (count,) = struct.unpack_from("<I", image, 28)
    entries_end = _HEAD + count * _ENTRY
    found = [
        Region("table head", base, base + _HEAD),
        Region("table entries", base + _HEAD, base + entries_end),
        Region("table digest", base + entries_end, base + entries_end + _DIGEST),
    ]
    for index in range(count):
        (length,) = struct.unpack_from("<I", image, _HEAD + index * _ENTRY)
        start = found[-1].end
        found.append(Region(f"frame {index}", start, start + length))
    return found
