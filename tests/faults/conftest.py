"""
What the fault tests share: a shim that makes one file or device fail, targets with old content, images of every
kind, and the command line in a process of its own under that shim.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

KIB = 2**10
MIB = 2**20

SHIM = Path(__file__).parents[1] / "shim"
ROOM = 4 * MIB
OLD = b"old "
CHUNK = 256 * KIB


@dataclass(frozen=True)
class Images:
    """One raw image and its packed forms by name. bytes: the raw ones, noise, text and zeroes."""

    bytes: bytes
    paths: dict[str, Path]


@dataclass(frozen=True)
class Target:
    """A file or device, full of OLD when a test starts."""

    path: Path
    backing: Path | None = None
    """What a loop device lies on."""

    def read(self) -> bytes:
        """All of it, past the page cache where that can be."""
        with open(self.path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return b"".join(iter(lambda: file.read(MIB), b""))

    def refill(self) -> None:
        """OLD all over."""
        with open(self.path, "r+b", buffering=0) as file:
            for _ in range(ROOM // MIB):
                file.write(OLD * (MIB // len(OLD)))
            os.fsync(file.fileno())

    def holds(self, image: bytes) -> bool:
        """The image, and behind it what was there before."""
        now = self.read()
        return now[: len(image)] == image and self.is_untouched_from(len(image), now)

    def is_untouched_from(self, offset: int, now: bytes | None = None) -> bool:
        """OLD is there from offset to the end."""
        now = self.read() if now is None else now
        return len(now) == ROOM and now[offset:] == (OLD * (ROOM // len(OLD)))[offset:]


@dataclass(frozen=True)
class Hit:
    """A call that went wrong, as the shim tells it."""

    op: str
    kind: str
    offset: int
    length: int


@dataclass(frozen=True)
class Ended:
    """How a command ended. json: its one document; words: standard error."""

    code: int
    json: dict[str, object]
    words: str
    hits: list[Hit] = field(default_factory=list)


@dataclass(frozen=True)
class Command:
    """`hupfast` in a process of its own, with the shim in it."""

    shim: Path
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "faults.log"

    def environment(self, fault: str, on: Path | None) -> dict[str, str]:
        """Variables for a process in which `fault` happens to the file `on`."""
        self.log.unlink(missing_ok=True)
        preload = f"{os.environ.get('LD_PRELOAD', '')} {self.shim}".strip()  # a sanitizer's must be the first
        variables = {"LD_PRELOAD": preload, "HUP_FAULT_LOG": str(self.log)}
        if fault:
            variables |= {"HUP_FAULT": fault, "HUP_FAULT_PATH": str(on)}
        return {**os.environ, **variables}

    def start(
        self, *argv: str | Path, fault: str = "", on: Path | None = None, stdin: int | None = subprocess.DEVNULL
    ) -> "subprocess.Popen[str]":
        """Start it, and do not wait."""
        return subprocess.Popen(
            [sys.executable, "-m", "hupfast", *map(str, argv)],
            env=self.environment(fault, on),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_fault(self, process: "subprocess.Popen[str]") -> None:
        """Wait until a call has gone wrong in it, or been slow."""
        while not self.log.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)

    def hits(self) -> list[Hit]:
        """What went wrong until now."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [Hit(op, kind, int(at), int(n)) for op, kind, at, n in map(str.split, lines)]

    def finish(self, process: "subprocess.Popen[str]", *, as_json: bool = True) -> Ended:
        """Wait for the end. It must be an orderly one: no traceback, and one error that is one line."""
        out, words = process.communicate(timeout=60)
        assert "Traceback" not in words
        assert "error of hupfast itself" not in words + out
        assert 0 <= process.returncode <= 9
        document = json.loads(out) if as_json else {}
        if as_json:
            assert document["exit_code"] == process.returncode
            assert words == ""
        hits = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return Ended(process.returncode, document, words, [Hit(op, kind, int(at), int(n)) for op, kind, at, n in hits])

    def __call__(self, *argv: str | Path, fault: str = "", on: Path | None = None) -> Ended:
        """Run it with --json, quietly."""
        return self.finish(self.start(*argv, "--json", "--quiet", fault=fault, on=on))

    def with_image_changed(self, *argv: str | Path, image: Path) -> Ended:
        """Run it, and change a bit near the image's end when it has begun to read the image for the second time."""
        process = self.start(*argv, "--json", "--quiet", fault="source:slow:1:inf", on=image)
        at = [0]
        while all(before <= after for before, after in pairwise(at)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
            at = [hit.offset for hit in self.hits()]
        with open(image, "r+b") as file:
            file.seek(-300, os.SEEK_END)
            byte = file.read(1)[0]
            file.seek(-300, os.SEEK_END)
            file.write(bytes([byte ^ 8]))
        return self.finish(process)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim as a shared object, compiled here."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) is installed")
    out = tmp_path_factory.mktemp("shim") / "faults.so"
    flags = ["-std=c11", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    flags += ["-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64"]
    subprocess.run([compiler, *flags, SHIM / "faults.c", SHIM / "calls.c", "-o", out, "-ldl"], check=True)
    return out


@pytest.fixture
def command(shim: Path, tmp_path: Path) -> Command:
    return Command(shim, tmp_path)


def chunked(raw: bytes, size: int) -> bytes:
    """A chunked image by the drawing in csrc/table.c, made without hupfast."""
    import hashlib
    import struct

    import xxhash
    import zstandard

    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    frames = [zstandard.ZstdCompressor(3).compress(piece) for piece in pieces]
    entries = b"".join(
        struct.pack("<II", len(frame), not any(piece))
        + hashlib.sha256(frame).digest()
        + xxhash.xxh3_128_digest(piece)
        + hashlib.sha256(piece).digest()
        for piece, frame in zip(pieces, frames, strict=True)
    )
    data = b"".join(frames)
    head = struct.pack(
        "<II8sQIIQ32x", 0x184D2A5C, 64 + len(entries) + 32, b"HUPCHNK2", len(raw), size, len(pieces), len(data)
    )
    table = head + entries
    return table + hashlib.sha256(table).digest() + data


def zstd(raw: bytes, *, checksum: bool, size: bool = True) -> bytes:
    """One zstd frame with a window of 128 KiB."""
    import zstandard

    settings = zstandard.ZstdCompressionParameters(
        compression_level=3, window_log=17, write_checksum=checksum, write_content_size=size
    )
    packer = zstandard.ZstdCompressor(compression_params=settings).compressobj(size=len(raw) if size else -1)
    return packer.compress(raw) + packer.flush()


@pytest.fixture(scope="session")
def pack_chunked() -> Callable[[bytes, int], bytes]:
    return chunked


@pytest.fixture(scope="session")
def pack_zstd() -> Callable[..., bytes]:
    return zstd


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """An image of 3 MiB and a bit, whose end is no whole sector, and its packed forms."""
    import bz2
    import gzip
    import lzma
    import random

    text = b"".join(b"%d green bottles\n" % (n * n % 997) for n in range(70_000))
    raw = random.Random(5).randbytes(MIB + 5000) + text[:MIB] + bytes(MIB) + b"the end of it " * 50
    folder = tmp_path_factory.mktemp("images")
    packed = {
        "raw": raw,
        "zst": zstd(raw, checksum=True),
        "plain.zst": zstd(raw, checksum=False),
        "unsized.zst": zstd(raw, checksum=True, size=False),
        "chunked.zst": chunked(raw, CHUNK),
        "gz": gzip.compress(raw, 1, mtime=0),
        "xz": lzma.compress(raw, preset=0),
        "bz2": bz2.compress(raw, 1),
    }
    paths = {}
    for name, data in packed.items():
        paths[name] = folder / f"image.{name}"
        paths[name].write_bytes(data)
    return Images(raw, paths)


@pytest.fixture(scope="session")
def make_device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Target]]:
    """Makes loop devices, one for each sector size, and takes them away at the end."""
    made: dict[int, Target] = {}

    def make(sector: int) -> Target:
        if os.geteuid() != 0:
            pytest.skip("loop devices need root")
        if sector not in made:
            backing = tmp_path_factory.mktemp("device") / "backing"
            backing.write_bytes(bytes(ROOM))
            argv = ["losetup", "--find", "--show", f"--sector-size={sector}", str(backing)]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no loop device here: {done.stderr.strip()}")
            made[sector] = Target(Path(done.stdout.strip()), backing)
        return made[sector]

    yield make
    for target in made.values():
        subprocess.run(["losetup", "--detach", target.path], check=True)


