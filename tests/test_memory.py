"""The memory contract, of the whole process."""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import image_bytes, sanitized

MIB = 2**20
HUPFAST = Path(sys.executable).with_name("hupfast")


LAUNCHER = """
import os, sys
null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null)
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


def peak(*arguments: str | Path) -> int:
    """
    Peak resident memory in bytes of one hupfast command that must succeed.

    A process starts with the peak of the one that it was forked from, so that a small one stands between.
    """
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, HUPFAST, *arguments]
    code, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert code == "0"
    return int(kilobytes) * 1024


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """An image large enough to fill every ring: ordinary at level 19, whose window is 8 MiB, and chunked."""
    from hupfast.image import pack

    folder = tmp_path_factory.mktemp("memory")
    raw, zst, chunked = folder / "raw", folder / "zst", folder / "chunked"
    raw.write_bytes(image_bytes(96 * MIB, seed=5))
    subprocess.run(["zstd", "-q", "-3", "--zstd=wlog=23", raw, "-o", zst], check=True)
    pack(raw, chunked, level=1)
    return raw, zst, chunked


@pytest.mark.skipif(sanitized(), reason="a sanitizer's own memory is counted too")
@pytest.mark.parametrize("kind", [0, 1, 2], ids=["raw", "zstd with a window of 8 MiB", "chunked"])
def test_whole_process(images, tmp_path, kind):
    """`hupfast write` peaks below 32 MiB with the default budget, read-back included."""
    (tmp_path / "target").write_bytes(b"x" * 96 * MIB)

    assert peak("write", "--yes", images[kind], tmp_path / "target") < 32 * MIB


@pytest.mark.skipif(sanitized(), reason="a sanitizer's own memory is counted too")
def test_no_heavy_imports():
    """Writing an image imports no module that only other commands need."""
    code = (
        "import sys, hupfast.cli, hupfast.cli.write, hupfast.writer, hupfast.target\n"
        "heavy = {'json', 'tomllib', 'tarfile', 'urllib.request', 'ssl', 'xml.parsers.expat', 'zstandard', 'xxhash',"
        " 'hashlib', 'shutil', 'subprocess', 'tempfile', 'pathlib', 'lzma', 'bz2'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
