"""
UEFI firmware as the bootloader: an entry of its boot manager for each slot, no boot loader's menu between.

```
Boot0001 "hup-a"   Boot0002 "hup-b"   Boot0000 "somebody else's"

BootOrder 0001 0000 0002               slot a for good
BootOrder 0001 0000 0002  BootNext 0002    a trial of slot b: the firmware deletes BootNext before it boots it
BootOrder 0001 0000 0002               b runs: the trial is on; a runs: it is over (or there was none)
BootOrder 0002 0000 0001               confirmed
BootOrder 0001 0000 0002  BootNext 0001    b runs, and was left: slot a from the next boot on
```
A trial has one try. The default is the slot whose entry comes first in BootOrder; entries of others keep their places.
The firmware does not note that a trial failed: BootNext is gone, and the old slot runs. (That an update was made, and
a reboot, the journal knows.)

A slot that runs without being the default is on trial here, also when somebody has chosen it in the firmware's menu,
or when the firmware could not load the default. Leaving a trial must therefore be told from being in it until the
reboot, and that is what the BootNext of the last line is for.

Keys: `directory` (/sys/firmware/efi/efivars), and [bootloader.entries] with an entry's description for each slot, as
`efibootmgr --create --label` sets it. The entries are found by it: their numbers change when they are made anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hupfast.bootloaders import BootState, one_for_each
from hupfast.bootloaders.counted import PlacesFunction
from hupfast.efivars import EfiVariables, LoadOption, in_front, serialize_numbers
from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.slots import Slot, find_places
from hupfast.system import under


@dataclass(frozen=True)
class Facts:
    """What the variables say. numbers: of the entries, by slot; next: BootNext; running: the slot that runs."""

    numbers: dict[str, int]
    order: tuple[int, ...]
    next: int | None
    running: str

    @property
    def default(self) -> str:
        """The slot whose entry comes first."""
        places = {slot: self.order.index(number) for slot, number in self.numbers.items() if number in self.order}
        return min(places, key=lambda slot: places[slot])

    def slot_of(self, number: int | None) -> str | None:
        """The slot that has the entry with that number."""
        return next((slot for slot, own in self.numbers.items() if own == number), None)

    def other(self, slot: str) -> str:
        """The slot that is not `slot`."""
        return next(name for name in self.numbers if name != slot)


def factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], EfiBoot]":
    """kind "efi"."""
    directory = table.path("directory", "/sys/firmware/efi/efivars")
    names = one_for_each(table, "entries", slots, Table.text, "entry")
    return lambda root: EfiBoot(root, partial(find_places, root, slots), directory=directory, names=names)


class EfiBoot:
    """The entries of two slots. names: the entries' descriptions, by slot."""

    falls_back = True
    reboot_argument = None
    changed_files: tuple[str, ...] = ()

    def __init__(self, root: Path, places: PlacesFunction, *, directory: str, names: dict[str, str]) -> None:
        self._places = places
        self._variables = EfiVariables(under(root, directory))
        self._names = names

    def current(self) -> str:
        """The slot whose filesystem is the root."""
        return self._places().running

    def state(self) -> BootState:
        """What BootOrder and BootNext say, and which slot runs."""
        facts = self._facts()
        following = facts.slot_of(facts.next)
        if following is not None:
            trial = following if following != facts.default else None
            return BootState(facts.default, trial, 1 if trial else 0, None)
        trial = facts.running if facts.running != facts.default else None
        return BootState(facts.default, trial, 0, None)

    def switch(self, slot: str, trial: bool = True) -> None:
        """
        Name the slot's entry in BootNext, or put it in front in BootOrder.

        Where both variables are to be written, what is between the writes boots as before (a trial) or as after.
        """
        if slot not in self._names:
            raise HupfastError(f"the bootloader knows no slot {slot!r}")
        facts = self._facts()
        number, other = facts.numbers[slot], facts.numbers[facts.other(slot)]
        if trial:
            self._variables.write("BootNext", serialize_numbers([number]))
            if facts.default == slot:
                self._set_order(in_front(facts.order, other, number))
            return
        self._set_order(in_front(facts.order, number, other))
        if facts.running == slot:
            self._variables.delete("BootNext")
        else:  # without it, the running slot would be on trial again
            self._variables.write("BootNext", serialize_numbers([number]))

    def confirm(self) -> None:
        """Put the entry of the slot on trial in front."""
        self.switch(self.state().expect_trial(self._variables.directory), trial=False)

    def _set_order(self, order: tuple[int, ...]) -> None:
        self._variables.write("BootOrder", serialize_numbers(order))

    def _facts(self) -> Facts:
        """Read it all. Raises: HupfastError when it does not decide which slot boots."""
        directory = self._variables.directory
        entries = self._entries()
        if not entries:
            raise HupfastError(
                f"there are no EFI boot entries in {directory}, so there is nothing to switch; was this board booted"
                " by UEFI firmware, and is efivarfs mounted (mount -t efivarfs efivarfs /sys/firmware/efi/efivars)?"
            )
        found = {slot: self._entry(slot, entries) for slot in self._names}
        numbers = {slot: entry.number for slot, entry in found.items()}
        order = self._variables.order()
        if order is None or not set(numbers.values()) & set(order):
            what = "there is no EFI variable" if order is None else "no slot's entry is in the EFI variable"
            running = numbers[self.current()]
            listed = ",".join(f"{number:04X}" for number in (running, *(order or ())))
            raise HupfastError(
                f"{what} {self._variables.path('BootOrder')}, so it is not known which slot boots;"
                f" set it with: efibootmgr -o {listed}"
            )
        facts = Facts(numbers, order, self._variables.number("BootNext"), self.current())
        self._check_running(facts)
        return facts

    def _entries(self) -> list[LoadOption]:
        return self._variables.entries() if self._variables.directory.is_dir() else []

    def _entry(self, slot: str, entries: list[LoadOption]) -> LoadOption:
        description, directory = self._names[slot], self._variables.directory
        same = [entry for entry in entries if entry.description == description]
        if not same:
            raise HupfastError(
                f"there is no EFI boot entry {description!r} for slot {slot} in {directory}; make it with: efibootmgr"
                f" --create-only --disk DISK --part NUMBER --label {description!r} --loader LOADER"
            )
        if len(same) > 1:
            raise HupfastError(
                f"{len(same)} EFI boot entries in {directory} are called {description!r}"
                f" ({', '.join(entry.name for entry in same)}), so slot {slot} is not one of them for sure;"
                " remove those that are too many with: efibootmgr -B -b NUMBER"
            )
        if not same[0].active:
            raise HupfastError(
                f"the EFI boot entry {same[0].name} ({description!r}) of slot {slot} in {directory} is not active,"
                f" so the firmware leaves it out; make it active with: efibootmgr -a -b {same[0].number:04X}"
            )
        return same[0]

    def _check_running(self, facts: Facts) -> None:
        """Refuse entries that boot the other one's slot: a trial would not be one."""
        booted = facts.slot_of(self._variables.number("BootCurrent"))
        if booted not in (None, facts.running):
            raise HupfastError(
                f"the firmware has booted the entry {self._names[str(booted)]!r} of slot {booted}, and slot"
                f" {facts.running} runs; correct the profile or the entries (efibootmgr -v shows them), and reboot"
            )