@pytest.fixture
def device(make_device: Callable[[int], Target]) -> Target:
    """A loop device with sectors of 512 bytes."""
    target = make_device(512)
    target.refill()
    return target


@pytest.fixture
def large_sectors(make_device: Callable[[int], Target]) -> Target:
    """A loop device with sectors of 4096 bytes."""
    target = make_device(4096)
    target.refill()
    return target


@pytest.fixture
def slot(tmp_path: Path) -> Target:
    """A regular file."""
    path = tmp_path / "slot"
    path.write_bytes(OLD * (ROOM // len(OLD)))
    return Target(path)


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Target:
    """The device where there can be one, else the file."""
    found: Target = request.getfixturevalue("device" if os.geteuid() == 0 else "slot")
    return found


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """Makes a small tmpfs or ext4; the latter lies in the file tmp_path / "ext4"."""
    made = []

    def mount(kind: str, size: int) -> Path:
        if os.geteuid() != 0:
            pytest.skip("mounting needs root")
        folder = tmp_path / f"on {kind}"
        folder.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder]
        if kind == "ext4":
            if not shutil.which("mkfs.ext4"):
                pytest.skip("mkfs.ext4 is not installed")
            disk = tmp_path / kind
            disk.write_bytes(b"")
            os.truncate(disk, size)
            subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", disk], check=True)
            argv = ["mount", "-o", "loop", disk, folder]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no mounting here: {done.stderr.strip()}")
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", folder], check=True)
