"""
What bootloaders that count boots have in common: three variables, kept in one store.

```
slot       hup_root_part=3         the slot that is booted: its partition number, or its letter
available  upgrade_available=1     that slot is on trial
count      bootcount=0             boots of the trial so far; the bootloader counts up before each of them
```
While `available` is 1 the bootloader counts up, boots the slot while the count is not above the limit, and the
other one after that. It need not write anything down when it falls back: a count above the limit tells it.
`available` is 0, and the count is 0, once a slot is permanent. All three are written in one store.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hupfast.bootloaders import BootState
from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.slots import Places

PlacesFunction = Callable[[], Places]
"""Finds the slots, when they are needed."""

_DIGITS = 18
_SPELLINGS = {"decimal": "{partition}", "hex": "{partition_hex}"}


@dataclass(frozen=True)
class Names:
    """Names of the variables, how a slot is spelled in one ("decimal", "hex", "letter"), boots of a trial."""

    slot: str
    available: str
    count: str
    spelling: str
    limit: int


def read_names(table: Table, *, slot: str, spelling: str, limit: int) -> Names:
    """
    The keys that all these kinds have in [bootloader], with their defaults: slot_variable, available_variable
    ("upgrade_available"), count_variable ("bootcount"), spelling, tries.
    """
    return Names(
        slot=table.text("slot_variable", slot, pattern=r"[A-Za-z_][A-Za-z0-9_]*"),
        available=table.text("available_variable", "upgrade_available", pattern=r"[A-Za-z_][A-Za-z0-9_]*"),
        count=table.text("count_variable", "bootcount", pattern=r"[A-Za-z_][A-Za-z0-9_]*"),
        spelling=table.choice("spelling", (*_SPELLINGS, "letter"), spelling),
        limit=table.number("tries", limit, least=1, most=9),
    )


class Counted(ABC):
    """A bootloader that counts boots; see hupfast.bootloaders.Bootloader for the methods."""

    falls_back = True
    reboot_argument = None
    changed_files: tuple[str, ...] = ()

    def __init__(self, root: Path, places: PlacesFunction, names: Names) -> None:
        self._root = root
        self._places = places
        self._names = names

    @property
    @abstractmethod
    def where(self) -> str:
        """What holds the variables, for messages."""

    @abstractmethod
    def load(self) -> Mapping[str, str]:
        """All variables. Raises: HupfastError when there is no such store, or it makes no sense."""

    @abstractmethod
    def store(self, changes: Mapping[str, str]) -> None:
        """Change variables, all in one atomic and durable write, and read them back."""

    def current(self) -> str:
        """The slot whose filesystem is the root."""
        return self._places().running

    def state(self) -> BootState:
        """What the variables say."""
        variables = self.load()
        names = self._names
        slot = self._slot_in(variables)
        if variables.get(names.available, "0").strip() != "1":
            return BootState(slot, None, 0, None)
        count = self._number(variables, names.count, 0, 0)
        limit = self._number(variables, "bootlimit", names.limit, 1)
        default = self._places().other(slot)
        if count > limit:
            return BootState(default, None, 0, slot)
        return BootState(default, slot, limit - count, None)

    def switch(self, slot: str, trial: bool = True) -> None:
        """Try `slot`, or boot it for good; what failed before is forgotten."""
        if slot not in self._places().places:
            raise HupfastError(f"the bootloader knows no slot {slot!r}")
        self._slot_in(self.load())  # a variable that is not there is not what this bootloader reads
        changes = {self._names.slot: self._spell(slot), self._names.available: "1" if trial else "0"}
        self.store({**changes, self._names.count: "0"})

    def confirm(self) -> None:
        """Make the slot on trial the default."""
        self.switch(self.state().expect_trial(self.where), trial=False)

    def _slot_in(self, variables: Mapping[str, str]) -> str:
        value = variables.get(self._names.slot)
        if value is None:
            raise HupfastError(
                f"{self.where} has no variable {self._names.slot}, so there is nothing to switch;"
                " set it once to the slot that runs, or correct the profile"
            )
        for slot in self._places().places:
            if self._same(value.strip(), self._spell(slot)):
                return slot
        raise HupfastError(f"{self.where} has {self._names.slot}={value}, which is neither of the slots")

    def _same(self, value: str, spelled: str) -> bool:
        if self._names.spelling == "letter":
            return value.casefold() == spelled.casefold()
        base = 16 if self._names.spelling == "hex" else 10
        try:
            return int(value, base) == int(spelled, base)
        except ValueError:
            return False

    def _spell(self, slot: str) -> str:
        if self._names.spelling == "letter":
            return slot.upper()
        return self._places().spell(_SPELLINGS[self._names.spelling], slot)

    def _number(self, variables: Mapping[str, str], name: str, default: int, least: int) -> int:
        text = variables.get(name, "").strip() or str(default)
        if not text.isascii() or not text.isdigit() or len(text) > _DIGITS or int(text) < least:
            raise HupfastError(f"{self.where} has {name}={text[:40]}, which is no number of boots")
        return int(text)
