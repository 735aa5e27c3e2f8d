"""
Making and checking ext4 images from directories, without root: for the demo and for tests.
"""

import os
import shutil
import stat
from pathlib import Path

from hupfast.errors import HupfastError
from hupfast.system import explained, find_program, run

TOOLS = ("mkfs.ext4", "e2fsck", "tune2fs", "debugfs")

_SOURCES = ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/share", "/usr/include", "/usr/local")
_FILE_LIMIT = 48 << 20
_TIMEOUT = 600.0


def missing_tools() -> list[str]:
    """Programs of e2fsprogs that are not installed."""
    return [name for name in TOOLS if find_program(name) is None]


def put(tree: Path, name: str, data: bytes) -> None:
    """Write a file below a directory, replacing a file or link there, directories included."""
    path = tree / name
    with explained(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)


def make(tree: Path, image: Path, size: int) -> None:
    """Make an ext4 image of `size` bytes with the files of a directory. Raises: HupfastError."""
    run(
        [
            "mkfs.ext4",
            "-q",
            "-F",
            "-m",
            "0",
            "-E",
            "root_owner=0:0",
            "-d",
            str(tree),
            str(image),
            f"{size >> 10}K",
        ],
        timeout=_TIMEOUT,
    )


def is_clean(image: Path) -> bool:
    """Whether e2fsck, which changes nothing here, finds nothing to complain about."""
    return run(["e2fsck", "-f", "-n", str(image)], timeout=_TIMEOUT, check=False).status == 0


def collect(tree: Path, size: int, *, files: int) -> tuple[int, int]:
    """
    Copy files of the running machine below a directory, `size` bytes and `files` entries at most.

    Returns how many there are, and their bytes. Files that may not be read, special and very large ones are
    left out. Raises: HupfastError when nothing could be copied.
    """
    count = total = 0
    for source in _SOURCES:
        for parent, directories, names in os.walk(source):
            directories.sort()
            target = tree / parent.lstrip("/")
            with explained(f"cannot make {target}"):
                target.mkdir(parents=True, exist_ok=True)
            count += 1
            for name in sorted(names):
                room = min(size - total, _FILE_LIMIT)
                if room <= 0 or count >= files:
                    return count, total
                copied = _copy(Path(parent) / name, target / name, room)
                if copied is not None:
                    count, total = count + 1, total + copied
    if total == 0:
        raise HupfastError(f"no file below {', '.join(_SOURCES)} could be copied for the demo")
    return count, total


def change(tree: Path, every: int = 40) -> int:
    """Change one file of `every` in a tree, as an update would; returns how many were changed."""
    changed = seen = 0
    for parent, directories, names in os.walk(tree):
        directories.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_symlink():
                continue
            seen += 1
            if seen % every == 0:
                with explained(f"cannot change {path}"), path.open("ab") as file:
                    file.write(b"changed by the next version\n")
                changed += 1
    return changed


def _copy(source: Path, target: Path, room: int) -> int | None:
    """Copy a file or link when it can be and fits; returns its bytes, None when it was left out."""
    try:
        facts = source.lstat()
        if stat.S_ISLNK(facts.st_mode):
            target.symlink_to(os.readlink(source))
            return 0
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > room or not os.access(source, os.R_OK):
            return None
        shutil.copyfile(source, target)
        target.chmod(stat.S_IMODE(facts.st_mode) & 0o755 | 0o600)
    except (PermissionError, FileNotFoundError):
        return None
    except OSError as error:
        raise HupfastError(f"cannot copy {source} to {target}: {error.strerror}", errno=error.errno) from error
    return facts.st_size
