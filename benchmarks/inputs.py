"""
What the suites read: one image of 32 MiB in every form, made once and kept.

A third of it is noise, a third text, and a third zeroes, in pieces of 192 KiB, so that most chunks have some of each.
"""

import hashlib
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hupfast
from benchmarks.images import kept
from benchmarks.machine import run
from hupfast.image import pack

MIB = 1 << 20
SIZE = 32 * MIB
LEVELS = (3, 9, 19)

RECIPE = 1
"""Part of the name of the kept folder: raise it when the image is to be made in another way."""

_PIECE = 192 << 10
_MAKERS = ("image.py", "table.py", "bundling.py", "manifest.py", "signatures.py", "tar.py")


@dataclass(frozen=True)
class Inputs:
    """
    Files, and what is in them.

    zst: ordinary images by their levels. chunked: as `hupfast pack` makes it. bundle: signed, for the virtual board;
    key: the public one that has signed it. sha256: of the raw image, in hexadecimal.
    """

    folder: Path
    sha256: str

    @property
    def raw(self) -> Path:
        return self.folder / "image.img"

    @property
    def chunked(self) -> Path:
        return self.folder / "chunked.zst"

    @property
    def bundle(self) -> Path:
        return self.folder / "image.hup"

    @property
    def key(self) -> Path:
        return self.folder / "bench.pem"

    def zst(self, level: int) -> Path:
        return self.folder / f"image-{level}.zst"


def chunks(data: bytes, size: int = MIB) -> Sequence[bytes]:
    """Pieces of `size` bytes."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def inputs(directory: Path) -> Inputs:
    """
    The files below directory; other ones when hupfast makes them in another way. Raises: BenchmarkError without zstd.

    Two versions of hupfast that are compared read the same ones, unless one may not understand what the other makes.
    """
    makers = [path for name in _MAKERS if (path := Path(hupfast.__file__).with_name(name)).exists()]
    code = hashlib.sha256(b"".join(path.read_bytes() for path in makers)).hexdigest()[:12]
    folder = directory / f"inputs-r{RECIPE}-{code}"

    def make() -> dict[str, object]:
        return {"sha256": _make(Inputs(folder, ""))}

    folder.mkdir(parents=True, exist_ok=True)
    return Inputs(folder, str(kept(folder / "facts.json", make)["sha256"]))


def _make(wanted: Inputs) -> str:
    """Make all files; returns the digest."""
    shutil.rmtree(wanted.folder)
    wanted.folder.mkdir()
    data = _image()
    wanted.raw.write_bytes(data)
    for level in LEVELS:
        run(["zstd", "-q", f"-{level}", wanted.raw, "-o", wanted.zst(level)])
    pack(wanted.raw, wanted.chunked)
    _bundle(wanted)
    return hashlib.sha256(data).hexdigest()


def _image() -> bytes:
    dice = random.Random(1)
    words = [dice.randbytes(7) for _ in range(500)]
    parts: list[bytes] = []
    for number in range(-(-SIZE // _PIECE)):
        text = b"".join(dice.choices(words, k=_PIECE // 7 + 1))[:_PIECE]
        parts.append((dice.randbytes(_PIECE), text, bytes(_PIECE))[number % 3])
    return b"".join(parts)[:SIZE]


def _bundle(wanted: Inputs) -> None:
    """A signed bundle of the chunked image, with a kernel."""
    from hupfast.bundling import create_bundle
    from hupfast.signing import make_key, sign

    boot = wanted.folder / "boot"
    boot.mkdir()
    (boot / "kernel").write_bytes(b"the kernel of 2.0\n" * 1000)
    pair = make_key(wanted.key.with_suffix(""))
    create_bundle(
        wanted.bundle,
        name="bench-os",
        version="2.0",
        boards=["virtual"],
        image=wanted.chunked,
        pack=lambda source, out: None,  # never called: it is packed
        boot=boot,
    )
    sign(wanted.bundle, pair.private, force=True)
