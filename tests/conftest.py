"""What tests share: images made once, real loop devices, and reasons to skip."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

MIB = 2**20

# How long an example takes says something of the machine, and of who else uses it.
settings.register_profile("hupfast", deadline=None)
settings.load_profile("hupfast")

# The benchmarks are a package of the tree. Behind all others: hupfast/ beside it has no engine.
ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

# Programs that tests start in this folder must not take hupfast/ beside them, which has no engine, for the package.
os.environ["PYTHONSAFEPATH"] = "1"


def sanitized() -> bool:
    """Is the engine under test built with a sanitizer? Memory cannot be measured then."""
    return bool(os.environ.get("HUPFAST_SANITIZED"))


@dataclass(frozen=True)
class Image:
    """One raw image and its packed forms, all made by other people's programs, but for the chunked one."""

    raw: Path
    zst: Path
    chunked: Path
    bytes: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.bytes).hexdigest()


def image_bytes(size: int, seed: int = 1) -> bytes:
    """Bytes as in a filesystem: noise, text, holes; of any length."""
    chaos = random.Random(seed)
    text = b"".join(b"%d bottles of beer\n" % chaos.randrange(99) for _ in range(4000))
    parts, have = [], 0
    while have < size:
        length = chaos.choice([4096, 65536, 300_000, MIB, 3 * MIB])
        kind = chaos.randrange(3)
        part = [chaos.randbytes(length), bytes(length), text * (length // len(text) + 1)][kind]
        parts.append(part[:length])
        have += length
    return b"".join(parts)[:size]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """An image of 12 MiB and a bit, whose end is no whole sector."""
    from hupfast.image import pack

    if not shutil.which("zstd"):
        pytest.skip("the zstd program is not installed")
    folder = tmp_path_factory.mktemp("image")
    data = image_bytes(12 * MIB + 1234)
    found = Image(folder / "image.img", folder / "image.img.zst", folder / "image.chunked.zst", data)
    found.raw.write_bytes(data)
    subprocess.run(["zstd", "-q", "-3", found.raw, "-o", found.zst], check=True)
    pack(found.raw, found.chunked, level=3, chunk_size=256 * 1024)
    return found


@pytest.fixture(params=[512, 4096])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A loop device of 16 MiB with direct I/O and old content, in both sector sizes."""
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    backing = tmp_path / "backing"
    backing.write_bytes(b"old " * (4 * MIB))
    made = subprocess.run(
        ["losetup", "--find", "--show", "--direct-io=on", f"--sector-size={request.param}", str(backing)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no loop device here: {made.stderr.strip()}")
    path = Path(made.stdout.strip())
    try:
        yield path
    finally:
        subprocess.run(["losetup", "--detach", path], check=True)


def content(path: Path, size: int | None = None) -> bytes:
    """The bytes of a file or device, up to size, read past this process's caches."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        data = b""
        while part := file.read(-1 if size is None else size - len(data)):
            data += part
        return data
