"""
The image that every contender writes, in every form that one of them wants, built once and kept.

    image.img    ext4, 70% of it real files of this machine, sparse as mkfs leaves it
    image.zst    `zstd -3`, one ordinary frame
    image.bmap   `bmaptool create`
    chunked-3    `hupfast pack --level 3`: what chunks cost, with the same decoding
    chunked      `hupfast pack` with its defaults: what users get
"""

import hashlib
import json
import os
import shutil
import stat
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.direct import digest
from benchmarks.machine import BenchmarkError, missing, run

RECIPE = 1
"""Part of the name of the kept folder: raise it when the image is to be built in another way."""

SHARE = 0.70
"""How much of the image is content of real files."""

SMALL = 64 << 20
"""Below this size the journal and the inodes take so much of the image that the files get 0.4 of it."""

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Images:
    """
    Paths, None for what could not be made here, and what must be on a target afterwards.

    ranges, mapped: (offset, length) of the whole image, and of the blocks that the bmap maps.
    whole_sha256, mapped_sha256: of these bytes, in hexadecimal.
    nonzero: bytes in blocks of 4 KiB that are not all zero.
    """

    size: int
    nonzero: int
    raw: Path
    zst: Path
    whole_sha256: str
    bmap: Path | None
    mapped: Ranges
    mapped_sha256: str
    chunked3: Path | None = None
    chunked: Path | None = None

    @property
    def ranges(self) -> Ranges:
        return ((0, self.size),)

    def facts(self) -> dict[str, object]:
        """For the result file: sizes in bytes."""
        forms = {"zst": self.zst, "chunked3": self.chunked3, "chunked": self.chunked}
        packed = {name: path.stat().st_size if path else None for name, path in forms.items()}
        mapped = sum(length for _, length in self.mapped)
        return {"size": self.size, "nonzero": self.nonzero, "mapped": mapped, "packed": packed}


def _files(root: Path) -> Iterator[tuple[str, Path, int]]:
    """(sort key, path, size) of the regular files below root. The key mixes them, the same way every time."""
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size:
                yield hashlib.sha256(os.fsencode(path)).hexdigest(), path, status.st_size


def stage(root: Path, folder: Path, size: int) -> None:
    """Copy files from below root into folder, until `size` bytes are there."""
    copied = 0
    for _, path, length in sorted(_files(root)):
        if copied + length > size:
            continue
        copy = folder / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o644)
        os.utime(copy, (0, 0))
        copied += length
        if copied > size - (64 << 10):
            return
    if copied < size * 0.9:
        raise BenchmarkError(f"{root} holds only {copied} bytes of files: the image wants {size}")


def _nonzero(path: Path) -> int:
    """Bytes of the file in blocks of 4 KiB that are not all zero."""
    zero = bytes(4096)
    with path.open("rb") as file:
        return sum(len(block) for block in iter(lambda: file.read(4096), b"") if block != zero[: len(block)])


def bmap_ranges(path: Path) -> Ranges:
    """The mapped (offset, length) ranges of a .bmap, in bytes. Our own reading, independent of hupfast's."""
    root = ElementTree.parse(path).getroot()
    block = int(root.findtext("BlockSize", "").strip())
    size = int(root.findtext("ImageSize", "").strip())
    ranges = []
    for element in root.iterfind("BlockMap/Range"):
        first, _, last = (element.text or "").strip().partition("-")
        start, end = int(first) * block, (int(last or first) + 1) * block
        ranges.append((start, min(end, size) - start))
    return tuple(ranges)


def _build(folder: Path, size: int) -> None:
    """Fill folder with all that does not need hupfast."""
    absent = missing("mkfs.ext4", "zstd")
    if absent:
        raise BenchmarkError(f"the image cannot be built: {absent}")
    folder.mkdir(parents=True)
    raw, staged = folder / "image.img", folder / "files"
    stage(Path("/usr"), staged, int(size * (SHARE if size >= SMALL else 0.4)))
    with raw.open("wb") as file:
        file.truncate(size)
    fixed = "6e0b1f0c-9d1f-4f0e-8a57-000000000001"
    options = ["-U", fixed, "-E", f"hash_seed={fixed}", "-N", str(max(2000, size // 16384))]
    argv = ["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", *options, "-d", str(staged), str(raw)]
    run(argv, env={"E2FSPROGS_FAKE_TIME": "1000000000"})
    shutil.rmtree(staged)
    run(["zstd", "-q", "-3", "-f", "-k", raw, "-o", folder / "image.zst"])
    if not missing("bmaptool"):
        run(["bmaptool", "create", "-o", folder / "image.bmap", raw])


def _facts(folder: Path, size: int) -> dict[str, object]:
    """What has to be computed from all of the image, once."""
    raw, bmap = folder / "image.img", folder / "image.bmap"
    mapped = bmap_ranges(bmap) if bmap.exists() else ()
    return {
        "nonzero": _nonzero(raw),
        "whole_sha256": digest(raw, ((0, size),), direct=False),
        "mapped": mapped,
        "mapped_sha256": digest(raw, mapped, direct=False),
    }


def kept(path: Path, make: Callable[[], dict[str, object]]) -> dict[str, Any]:
    """What make() gave the last time, from a JSON file that is written when it has ended well."""
    if not path.exists():
        path.write_text(json.dumps(make(), indent=1))
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def build(directory: Path, size: int) -> Images:
    """The image of `size` bytes below directory, built if need be. BenchmarkError: what is missing."""
    folder = directory / f"image-{size >> 20}M-r{RECIPE}"
    bmap, facts = folder / "image.bmap", folder / "facts.json"

    def make() -> dict[str, object]:
        shutil.rmtree(folder, ignore_errors=True)
        _build(folder, size)
        return _facts(folder, size)

    if not bmap.exists() and not missing("bmaptool"):
        facts.unlink(missing_ok=True)  # bmaptool was installed since
    known = kept(facts, make)
    return Images(
        size=size,
        nonzero=known["nonzero"],
        raw=folder / "image.img",
        zst=folder / "image.zst",
        whole_sha256=known["whole_sha256"],
        bmap=bmap if bmap.exists() else None,
        mapped=tuple((start, length) for start, length in known["mapped"]),
        mapped_sha256=known["mapped_sha256"],
    )
