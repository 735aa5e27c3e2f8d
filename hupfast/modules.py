"""
Custom kernel modules: loaded ones that are not part of the running system, and would be gone with the new one.

    /proc/modules                        one line for each: "NAME SIZE USERS NEEDED-BY STATE ADDRESS"
    /proc/sys/kernel/osrelease           RELEASE of the running kernel, one line
    /lib/modules/RELEASE/                or below /usr/lib: NAME.ko, .ko.xz, .ko.zst, .ko.gz, in any directory
    /lib/modules/RELEASE/modules.builtin lines such as "kernel/fs/ext4/ext4.ko"

"-" and "_" are the same in a name, as modprobe has it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from hupfast.system import explained, read_small, under

_SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")


def custom_modules(root: Path) -> list[str]:
    """
    The loaded modules that the running system has no file for, in the order of their names.

    None where nothing can be said: no /proc/modules, or no directory of modules. Raises: HupfastError.
    """
    loaded = read_small(under(root, "/proc/modules"))
    if not loaded:
        return []
    directories = _directories(root)
    if not directories:
        return []
    left = {_name(line.split()[0]) for line in loaded.decode("utf-8", "replace").splitlines() if line.strip()}
    for directory in directories:
        for name in _known(directory):
            left.discard(name)
            if not left:
                return []
    return sorted(left)


def _directories(root: Path) -> list[Path]:
    """Where the modules of the running kernel are: one directory, under both names on most systems."""
    release = (read_small(under(root, "/proc/sys/kernel/osrelease")) or b"").decode("utf-8", "replace").strip()
    if not release or "/" in release or release in (".", ".."):
        return []
    found: dict[tuple[int, int], Path] = {}
    for path in ("/lib/modules", "/usr/lib/modules"):
        directory = under(root, path) / release
        if directory.is_dir():
            facts = directory.stat()
            found.setdefault((facts.st_dev, facts.st_ino), directory)
    return list(found.values())


def _known(directory: Path) -> Iterator[str]:
    """The names of the modules that are built in, then of those with a file."""
    builtin = read_small(directory / "modules.builtin") or b""
    for line in builtin.decode("utf-8", "replace").splitlines():
        yield _stem(line.strip().rpartition("/")[2])

    def unreadable(error: OSError) -> None:
        raise error

    with explained(f"cannot look for kernel modules in {directory}"):
        for _, _, files in os.walk(directory, onerror=unreadable):
            for file in files:
                yield _stem(file)


def _stem(file: str) -> str:
    """The module in a file, or "" when it is not one."""
    suffix = next((suffix for suffix in _SUFFIXES if file.endswith(suffix)), "")
    return _name(file.removesuffix(suffix)) if suffix else ""


def _name(text: str) -> str:
    return text.replace("-", "_")
