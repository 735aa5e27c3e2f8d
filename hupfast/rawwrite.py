"""
Writing the copies of raw bootloader ranges, and going back (raw.py tells in which order, and why).

What it takes to go back is in the undo directory before the first write:

undo/index.json     {"format": 1, "copies": [{"offset": 131072, "size": 512, "file": "0", "sha256": "<64 hex>"}]}
undo/0              the bytes that were there; the copies stand in the order in which they are written
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from hupfast.bootfiles import ReadFunction, forget_undo
from hupfast.durable import make_directory, write_atomic, write_chunks
from hupfast.errors import DigestError, HupfastError, MismatchError
from hupfast.manifest import RawMember
from hupfast.medium import Medium
from hupfast.raw import RawChange
from hupfast.system import digest, read_chunks, read_small

_FORMAT = 1


def apply_raw(changes: Sequence[RawChange], read: ReadFunction, undo_directory: Path) -> None:
    """
    Write each copy that is not there yet, one after the other, each durable and compared before the next.

    When it fails, everything is put back, and the exception comes out. It looks at the disk again, so it may be called
    again with the same changes. read: gives the bytes of a member, which are all in memory, and right, before the copy
    is touched. Raises: MediumError, MismatchError, DigestError, HupfastError.
    """
    if not changes or _missing(changes) == []:
        return
    disk = changes[0].disk
    undo_raw(undo_directory, disk)
    todo = _missing(changes)
    if not todo:  # what was undone had been there before
        return
    _save_undo(todo, undo_directory)
    try:
        with Medium(disk, os.O_RDWR) as medium:
            for change in todo:
                medium.replace(change.offset, medium.filled_up(change.offset, _load(change.member, read)))
    except BaseException:
        undo_raw(undo_directory, disk)
        raise


def undo_raw(undo_directory: Path, disk: Path) -> bool:
    """
    Put back what the last apply_raw replaced, the last written copy first. May be called again at any time.

    Returns whether there was anything to put back. Raises: HupfastError, MediumError, MismatchError.
    """
    entries = _load_undo(undo_directory)
    if not entries:
        forget_undo(undo_directory)
        return False
    with Medium(disk, os.O_RDWR) as medium:
        for offset, size, sha256, copy in reversed(entries):
            old = b"".join(read_chunks(copy))
            if len(old) != size or digest([old]) != sha256:
                raise HupfastError(
                    f"{copy}, the bootloader that an update has replaced at {offset} of {disk}, has changed since;"
                    f" check the bootloader, then remove {undo_directory}"
                )
            if digest(medium.pieces(offset, size)) != sha256:
                medium.replace(offset, old)
    forget_undo(undo_directory)
    return True


def _missing(changes: Sequence[RawChange]) -> list[RawChange]:
    """The copies that do not hold what they are to hold; blank ones first, see the module's docstring."""
    with Medium(changes[0].disk, os.O_RDONLY) as medium:
        todo = [
            change for change in changes if not medium.holds(change.offset, change.member.size, change.member.sha256)
        ]
        return sorted(todo, key=lambda change: not medium.is_blank(change.offset, change.member.size))


def _load(member: RawMember, read: ReadFunction) -> bytes:
    data = b"".join(read(member))
    if len(data) != member.size or digest([data]) != member.sha256:
        raise DigestError(f"{member.name} is not the file that the manifest names")
    return data


def _save_undo(todo: Sequence[RawChange], undo_directory: Path) -> None:
    make_directory(undo_directory)
    copies = []
    with Medium(todo[0].disk, os.O_RDONLY) as medium:
        for number, change in enumerate(todo):
            size, copy = medium.rounded(change.member.size), undo_directory / f"{number}"
            old = digest(medium.pieces(change.offset, size))
            write_chunks(copy, medium.pieces(change.offset, size), size=size)
            if digest(read_chunks(copy, past_cache=True)) != old:
                raise MismatchError(f"{copy} does not hold what was written into it")
            copies.append({"offset": change.offset, "size": size, "file": copy.name, "sha256": old.hex()})
    write_atomic(undo_directory / "index.json", json.dumps({"format": _FORMAT, "copies": copies}).encode())


def _load_undo(undo_directory: Path) -> list[tuple[int, int, bytes, Path]]:
    """Offset, size, SHA-256 and file of each copy."""
    data = read_small(undo_directory / "index.json")
    if data is None:
        return []
    try:
        document = json.loads(data)
        if document["format"] != _FORMAT:
            raise ValueError("unknown format")
        return [
            (int(copy["offset"]), int(copy["size"]), bytes.fromhex(copy["sha256"]), undo_directory / copy["file"])
            for copy in document["copies"]
        ]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise HupfastError(
            f"{undo_directory / 'index.json'} cannot be understood ({error}),"
            " so it is not known which bootloader an update that was cut off has replaced;"
            " check it, then remove that file"
        ) from None
