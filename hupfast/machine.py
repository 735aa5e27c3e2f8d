"""
One board as it stands: its profile, its journal, its bootloader, and what they mean together.

`Machine.recover` is what every command that changes something begins with: it finishes what a run that was
cut off, or a reboot, has left to be noted.
"""

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hupfast.board import Board
from hupfast.bootfiles import forget_undo, undo_boot_files
from hupfast.errors import HupfastError
from hupfast.ext4 import Ext4, Readable
from hupfast.journal import Ending, Journal, SlotRecord, State
from hupfast.logbook import Logbook
from hupfast.mounted import Mounted
from hupfast.raw import Disk, find_disk
from hupfast.rawwrite import undo_raw
from hupfast.request import save_request
from hupfast.restart import reboot
from hupfast.situation import Situation, judge
from hupfast.slot import slot_path
from hupfast.slots import Places, Slot, find_places
from hupfast.spool import empty_spool
from hupfast.system import boot_id, system_version, under


class Machine:
    """
    A board below a system root.

    state_directory: where the journal, the log, the lock and files in between are.
    """

    def __init__(self, board: Board, root: Path) -> None:
        """Read the journal. Raises: HupfastError when it cannot be read."""
        self.board = board
        self.root = root
        self.state_directory = under(root, board.state)
        self.boot_directory = under(root, board.boot.directory)
        self.undo_directory = self.state_directory / "undo"
        self.raw_undo_directory = self.state_directory / "undo-raw"
        self.spool_directory = self.state_directory / "spool"
        self.scratch_directory = self.state_directory / "scratch"
        self.journal = Journal(self.state_directory)
        self.log = Logbook(self.state_directory)
        self.bootloader = board.bootloader(root)

    @property
    def state(self) -> State:
        """What the journal knows now."""
        return self.journal.state

    def situation(self) -> Situation:
        """Where the board stands. Raises: Refused when the running slot cannot be told, HupfastError."""
        return judge(self.state, self.bootloader.state(), self.bootloader.current(), boot_id(self.root))

    def path_of(self, slot: Slot) -> Path:
        """Where the bytes of a slot are. Raises: Refused when it cannot be found."""
        if slot.file:
            return slot_path(slot, self.root)
        return under(self.root, self.places().places[slot.name].device)

    def places(self) -> Places:
        """Where the slots are that are partitions. Raises: Refused when it is not beyond doubt."""
        return find_places(self.root, self.board.slots)

    def disk(self, slot: Slot) -> Disk:
        """The disk that has the slots. Raises: Refused when they are no partitions."""
        return find_disk(self.path_of(slot), self.root)

    def running_files(self, running: str) -> Readable:
        """The files of the running system: as its kernel shows them, or out of the slot that is a file."""
        slot = self.board.slot(running)
        return Ext4(self.path_of(slot)) if slot.file else Mounted(under(self.root, slot.sysroot))

    def record(self, slot: str) -> SlotRecord | None:
        """The complete system in a slot, or None when there is none that hupfast knows of."""
        return self.state.slots.get(slot)

    def running_version(self, running: str) -> str:
        """The version of the running system, by the journal or by its os-release; "" when neither tells."""
        record = self.record(running)
        return record.version if record else system_version(self.root) or ""

    def recover(self) -> Situation:
        """
        Note what has happened since the journal was last written, and put back half-replaced boot files.

        The lock must be held. Raises: HupfastError, MediumError.
        """
        situation = self.situation()
        self.put_back()
        transaction = self.state.transaction
        if transaction is None or situation.kind not in ("fell back", "confirmed", "called off"):
            return situation
        if situation.kind == "confirmed":
            self.note_confirmed(transaction.target)
        elif situation.kind == "fell back":
            self.end("fell back", situation.reason)
        else:
            self.end("rolled back", f"the trial of slot {transaction.target} was called off")
        return self.situation()

    def end(self, result: str, reason: str) -> None:
        """Note how the transaction has ended, and that none is under way any more."""
        self.journal.save(replace(self._ended(result, reason), transaction=None))
        self.drop_request()

    def note_failure(self, result: str, reason: str) -> None:
        """Note why a run has stopped; the transaction stays, to be continued."""
        self.journal.save(self._ended(result, reason))

    def note_durable(self, size: int) -> None:
        """Note how much of the image need not be written again. When that fails, a cut costs more, and that is all."""
        try:
            self.journal.note_durable(size)
        except HupfastError as error:
            self.log.note(f"how far the image is written cannot be noted: {error}")

    def note_left(self, slot: str, reason: str) -> None:
        """Note that the permanent system in `slot` is left for the other one."""
        record = self.record(slot)
        name, version = (record.name, record.version) if record else ("", self.running_version(slot))
        ending = Ending("rolled back", reason, name, version, slot, int(time.time()))
        self._tell(ending)
        self.journal.save(replace(self.state, last=ending))

    def note_confirmed(self, slot: str) -> None:
        """Note that the system in `slot` has been made permanent."""
        state = self.state
        record = state.slots.get(slot)
        if state.transaction is not None:
            state = replace(self._ended("confirmed", ""), transaction=None)
        if record is not None:
            state = state.with_slot(slot, replace(record, confirmed=True))
        ended = self.state.transaction is not None
        self.journal.save(state)
        if ended:
            self.drop_request()

    def reboot(self) -> None:
        """Reboot, by the profile's command and more. Raises: HupfastError when the command fails."""
        self.log.note("reboot")
        reboot(self.board.restart, self.root, self.bootloader.reboot_argument)

    def _ended(self, result: str, reason: str) -> State:
        transaction = self.state.transaction
        if transaction is None:
            return self.state
        ending = Ending(result, reason, transaction.name, transaction.version, transaction.target, int(time.time()))
        self._tell(ending)
        return replace(self.state, last=ending)

    def _tell(self, ending: Ending) -> None:
        reason = f": {ending.reason}" if ending.reason else ""
        self.log.note(f"{ending.name} {ending.version} in slot {ending.slot} {ending.result}{reason}")

    def put_back(self) -> None:
        """
        Put back what an update has replaced of boot files and raw ranges, unless its switch was made, and stands.

        The slot is no complete system then any more: its boot files are gone. Raises: HupfastError, MediumError.
        """
        transaction = self.state.transaction
        if transaction is not None and transaction.reached("boot"):
            boot, target = self.bootloader.state(), transaction.target
            if target in (boot.trial, boot.default, boot.failed):
                self.forget_undo()
                return
            if transaction.reached("switched") and not self._has_undo():
                return
            back = replace(transaction, stage="slot")
            self.journal.save(replace(self.state.with_slot(target, None), transaction=back))
        if (self.raw_undo_directory / "index.json").exists():
            undo_raw(self.raw_undo_directory, self.disk(self.board.slots[0]).path)
        undo_boot_files(self.boot_directory, self.undo_directory)

    def _has_undo(self) -> bool:
        return any((path / "index.json").exists() for path in (self.undo_directory, self.raw_undo_directory))

    def empty_scratch(self) -> None:
        """Remove what a run that was cut off has left and nobody can use. Raises: HupfastError."""
        empty_spool(self.scratch_directory)

    def empty_waiting(self) -> None:
        """Remove boot files in waiting too: no run will go on with them. Raises: HupfastError."""
        empty_spool(self.spool_directory)
        self.empty_scratch()

    def drop_request(self) -> None:
        """
        The update has ended: nobody goes on with it by itself. A run that was killed right behind its switch has left
        both, the request and what waits. What does not succeed here, the next command does.
        """
        with suppress(HupfastError):
            save_request(self.state_directory, None)
            self.empty_waiting()

    def forget_undo(self) -> None:
        """What the boot files stage has replaced is not needed any more. Raises: HupfastError."""
        forget_undo(self.raw_undo_directory)
        forget_undo(self.undo_directory)
