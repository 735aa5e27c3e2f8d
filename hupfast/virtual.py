"""
The virtual board: a folder that behaves as a board does, and the firmware that "boots" it.

```
FOLDER/                      the system root: hupfast ... --root FOLDER
  boot/bootloader.env        which slot is next (bootloaders/virtual.py)
  boot/a/ boot/b/            boot files of each slot; the firmware loads `kernel`
  boot/config.json           the user's
  slots/a.img slots/b.img    ext4
  state/                     journal and lock
  etc/hupfast/board          "virtual"
  etc/os-release             of the slot that runs; the firmware takes it out of the slot
  proc/cmdline, proc/sys/kernel/random/boot_id      what the running system knows of its boot
```
The firmware is as plain as a bootloader: it counts the tries of a trial down before each of them, takes a
slot whose kernel or filesystem is not there for one that does not boot, and goes back to the default when the
tries are used up. `python -m hupfast.virtual boot FOLDER` is one power cycle.
"""

import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hupfast.board import Board, load_board
from hupfast.bootloaders import BootState
from hupfast.bootloaders.virtual import VirtualBootloader
from hupfast.durable import make_directory, write_atomic
from hupfast.errors import DataError, HupfastError, Refused, UsageError
from hupfast.ext4 import Ext4
from hupfast.journal import Journal, SlotRecord, State
from hupfast.slots import Slot
from hupfast.system import explained, parse_os_release, under

KERNEL = "kernel"
"""The boot file that the firmware loads."""

_SUPERBLOCK = 1024


@dataclass(frozen=True)
class Booted:
    """One power cycle. slot, version: of what runs now; attempts: a sentence for each slot that was tried."""

    slot: str
    version: str
    attempts: tuple[str, ...]


def create(
    folder: Path, *, image: Path, boot_files: Mapping[str, bytes], name: str, version: str, slot_size: int
) -> Booted:
    """
    Make a virtual board as it leaves the factory: one system in slot a, nothing in slot b, and boot it.

    image: raw ext4 image. boot_files: by path, "kernel" among them. slot_size: bytes of each slot.
    Raises: UsageError when the folder is not empty, Refused when the image is larger than a slot.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder")
    with explained(f"cannot read {image}"):
        image_size = image.stat().st_size
    if image_size > slot_size:
        raise Refused(f"the image has {image_size} bytes, and a slot is to have {slot_size}")
    write_small(folder, "/etc/hupfast/board", b"virtual\n")
    board = load_board("virtual", folder)
    first, second = board.slots
    with explained(f"cannot make the slots below {folder}"):
        for slot in board.slots:
            path = under(folder, slot.file)
            make_directory(path.parent)
            with path.open("wb") as file:
                if slot is first:
                    _copy(image, path)
                file.truncate(slot_size)
    for path_name, data in boot_files.items():
        write_small(folder, f"{board.boot.directory}/{first.boot_prefix}{path_name}", data)
    make_directory(under(folder, board.boot.directory) / second.boot_prefix)
    write_small(folder, f"{board.boot.directory}/config.json", b'{"owner": "the user"}\n')
    make_directory(under(folder, board.health.directory))
    _firmware_file(board, folder).write(BootState(first.name, None, 0, None))
    record = SlotRecord(name, version, "", confirmed=True)
    Journal(under(folder, board.state)).save(State(slots={first.name: record}))
    return boot(folder)


def boot(folder: Path) -> Booted:
    """
    One power cycle of the board in `folder`.

    Raises: HupfastError when no slot boots, which must never happen.
    """
    board = load_board("virtual", folder)
    file = _firmware_file(board, folder)
    attempts: list[str] = []
    while True:
        state = file.read()
        if state.trial is None:
            chosen = state.default
        elif state.tries > 0:
            chosen = state.trial
            file.write(BootState(state.default, state.trial, state.tries - 1, state.failed))
        else:
            attempts.append(f"slot {state.trial} has used up its tries")
            file.write(BootState(state.default, None, 0, state.trial))
            continue
        problem = what_is_missing(board, board.slot(chosen), folder)
        if not problem:
            attempts.append(f"slot {chosen} boots")
            return _run(board.slot(chosen), folder, tuple(attempts))
        attempts.append(f"slot {chosen} does not boot: {problem}")
        if state.trial is None:
            raise HupfastError(f"the board in {folder} does not boot any more: {'; '.join(attempts)}")


def what_is_missing(board: Board, slot: Slot, folder: Path) -> str:
    """Why the firmware cannot boot a slot; "" when it can."""
    kernel = under(folder, board.boot.directory) / f"{slot.boot_prefix}{KERNEL}"
    if not kernel.is_file() or kernel.stat().st_size == 0:
        return f"there is no {kernel}"
    image = under(folder, slot.file)
    try:
        Ext4(image).check_magic()
    except DataError:
        return f"there is no filesystem in {image}"
    with image.open("rb") as file:
        file.seek(_SUPERBLOCK)
        superblock = file.read(32)
    blocks = int.from_bytes(superblock[4:8], "little")
    block_size = 1024 << int.from_bytes(superblock[24:28], "little")
    if blocks * block_size > image.stat().st_size:
        return f"the filesystem is larger than {image}"
    return ""


def write_small(folder: Path, path: str, data: bytes) -> None:
    """Put a file into the board, directories included."""
    target = under(folder, path)
    make_directory(target.parent)
    write_atomic(target, data)


def _run(slot: Slot, folder: Path, attempts: tuple[str, ...]) -> Booted:
    """Let the system of a slot run: it knows its command line, its boot, and its own files."""
    release = b""
    filesystem = Ext4(under(folder, slot.file))
    if filesystem.find("/etc/os-release") is not None:
        make_directory(under(folder, "/run"))
        release = filesystem.read("/etc/os-release", under(folder, "/run/os-release"))
    write_small(folder, "/etc/os-release", release)
    write_small(folder, "/proc/cmdline", f"root=LABEL={filesystem.label()} hupfast.slot={slot.name}\n".encode())
    write_small(folder, "/proc/sys/kernel/random/boot_id", f"{uuid.uuid4()}\n".encode())
    return Booted(slot.name, parse_os_release(release).get("VERSION_ID", ""), attempts)


def _firmware_file(board: Board, folder: Path) -> VirtualBootloader:
    bootloader = board.bootloader(folder)
    if not isinstance(bootloader, VirtualBootloader):
        raise UsageError(f"the board {board.name} is not a virtual one")
    return bootloader


def _copy(source: Path, target: Path) -> None:
    """Copy the bytes, and leave holes where there are only zeros."""
    piece = 1 << 20
    with source.open("rb") as reader, target.open("r+b") as writer:
        while data := reader.read(piece):
            if data.count(0) == len(data):
                writer.seek(len(data), 1)
            else:
                writer.write(data)


def main(arguments: list[str]) -> int:
    """`python -m hupfast.virtual boot FOLDER`. Returns the exit code."""
    if len(arguments) != 2 or arguments[0] != "boot":
        print("usage: python -m hupfast.virtual boot FOLDER", file=sys.stderr)
        return 2
    try:
        booted = boot(Path(arguments[1]))
    except HupfastError as error:
        print(f"firmware: {error}", file=sys.stderr)
        return error.exit_code
    for attempt in booted.attempts:
        print(f"firmware: {attempt}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
