"""
U-Boot's environment, and the file that tells where it is.

```
fw_env.config    # device or file    offset    size    [sector size  [sectors]]        one line, or two: redundant
                 /dev/mmcblk0        0x100000  0x4000   negative offset: from the end
environment      CRC-32 of the data, little endian (4)
                 flags (1)           only of a redundant one
                 name=value\\0 ... name=value\\0 \\0, then padding to `size`
```
Of a redundant pair, U-Boot takes the copy with a right CRC; when both are right, the one whose flags are higher,
where 0 is higher than 255 (env/common.c, env_check_redund). A change is written over the *other* copy with
flags + 1, so that what was valid stays on the medium until the new copy is whole: that is one atomic store.

A copy of a pair is written in place, in a file too. A single environment in a file is replaced by rename. A single
one on a raw device can only be written over in place; a power cut in that write leaves U-Boot with its built-in
default (`Environment.power_safe` is False).
"""

import os
import stat
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hupfast.durable import write_all, write_atomic
from hupfast.errors import HupfastError, MismatchError
from hupfast.system import explained, read_small, under

_LIMIT = 16 << 20
_OFFSET_LIMIT = 1 << 62


@dataclass(frozen=True)
class Area:
    """Where one copy is. offset: may be negative, from the end. size: bytes, CRC and flags included."""

    path: Path
    offset: int
    size: int


@dataclass(frozen=True)
class Environment:
    """The valid copy. number: of its area; flags: None when there is only one copy."""

    areas: tuple[Area, ...]
    number: int
    flags: int | None
    variables: dict[str, str]

    @property
    def power_safe(self) -> bool:
        """Whether a power cut while it is written leaves the old or the new variables."""
        return len(self.areas) == 2 or not _is_device(self.areas[0].path)


def read_config(config: Path, root: Path) -> tuple[Area, ...]:
    """The one or two areas of a fw_env.config. Raises: HupfastError with the line."""
    data = read_small(config)
    if data is None:
        raise HupfastError(f"{config} is missing; it tells where U-Boot's environment is (fw_printenv needs it too)")
    areas = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            area = Area(under(root, words[0]), int(words[1], 0), int(words[2], 0))
        except (ValueError, IndexError):
            raise HupfastError(f"{config}, line {number}: {line.strip()!r} is not: device offset size") from None
        if not words[0].startswith("/") or not 16 <= area.size <= _LIMIT or abs(area.offset) >= _OFFSET_LIMIT:
            raise HupfastError(
                f"{config}, line {number}: {line.strip()!r} has no path, or an offset or a size that cannot be"
            )
        areas.append(area)
    if len(areas) not in (1, 2):
        raise HupfastError(f"{config} names {len(areas)} places for the environment; there must be one or two")
    return tuple(areas)


def load(areas: tuple[Area, ...]) -> Environment:
    """The valid environment. Raises: HupfastError when there is none, MediumError."""
    redundant = len(areas) == 2
    found: list[Environment] = []
    problems = []
    for number, area in enumerate(areas):
        try:
            flags, variables = parse(_read(area), redundant)
            found.append(Environment(areas, number, flags, variables))
        except ValueError as error:
            problems.append(f"{area.path} at {area.offset:#x}: {error}")
    if not found:
        raise HupfastError(
            f"there is no valid U-Boot environment ({'; '.join(problems)});"
            " U-Boot uses its built-in one: save that once (saveenv), or correct fw_env.config"
        )
    if len(found) == 2 and _is_newer(found[1].flags or 0, found[0].flags or 0):
        return found[1]
    return found[0]


def store(environment: Environment, changes: Mapping[str, str]) -> None:
    """
    Write the environment with some variables changed, and read it back.

    Raises: HupfastError when it does not fit, MediumError, MismatchError.
    """
    variables = {**environment.variables, **changes}
    if environment.flags is None:
        number, flags = environment.number, None
    else:
        number, flags = 1 - environment.number, (environment.flags + 1) & 0xFF
    area = environment.areas[number]
    try:
        data = serialize(variables, flags, area.size)
    except ValueError as error:
        raise HupfastError(f"the U-Boot environment in {area.path} cannot be written: {error}") from None
    _write(area, data, in_place=environment.flags is not None)
    if load(environment.areas).variables != variables or _read(area) != data:
        raise MismatchError(f"the U-Boot environment in {area.path} does not hold what was written into it")


