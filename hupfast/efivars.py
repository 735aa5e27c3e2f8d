"""
EFI variables, read and written as the files of efivarfs, and those of them that say what the firmware boots.

```
/sys/firmware/efi/efivars/NAME-GUID       one file a variable
    uint32  attributes                    1 kept without power, 2 boot services, 4 runtime: 7 is all three
    ...     data

BootOrder     uint16[]                    numbers of the entries, in the order in which they are tried
BootNext      uint16                      tried before them, once: the firmware deletes it before it boots
BootCurrent   uint16                      what the running system was booted from
Boot0001      EFI_LOAD_OPTION             an entry; its number is four hex digits
    uint32  attributes                    1 active: an entry without it is left out
    uint16  length of the file path list
    UTF-16  description, with a NUL at its end
    ...     file path list, optional data
```
All numbers are little endian. (Source: UEFI specification, "Boot Manager": "Load Options" and "Globally Defined
Variables"; Linux, Documentation/filesystems/efivarfs.rst.)

A write is one call with the attributes and all data, which becomes one SetVariable of the firmware: it keeps the old
value or the new one when the power fails, and has it when the call returns. So nothing is written beside and renamed
here, and nothing is flushed (efivarfs can do neither).
"""

import errno
import fcntl
import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hupfast.errors import HupfastError, MismatchError
from hupfast.system import explained, read_small

GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
"""GUID of the variables that the UEFI specification defines."""

ATTRIBUTES = 7
"""Kept without power, and to be seen by the firmware and by the running system."""

_ACTIVE = 1
_ENTRY = re.compile(rf"Boot([0-9A-Fa-f]{{4}})-{GLOBAL}")
_FS_IMMUTABLE_FL = 0x10
_LONG = struct.calcsize("l")  # the size in the ioctls' numbers is that of a long; what they pass is an int
_FS_IOC_GETFLAGS = 2 << 30 | _LONG << 16 | ord("f") << 8 | 1
_FS_IOC_SETFLAGS = 1 << 30 | _LONG << 16 | ord("f") << 8 | 2


@dataclass(frozen=True)
class LoadOption:
    """An entry of the firmware's boot manager. number: 1 of Boot0001."""

    number: int
    description: str
    active: bool

    @property
    def name(self) -> str:
        """The name of its variable."""
        return f"Boot{self.number:04X}"


def parse_numbers(data: bytes) -> tuple[int, ...]:
    """The data of BootOrder. Raises: ValueError."""
    if len(data) % 2:
        raise ValueError(f"it has {len(data)} bytes, which is no list of numbers of two bytes each")
    return struct.unpack(f"<{len(data) // 2}H", data)


def parse_number(data: bytes) -> int:
    """The data of BootNext or BootCurrent. Raises: ValueError."""
    if len(data) != 2:
        raise ValueError(f"it has {len(data)} bytes, which is no number of two bytes")
    return parse_numbers(data)[0]


def serialize_numbers(numbers: Sequence[int]) -> bytes:
    """The data of BootOrder, and of BootNext for one number."""
    return struct.pack(f"<{len(numbers)}H", *numbers)


def parse_load_option(number: int, data: bytes) -> LoadOption:
    """The data of a Boot#### variable. Raises: ValueError."""
    if len(data) < 6:
        raise ValueError(f"it has {len(data)} bytes, too few for an entry")
    attributes, path_length = struct.unpack_from("<IH", data)
    end = 6
    while data[end : end + 2] != b"\0\0":
        end += 2
        if end + 2 > len(data):
            raise ValueError("its description has no end")
    if end + 2 + path_length > len(data):
        raise ValueError("its file path list is cut short")
    return LoadOption(number, data[6:end].decode("utf-16-le", "replace"), bool(attributes & _ACTIVE))


