"""
What a board has, runs and waits for, in one value. It only looks: it takes no lock and notes nothing.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from hupfast.board import load_board
from hupfast.journal import Ending
from hupfast.machine import Machine
from hupfast.situation import Situation


@dataclass(frozen=True)
class SlotStatus:
    """
    One slot. system: "complete", "unknown" (hupfast has not installed it) or "incomplete" (an update into it
    was cut off). name and version: "" when they are not known.
    """

    slot: str
    name: str
    version: str
    system: str
    confirmed: bool
    running: bool
    boots_next: bool


@dataclass(frozen=True)
class Status:
    """
    One board. situation: see hupfast.situation. tries: boots that a trial has left, if falls_back: the bootloader goes
    back by itself then. update: name and version of the update under way, "" when there is none; stage: how far it
    is. health: why the health checks failed last. last: how the last update ended, a fallback that is not noted yet
    included. damage: why the journal was ignored, or "".
    """

    board: str
    root: str
    situation: str
    running: str
    version: str
    tries: int
    falls_back: bool
    update: str
    stage: str
    health: str
    slots: tuple[SlotStatus, ...]
    last: Ending | None
    damage: str

    @property
    def sentence(self) -> str:
        """What to know and what to do next, in one sentence."""
        more = f" with {self.tries} more boots" if self.tries != 1 else " with one more boot"
        sentences = {
            "idle": "no update is under way",
            "interrupted": f"the update to {self.update} was cut off (stage: {self.stage}); run it again to go on",
            "pending": f"{self.update or 'the other slot'} is installed; a reboot tries it",
            "trial": f"{self.update or 'the running system'} is on trial{more if self.falls_back else ''};"
            " `hupfast confirm` makes it permanent",
            "confirmed": f"{self.update} is permanent",
            "fell back": f"{self.update} fell back",
            "called off": f"the trial of {self.update} was called off",
        }
        following = next(slot.slot for slot in self.slots if slot.boots_next)
        if self.situation == "idle" and following != self.running:
            return f"slot {following} is what boots next; reboot"
        return sentences[self.situation]

    def as_dict(self) -> dict[str, object]:
        """For JSON output."""
        return {**asdict(self), "summary": self.sentence}


def status(*, board: str | None = None, root: str | os.PathLike[str] = "/") -> Status:
    """
    The status of a board. Raises: UsageError, Refused, HupfastError when the board cannot be understood.
    """
    system_root = Path(root)
    machine = Machine(load_board(board, system_root), system_root)
    situation = machine.situation()
    transaction = machine.state.transaction
    return Status(
        board=machine.board.name,
        root=str(system_root),
        situation=situation.kind,
        running=situation.running,
        version=machine.running_version(situation.running),
        tries=situation.boot.tries,
        falls_back=machine.bootloader.falls_back,
        update=f"{transaction.name} {transaction.version}".strip() if transaction else "",
        stage=transaction.stage if transaction else "",
        health=transaction.health if transaction else "",
        slots=tuple(_slot(machine, situation, slot.name) for slot in machine.board.slots),
        last=_last(machine, situation),
        damage=machine.journal.damage,
    )


def _slot(machine: Machine, situation: Situation, slot: str) -> SlotStatus:
    record, transaction = machine.record(slot), machine.state.transaction
    running = slot == situation.running
    if record is not None or running:
        system = "complete"
    elif transaction is not None and transaction.target == slot:
        system = "incomplete"
    else:
        system = "unknown"
    return SlotStatus(
        slot=slot,
        name=record.name if record else "",
        version=record.version if record else (machine.running_version(slot) if running else ""),
        system=system,
        confirmed=record.confirmed if record else running,
        running=running,
        boots_next=slot == situation.boot.next,
    )


def _last(machine: Machine, situation: Situation) -> Ending | None:
    transaction = machine.state.transaction
    if transaction is None or situation.kind != "fell back":
        return machine.state.last
    return Ending("fell back", situation.reason, transaction.name, transaction.version, transaction.target, 0)
