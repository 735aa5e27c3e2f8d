"""
Files of the running system, as its kernel shows them: where kept files come from when the slot is mounted.

A mounted filesystem is not read behind the kernel's back (debugfs would see old blocks). What comes out has the
form that hupfast.ext4 writes, so that it can be compared field by field:

    mtime    the low 32 bits of the seconds
    extra    nanoseconds << 2, and in the two low bits what the seconds have beyond 32 (linux: fs/ext4/ext4.h)
"""

import os
import stat
from pathlib import Path

from hupfast.errors import HupfastError
from hupfast.ext4 import FILE_LIMIT, Node
from hupfast.system import explained, read_small, under

_TYPES = {stat.S_IFREG: "regular", stat.S_IFLNK: "symlink", stat.S_IFDIR: "directory"}


class Mounted:
    """The filesystem that is mounted at `image`. The methods are those of hupfast.ext4.Ext4 that read."""

    def __init__(self, image: Path) -> None:
        self.image = image

    def find(self, path: str) -> Node | None:
        """What is at `path`, without following a symbolic link at its end; None when nothing is."""
        with explained(f"cannot look at {path} in {self.image}"):
            try:
                status = os.lstat(under(self.image, path))
                names = os.listxattr(under(self.image, path), follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None
        seconds, nanoseconds = divmod(status.st_mtime_ns, 10**9)
        low = seconds & 0xFFFFFFFF
        signed = low - (1 << 32) if low >> 31 else low
        return Node(
            type=_TYPES.get(stat.S_IFMT(status.st_mode), "special file"),
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            size=status.st_size,
            mtime=low,
            extra=nanoseconds << 2 | ((seconds - signed) >> 32) & 3,
            attributes=tuple(sorted(names)),
        )

    def names(self, path: str) -> list[str]:
        """
        The names in a directory, without directories that another filesystem is mounted on; none when it is gone.

        Only directories are asked: an overlay may tell other device numbers for files than for directories.
        """
        with explained(f"cannot list {path} in {self.image}"):
            try:
                device = os.lstat(under(self.image, path)).st_dev
                with os.scandir(under(self.image, path)) as entries:
                    return [entry.name for entry in entries if _is_within(entry, device)]
            except (FileNotFoundError, NotADirectoryError):
                return []

    def link(self, path: str) -> str:
        """The target of a symbolic link; bytes that are no UTF-8 are surrogates in it."""
        with explained(f"cannot read the link {path} in {self.image}"):
            return os.readlink(under(self.image, path))

    def read(self, path: str, scratch: Path) -> bytes:
        """The bytes of a regular file (at most 16 MiB), or the target of a symbolic link. scratch: not used."""
        full = under(self.image, path)
        if full.is_symlink():
            return os.fsencode(self.link(path))
        data = read_small(full, FILE_LIMIT)
        if data is None:
            raise HupfastError(f"{full} is missing and cannot be kept")
        return data

    def save_attribute(self, path: str, name: str, value: Path) -> None:
        """Write the value of an extended attribute into the file `value`."""
        with explained(f"cannot read the attribute {name} of {path} in {self.image}"):
            value.write_bytes(os.getxattr(under(self.image, path), name, follow_symlinks=False))


def _is_within(entry: os.DirEntry[str], device: int) -> bool:
    """Whether a directory entry is no mount point. One that has gone is none: find() tells that."""
    try:
        return not entry.is_dir(follow_symlinks=False) or entry.stat(follow_symlinks=False).st_dev == device
    except FileNotFoundError:
        return True
