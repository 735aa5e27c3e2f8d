"""
U-Boot, told by text files on the boot partition (hupfast/envtext.py).

kind "uenv-bootpart"    BeagleBone, uEnv.txt: bootpart=1:2       device, partition
kind "uenv-root-part"   Artik, uEnv.txt:      resin_root_part=2
    Keys: `file`, `variable`, `spelling` ("hex", as U-Boot reads numbers, or "decimal"). Nothing counts tries
    here: a trial is the variable hupfast_trial=SLOT in the same file, and in the same write.

kind "balena-uboot"     balenaOS 2.x:
    resinOS_uEnv.txt    resin_root_part=a (hex), upgrade_available=1
    bootcount.env       bootcount=0\\n\\0: 13 bytes that U-Boot writes over, and cannot make, on FAT
    Keys: `directory`, and those of counted.py. U-Boot counts up before each boot while upgrade_available is 1,
    and boots the other slot once the count is above 3. The count is set back before the switch is written, so
    that the switch is the one write of resinOS_uEnv.txt.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from hupfast import envtext
from hupfast.bootloaders import BootState
from hupfast.bootloaders.counted import Counted, Names, PlacesFunction, read_names
from hupfast.bootloaders.files import read_file, replace_file
from hupfast.durable import fsync_path
from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.slots import Slot, find_places
from hupfast.system import explained, under

MARK = "hupfast_trial"
"""The variable that names a slot on trial where nothing counts tries."""

_SPELLINGS = {"decimal": "{partition}", "hex": "{partition_hex}"}
_COUNT_FILE = "bootcount.env"


def bootpart_factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], UEnv]":
    """kind "uenv-bootpart"."""
    return _factory(table, slots, "bootpart")


def root_part_factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], UEnv]":
    """kind "uenv-root-part"."""
    return _factory(table, slots, "resin_root_part")


def _factory(table: Table, slots: tuple[Slot, ...], variable: str) -> "Callable[[Path], UEnv]":
    file = table.path("file")
    name = table.text("variable", variable, pattern=r"[A-Za-z_][A-Za-z0-9_]*")
    spelling = _SPELLINGS[table.choice("spelling", tuple(_SPELLINGS), "hex")]
    return lambda root: UEnv(root, partial(find_places, root, slots), file=file, variable=name, spelling=spelling)


def balena_factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], BalenaUBoot]":
    """kind "balena-uboot"."""
    directory = table.path("directory")
    names = read_names(table, slot="resin_root_part", spelling="hex", limit=3)
    return lambda root: BalenaUBoot(root, partial(find_places, root, slots), names, directory=directory)


class UEnv:
    """One variable of a text file, with a device and a colon before it or not."""

    falls_back = False
    reboot_argument = None
    changed_files: tuple[str, ...] = ()

    def __init__(self, root: Path, places: PlacesFunction, *, file: str, variable: str, spelling: str) -> None:
        self._path = under(root, file)
        self._places = places
        self._variable = variable
        self._spelling = spelling

    def current(self) -> str:
        """The slot whose filesystem is the root."""
        return self._places().running

    def state(self) -> BootState:
        """What the file says."""
        slot, _ = self._read()
        trial = self._variables().get(MARK)
        if trial is None:
            return BootState(slot, None, 0, None)
        if trial.strip() != slot:
            raise HupfastError(f"{self._path} boots slot {slot}, and has slot {trial} on trial; remove {MARK} there")
        return BootState(self._places().other(slot), slot, 1, None)

    def switch(self, slot: str, trial: bool = True) -> None:
        """Boot `slot`, with or without the mark of a trial."""
        places = self._places()
        if slot not in places.places:
            raise HupfastError(f"the bootloader knows no slot {slot!r}")
        _, prefix = self._read()
        value = prefix + places.spell(self._spelling, slot)
        changes = {self._variable: value, MARK: slot if trial else None}
        replace_file(self._path, envtext.change(read_file(self._path), changes))

    def confirm(self) -> None:
        """Take the mark away."""
        self.switch(self.state().expect_trial(self._path), trial=False)

    def _variables(self) -> dict[str, str]:
        try:
            return envtext.parse(read_file(self._path))
        except ValueError as error:
            raise HupfastError(f"the bootloader's file {self._path} makes no sense: {error}") from None

    def _read(self) -> tuple[str, str]:
        """The slot, and what stands before its number ("1:")."""
        value = self._variables().get(self._variable)
        if value is None:
            raise HupfastError(f"{self._path} has no variable {self._variable}, so there is nothing to switch")
        prefix, colon, number = value.strip().rpartition(":")
        places = self._places()
        base = 16 if "hex" in self._spelling else 10
        for slot in places.places:
            try:
                if int(number, base) == places.places[slot].partition:
                    return slot, prefix + colon
            except ValueError:
                break
        raise HupfastError(f"{self._path} has {self._variable}={value}, which is neither of the slots")


class BalenaUBoot(Counted):
    """balenaOS 2.x: slot and trial in one file, the count in another."""

    def __init__(self, root: Path, places: PlacesFunction, names: Names, *, directory: str) -> None:
        super().__init__(root, places, names)
        self._directory = under(root, directory)
        self._path = self._directory / "resinOS_uEnv.txt"

    @property
    def where(self) -> str:
        """The file of the switch."""
        return str(self._path)

    def load(self) -> Mapping[str, str]:
        """Both files' variables; a count file that is missing or empty counts as 0."""
        count: dict[str, str] = {}
        try:
            if (self._directory / _COUNT_FILE).is_file():
                count = envtext.parse(read_file(self._directory / _COUNT_FILE))
            return {**count, **envtext.parse(read_file(self._path))}
        except ValueError as error:
            raise HupfastError(f"the bootloader's files in {self._directory} make no sense: {error}") from None

    def store(self, changes: Mapping[str, str]) -> None:
        """The count first: a cut behind it leaves the switch as it was."""
        rest = dict(changes)
        count = rest.pop(self._names.count, None)
        data = envtext.change(read_file(self._path), rest)
        if count is not None:
            self._remove_duplicates()
            replace_file(self._directory / _COUNT_FILE, f"{self._names.count}={count}\n\0".encode())
        replace_file(self._path, data)

    def _remove_duplicates(self) -> None:
        """U-Boot's FAT driver has made second files of that name; with one of these, the count would be stuck."""
        with explained(f"cannot remove duplicates of {_COUNT_FILE} in {self._directory}"):
            names = [name for name in os.listdir(self._directory) if _COUNT_FILE in name.casefold()]
            surplus = [name for name in names if name != _COUNT_FILE]
            surplus += [_COUNT_FILE] * (names.count(_COUNT_FILE) - 1)
            for name in surplus:
                os.unlink(self._directory / name)
            if surplus:
                fsync_path(self._directory)
