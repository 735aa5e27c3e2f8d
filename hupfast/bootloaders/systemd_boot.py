"""
systemd-boot with boot counting (Boot Loader Specification, type 1 entries).

```
loader/entries/hup-a.conf          no counter: for good
loader/entries/hup-b+3-0.conf      +LEFT-DONE: a trial. The loader renames it before each boot: +2-1, +1-2, +0-3
    title ..., linux ..., options ...
    sort-key hup                   the same in both
    version 7                      of entries with one sort-key, the highest boots
```
The loader sorts entries with no tries left behind all others, so a used up trial falls back by itself; then by
sort-key, machine-id and version (systemd-boot(7), "Boot Loader Specification: Sorting"). A switch is therefore one
rename: the slot's entry, with a version above that of the other one and its counter in the name, is written
beside and renamed into place. Stale files of the same entry lose by their version, and are removed after that.
`confirm` makes the entry without a counter, then removes the one that has it. An empty file, which a power cut can
leave on FAT, is passed over (the loader does so too), and is a stale one.

Keys: `directory` (/boot/loader/entries), `tries` (3), and [bootloader.entries] with an entry's name for each slot.
A `default` in loader.conf, or one set by `bootctl set-default`, would go before the order, and is refused.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hupfast.bootloaders import BootState, one_for_each
from hupfast.bootloaders.counted import PlacesFunction
from hupfast.bootloaders.files import read_file, replace_file
from hupfast.durable import remove_durably
from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.slots import Slot, find_places
from hupfast.system import explained, read_small, under

_NAME = re.compile(r"(?P<id>.+?)(?:\+(?P<left>\d+)(?:-(?P<done>\d+))?)?\.conf")
_DIGITS = 18
_DEFAULT_VARIABLE = "/sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


@dataclass(frozen=True)
class Entry:
    """One file. left: tries, None without a counter. version: the number that its version begins with."""

    slot: str
    path: Path
    left: int | None
    done: int
    version: int
    keys: tuple[str, str]

    @property
    def rank(self) -> tuple[bool, int]:
        """The higher, the sooner it is booted."""
        return self.left != 0, self.version


def factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], SystemdBoot]":
    """kind "systemd-boot"."""
    directory = table.path("directory", "/boot/loader/entries")
    tries = table.number("tries", 3, least=1, most=9)
    read = partial(Table.text, pattern=r"[a-z0-9][a-z0-9._-]*")
    names = one_for_each(table, "entries", slots, read, "entry")
    return lambda root: SystemdBoot(
        root, partial(find_places, root, slots), directory=directory, tries=tries, names=names
    )


class SystemdBoot:
    """The entries of two slots. names: of the entries, by slot."""

    falls_back = True
    reboot_argument = None
    changed_files: tuple[str, ...] = ()

    def __init__(
        self, root: Path, places: PlacesFunction, *, directory: str, tries: int, names: dict[str, str]
    ) -> None:
        self._root = root
        self._places = places
        self._directory = under(root, directory)
        self._tries = tries
        self._names = names

    def current(self) -> str:
        """The slot whose filesystem is the root."""
        return self._places().running

    def state(self) -> BootState:
        """What the order of the entries says, and their counters."""
        newest = {slot: self._newest(slot) for slot in self._names}
        first, second = sorted(newest.values(), key=lambda entry: entry.version, reverse=True)
        if first.left is None:
            return BootState(first.slot, None, 0, None)
        if first.left == 0 and self.current() != first.slot:
            return BootState(second.slot, None, 0, first.slot)
        return BootState(second.slot, first.slot, first.left, None)

    def switch(self, slot: str, trial: bool = True) -> None:
        """Put the slot's entry in front, with a counter or without."""
        if slot not in self._names:
            raise HupfastError(f"the bootloader knows no slot {slot!r}")
        self._check_order()
        entry = self._newest(slot)
        version = max(other.version for other in self._entries()) + 1
        counter = f"+{self._tries}-0" if trial else ""
        target = self._directory / f"{self._names[slot]}{counter}.conf"
        replace_file(target, _with_version(read_file(entry.path), version))
        self._remove_stale(slot, target)

    def confirm(self) -> None:
        """Rename the counter of the trial away."""
        trial = self.state().expect_trial(self._directory)
        # Not by a rename, as systemd-bless-boot does it: FAT would have neither name whole for a moment.
        target = self._directory / f"{self._names[trial]}.conf"
        replace_file(target, read_file(self._newest(trial).path))
        self._remove_stale(trial, target)

    def _remove_stale(self, slot: str, target: Path) -> None:
        for path in self._paths():
            if self._slot_of(path) == slot and path != target:
                remove_durably(path)

    def _newest(self, slot: str) -> Entry:
        found = [entry for entry in self._entries() if entry.slot == slot]
        if not found:
            raise HupfastError(
                f"there is no entry {self._names[slot]}.conf for slot {slot} in {self._directory},"
                " so there is nothing to switch; make one for each slot, with the same sort-key"
            )
        return max(found, key=lambda entry: entry.rank)

    def _paths(self) -> list[Path]:
        with explained(f"cannot read the boot entries in {self._directory}"):
            return sorted(self._directory.iterdir())

    def _slot_of(self, path: Path) -> str | None:
        match = _NAME.fullmatch(path.name)
        return next((slot for slot, name in self._names.items() if match and match["id"] == name), None)

    def _entries(self) -> list[Entry]:
        return [entry for path in self._paths() if (entry := self._entry(path)) is not None]

    def _entry(self, path: Path) -> Entry | None:
        match, slot = _NAME.fullmatch(path.name), self._slot_of(path)
        if match is None or slot is None or not (data := read_file(path)):
            return None
        fields = _fields(data)
        digits = re.match(r"[0-9]+", fields.get("version", ""))
        if digits and len(digits[0]) > _DIGITS:
            raise HupfastError(f"the boot entry {path} has a version of more than {_DIGITS} digits; shorten it")
        return Entry(
            slot=slot,
            path=path,
            left=int(match["left"]) if match["left"] else None,
            done=int(match["done"] or 0),
            version=int(digits[0]) if digits else 0,
            keys=(fields.get("sort-key", ""), fields.get("machine-id", "")),
        )

    def _check_order(self) -> None:
        """Refuse what makes the versions not decide."""
        keys = {self._newest(slot).keys for slot in self._names}
        if len(keys) != 1 or not next(iter(keys))[0]:
            raise HupfastError(
                f"the boot entries {' and '.join(self._names.values())} in {self._directory} have not the same sort-key"
                " (and machine-id), so their versions do not decide which one boots; give both the same"
            )
        config = self._directory.parent / "loader.conf"
        if "default" in _fields(read_small(config) or b""):
            raise HupfastError(f"{config} sets a default, which goes before the order of the entries; remove that line")
        if under(self._root, _DEFAULT_VARIABLE).exists():
            raise HupfastError(
                "a default entry is set in the EFI variables, which goes before the order of the entries;"
                " remove it with: bootctl set-default ''"
            )


def _fields(data: bytes) -> dict[str, str]:
    fields = {}
    for line in data.decode("utf-8", "replace").splitlines():
        words = line.split(None, 1)
        if len(words) == 2 and not words[0].startswith("#"):
            fields[words[0]] = words[1].strip()
    return fields


def _with_version(data: bytes, version: int) -> bytes:
    """The entry with that version; all other lines stay byte for byte."""
    line = re.compile(rb"^[ \t]*version[ \t][^\r\n]*", re.MULTILINE)
    new = b"version %d" % version
    if line.search(data):
        return line.sub(new, data)
    return data.rstrip(b"\n") + b"\n" + new + b"\n"
