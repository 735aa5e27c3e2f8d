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
from hupfast.keep import KeptFile, copy_kept, plan_keep
from hupfast.slots import Slot
from hupfast.system import explained, under


@dataclass(frozen=True)
class Stamp:
    """What the slot stage will do. keep: what exists in the running system and will be copied (keep.py)."""

    kind: str
    label: str
    fresh_uuid: bool
    keep: tuple[KeptFile, ...]

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

    Raises: Refused when something cannot be kept.
    """
    filesystem = board.filesystem
    keep = plan_keep(filesystem.keep, old, board.path)
    return Stamp(filesystem.kind, slot.label, filesystem.fresh_uuid, keep)


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
    copy_kept(filesystem, old, [(file.source, file.target) for file in stamp.keep], scratch)
    with explained(f"cannot clean up {scratch}"):
        for leftover in scratch.iterdir():
            leftover.unlink()
    with explained(f"cannot flush {target}"):
        fsync_path(target)