def parse(data: bytes, redundant: bool) -> tuple[int | None, dict[str, str]]:
    """Flags (None when there is one copy) and variables of a copy. Raises: ValueError with the reason."""
    start = 5 if redundant else 4
    if len(data) <= start:
        raise ValueError("it is too short")
    if zlib.crc32(data[start:]) != int.from_bytes(data[:4], "little"):
        raise ValueError("its CRC is wrong")
    variables: dict[str, str] = {}
    for entry in data[start:].split(b"\0"):
        if not entry:
            break
        name, equals, value = entry.partition(b"=")
        if not equals or not name:
            raise ValueError(f"the entry {entry[:40]!r}")
        variables[name.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
    return (data[4] if redundant else None), variables


def serialize(variables: Mapping[str, str], flags: int | None, size: int) -> bytes:
    """A copy of `size` bytes. Raises: ValueError when it does not fit, or a name or value cannot be."""
    entries = b""
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"the variable {name!r} cannot be")
        entries += f"{name}={value}".encode("utf-8", "surrogateescape") + b"\0"
    head = b"" if flags is None else bytes((flags,))
    room = size - 4 - len(head) - len(entries)
    if room < 1:
        raise ValueError(f"it has {size} bytes, {1 - room} too few for all variables")
    body = entries + bytes(room)
    return zlib.crc32(body).to_bytes(4, "little") + head + body


def _is_newer(second: int, first: int) -> bool:
    """Whether the second copy's flags are higher, as U-Boot counts: 0 is higher than 255."""
    if (first, second) == (255, 0):
        return True
    if (first, second) == (0, 255):
        return False
    return second > first


def _check_kind(path: Path) -> None:
    """
    A rename would put a file in the place of a flash device or a link, and U-Boot would never see it.
    """
    if not path.exists() or _is_device(path) or (path.is_file() and not path.is_symlink()):
        return
    what = "a symbolic link: name the file itself" if path.is_symlink() else "neither a file nor a block device"
    raise HupfastError(f"U-Boot's environment cannot be kept in {path}, which is {what} in fw_env.config")


def _is_device(path: Path) -> bool:
    return path.exists() and stat.S_ISBLK(path.stat().st_mode)


def _start(fd: int, area: Area) -> int:
    return area.offset if area.offset >= 0 else os.lseek(fd, 0, os.SEEK_END) + area.offset


def _read(area: Area) -> bytes:
    """The bytes of a copy, past the page cache. Raises: ValueError when they are not there."""
    _check_kind(area.path)
    with explained(f"cannot read the U-Boot environment in {area.path}"):
        try:
            fd = os.open(area.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ValueError("it is missing") from None
        try:
            start = _start(fd, area)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            data = b""
            while part := os.pread(fd, area.size - len(data), start + len(data)):
                data += part
        finally:
            os.close(fd)
    if len(data) != area.size:
        raise ValueError(f"it has {len(data)} of {area.size} bytes")
    return data


def _write(area: Area, data: bytes, *, in_place: bool) -> None:
    """in_place: the other copy is valid, so this one may be torn; no name, size or cluster changes then."""
    if not _is_device(area.path) and not (in_place and _has(area)):
        whole = bytearray(read_small(area.path, _LIMIT) or b"")
        start = area.offset if area.offset >= 0 else len(whole) + area.offset
        if start + area.size > _LIMIT:
            raise HupfastError(
                f"the U-Boot environment in {area.path} ends beyond {_LIMIT} bytes, which is no place in a file;"
                " correct fw_env.config"
            )
        whole.extend(bytes(max(start + area.size - len(whole), 0)))
        whole[start : start + area.size] = data
        write_atomic(area.path, bytes(whole))
        return
    with explained(f"cannot write the U-Boot environment in {area.path}"):
        fd = os.open(area.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.lseek(fd, _start(fd, area), os.SEEK_SET)
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)


def _has(area: Area) -> bool:
    """Whether the file is as long as the area needs it."""
    try:
        return len(_read(area)) == area.size
    except ValueError:
        return False
