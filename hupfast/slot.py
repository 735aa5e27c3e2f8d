"""
The slot stage: after the image, the filesystem in the slot gets its label, a UUID of its own and the kept
files.

It changes the slot in place, so a run that was cut off in here begins again with the image (journal.py,
"stamping").
"""

from dataclasses import dataclass
from pathlib import Path

from hupfast.board import Board
from hupfast.durable import fsync_path, make_directory
from hupfast.errors import Refused
from hupfast.ext4 import Ext4, Readable
from hupfast.slots import Slot
from hupfast.system import explained, under


@dataclass(frozen=True)
class Stamp:
    """What the slot stage will do. keep: paths that exist in the running system and will be copied."""

    kind: str
    label: str
    fresh_uuid: bool
    keep: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.label or self.fresh_uuid or self.keep)


def slot_path(slot: Slot, root: Path) -> Path:
    """Where the bytes of a slot that is a file are. Raises: Refused when there is no such file."""
    path = under(root, slot.file)
    if not path.exists():
        raise Refused(f"slot {slot.name} is missing: {path} does not exist")
    return path


def plan_stamp(board: Board, slot: Slot, old: Readable) -> Stamp:
    """
    What is to be done to `slot` after the image, with the kept files that the running system has. Changes
    nothing.

    Raises: Refused when a kept path is a directory or another thing that cannot be kept.
    """
    filesystem = board.filesystem
    keep = []
    for path in filesystem.keep:
        node = old.find(path)
        if node is None:
            continue
        if node.type not in ("regular", "symlink"):
            raise Refused(
                f"{board.path} asks to keep {path}, which is a {node.type} in the running system;"
                " only files and symbolic links can be kept"
            )
        keep.append(path)
    return Stamp(filesystem.kind, slot.label, filesystem.fresh_uuid, tuple(keep))


def apply_stamp(stamp: Stamp, target: Path, old: Readable, scratch: Path) -> None:
    """
    Carry out the stamp on the slot in `target`, durably.

    old: the running system. scratch: a directory that may be made, for files in between; it is left empty.
    Raises: DataError when the image holds no such filesystem, HupfastError, MediumError, MismatchError.
    """
    if stamp.is_empty:
        return
    filesystem = Ext4(target)
    filesystem.check_magic()
    if stamp.fresh_uuid:
        filesystem.fresh_uuid()
    if stamp.label:
        filesystem.set_label(stamp.label)
    make_directory(scratch)
    for path in stamp.keep:
        filesystem.copy_from(old, path, scratch)
    with explained(f"cannot clean up {scratch}"):
        for leftover in scratch.iterdir():
            leftover.unlink()
    with explained(f"cannot flush {target}"):
        fsync_path(target)
