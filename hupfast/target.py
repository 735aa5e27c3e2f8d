"""
The target of a write, and every reason to refuse it before a byte is written.

The kernel has the last word: the engine opens the target O_EXCL, which fails when it is mounted or held. What
is checked here is what the kernel lets pass (files behind loop devices, mistyped names), and said in words.
This module is imported on boards: no pathlib.
"""

import os
import stat
from dataclasses import dataclass

from hupfast.blockdev import Device, file_in_use, find_device, in_use, number_of
from hupfast.errors import TargetError


@dataclass(frozen=True, slots=True)
class Target:
    """
    What an image is written onto.

    path: as it was given. exists: False for a file that will be made. size: bytes; 0 for a file to be made.
    logical_block_size: bytes of a sector, 512 for a file. name: the kernel's, or that of the file.
    model: what the hardware calls itself, may be empty. partitions: names of those on a disk.
    """

    path: str
    is_block: bool
    exists: bool
    size: int
    logical_block_size: int
    name: str
    model: str = ""
    partitions: tuple[str, ...] = ()


def check_target(
    target: str | os.PathLike[str],
    *,
    image_size: int | None = None,
    create: bool = False,
    writing: bool = True,
    root: str | os.PathLike[str] = "/",
) -> Target:
    """
    The target, when an image of image_size bytes (None: unknown) can go there.

    create: a file that does not exist may be made. writing: False when the target is only compared with the
    image, which may be done while it is in use. root: where the system's /proc, /sys and /dev are.
    Raises TargetError with the reason and the way out.
    """
    path, base = os.fspath(target), os.fspath(root)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return _new_file(path, create)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise TargetError(f"cannot look at {path}: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISBLK(status.st_mode):
        found = _block_device(path, status, writing, base)
    elif stat.S_ISREG(status.st_mode):
        found = _regular_file(path, status, writing, base)
    else:
        raise TargetError(f"{path} is {_kind(status.st_mode)}: name a block device or a file")
    if image_size is not None and image_size > found.size:
        more = "" if found.is_block else "; remove it, and a new file is made" if create else ""
        raise TargetError(f"the image has {image_size} bytes, and {path} has room for {found.size}{more}")
    return found


def check_not_source(target: Target, fd: int | None) -> None:
    """Raises TargetError when the image is read from the target itself. fd: of the image, None when it has none."""
    if fd is None or not target.exists:
        return
    here, there = os.stat(target.path), os.fstat(fd)
    same_device = stat.S_ISBLK(here.st_mode) and stat.S_ISBLK(there.st_mode) and here.st_rdev == there.st_rdev
    if same_device or os.path.samestat(here, there):
        raise TargetError(f"{target.path} is the image itself: name another target")


def _new_file(path: str, create: bool) -> Target:
    if in_dev(path):
        raise TargetError(f"there is no device {path}: check the name (lsblk lists all)")
    if not create:
        raise TargetError(f"{path} does not exist")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise TargetError(f"{path} cannot be made: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise TargetError(f"{path} cannot be made: {_why_not_writable(folder)}")
    return Target(path, is_block=False, exists=False, size=0, logical_block_size=512, name=os.path.basename(path))


def _block_device(path: str, status: os.stat_result, writing: bool, root: str) -> Target:
    device = find_device(number_of(status), root)
    if device is None:
        raise TargetError(
            f"{path} is device {number_of(status)}, which the kernel does not show in {root.rstrip('/')}/sys:"
            " check that it is plugged in, and that sysfs is mounted"
        )
    if writing:
        _may_write(path, device, root)
    elif not os.access(path, os.R_OK, effective_ids=True):
        raise TargetError(f"{path} may not be read by you: run as root")
    return Target(
        path,
        is_block=True,
        exists=True,
        size=device.size,
        logical_block_size=device.logical_block_size,
        name=device.name,
        model=device.model,
        partitions=tuple(part.name for part in device.partitions),
    )


def _may_write(path: str, device: Device, root: str) -> None:
    if device.size == 0:
        raise TargetError(f"{path} has no medium in it")
    if device.read_only:
        raise TargetError(f"{path} is write-protected: look for a lock switch, or try blockdev --setrw {path}")
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise TargetError(f"{path} may not be written by you: run as root")
    if reason := in_use(device, root):
        raise TargetError(f"{path} cannot be overwritten: {reason}")


def _regular_file(path: str, status: os.stat_result, writing: bool, root: str) -> Target:
    if writing and in_dev(path):
        raise TargetError(
            f"{path} is an ordinary file in /dev, not a device, perhaps left there by a mistake: "
            "remove it, and check the name (lsblk lists all)"
        )
    if writing and not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise TargetError(f"{path} cannot be overwritten: {_why_not_writable(path)}")
    if writing and (reason := file_in_use(status, root)):
        raise TargetError(f"{path} cannot be overwritten: {reason}")
    return Target(
        path,
        is_block=False,
        exists=True,
        size=status.st_size,
        logical_block_size=512,
        name=os.path.basename(path),
    )


def in_dev(path: str) -> bool:
    """Whether a path that is no device lies where devices are, and so was mistyped. /dev/shm is for files."""
    for full in (os.path.abspath(path), os.path.realpath(path)):
        if full.startswith("/dev/") and not full.startswith("/dev/shm/"):
            return True
    return False


def _why_not_writable(path: str) -> str:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"the file system of {path} is mounted read-only"
    return f"you may not write {path}"


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISCHR(mode):
        return "a character device"
    return "a pipe or socket"