def in_front(order: Sequence[int], first: int, second: int) -> tuple[int, ...]:
    """
    The order with `first` before `second`, at least one of which is in it.

    They change places where they must, so that every other entry stays in its own. If `first` is missing, it is put
    before `second`.
    """
    numbers = list(order)
    if first not in numbers:
        numbers.insert(numbers.index(second), first)
    elif second in numbers and numbers.index(first) > numbers.index(second):
        here, there = numbers.index(first), numbers.index(second)
        numbers[here], numbers[there] = second, first
    return tuple(numbers)


class EfiVariables:
    """
    The variables in a directory of efivarfs. Names are without the GUID, which is GLOBAL for all of them.

    Raises: HupfastError when a variable makes no sense or cannot be read, MediumError when the firmware fails.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, name: str) -> Path:
        """The file of a variable."""
        return self.directory / f"{name}-{GLOBAL}"

    def read(self, name: str) -> bytes | None:
        """The data of a variable, or None when there is no such variable."""
        raw = read_small(self.path(name))
        if not raw:  # a write that the firmware refused leaves an empty file of a new variable
            return None
        if len(raw) < 4:
            raise HupfastError(f"the EFI variable {self.path(name)} has {len(raw)} bytes, too few for its attributes")
        return raw[4:]

    def write(self, name: str, data: bytes) -> None:
        """Set a variable, and read it back. A value that it has already is not written. Raises: MismatchError too."""
        if self.read(name) == data:
            return  # the flash memory behind it wears out
        path = self.path(name)
        raw = struct.pack("<I", ATTRIBUTES) + data
        with explained(f"cannot write the EFI variable {path}"):
            _make_mutable(path)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                os.write(fd, raw)  # in one call, or the firmware would be given half a variable
            finally:
                os.close(fd)
        if read_small(path) != raw:
            raise MismatchError(f"the EFI variable {path} does not hold what was written into it")

    def delete(self, name: str) -> None:
        """Remove a variable, and look that it is gone; it may be missing. Raises: MismatchError too."""
        path = self.path(name)
        with explained(f"cannot delete the EFI variable {path}"):
            try:
                _make_mutable(path)
                os.unlink(path)
            except FileNotFoundError:
                return
        if path.exists():
            raise MismatchError(f"the EFI variable {path} is still there after it was deleted")

    def order(self) -> tuple[int, ...] | None:
        """BootOrder, or None when it is missing."""
        data = self.read("BootOrder")
        with _sense(self.path("BootOrder")):
            return None if data is None else parse_numbers(data)

    def number(self, name: str) -> int | None:
        """BootNext or BootCurrent, or None when it is missing."""
        data = self.read(name)
        with _sense(self.path(name)):
            return None if data is None else parse_number(data)

    def entries(self) -> list[LoadOption]:
        """The entries in the order of their numbers; those that make no sense are left out."""
        with explained(f"cannot read the EFI variables in {self.directory}"):
            matches = [match for name in os.listdir(self.directory) if (match := _ENTRY.fullmatch(name))]
        found = []
        for match in matches:
            data = self.read(f"Boot{match[1]}")
            try:
                found.append(parse_load_option(int(match[1], 16), data or b""))
            except ValueError:
                continue  # firmware leaves odd entries of its own behind; a slot's one will be missed by its name
        return sorted(found, key=lambda entry: entry.number)


@contextmanager
def _sense(path: Path) -> Iterator[None]:
    """Turn a ValueError inside into a sentence that names the variable."""
    try:
        yield
    except ValueError as error:
        raise HupfastError(f"the EFI variable {path} makes no sense: {error}") from None


def _make_mutable(path: Path) -> None:
    """
    Take the flag away by which efivarfs keeps `rm -rf` from bricking a board. Raises: OSError.

    It is not set again: the kernel sets it at every boot, and not on what the specification calls safe to remove.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        flags = struct.unpack_from("i", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(_LONG)))[0]
        if flags & _FS_IMMUTABLE_FL:
            fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("i", flags & ~_FS_IMMUTABLE_FL).ljust(_LONG, b"\0"))
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP):  # a filesystem without flags
            raise
    finally:
        os.close(fd)
