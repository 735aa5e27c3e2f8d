"""
Raspberry Pi firmware with two boot partitions, and a first one that says which. See trial_flag.py for the flag and the
mark.

```
autoboot.txt     # hupfast.trial 6ee1d1a6-5f...    only while there is a trial
                 [all]
                 tryboot_a_b=1                     config.txt is read with the flag, too
                 boot_partition=2
                 [tryboot]
                 boot_partition=3                  with the flag
```
Keys: `file` (/bootsel/autoboot.txt), and [bootloader.partitions] with the number of each slot's boot partition.
The boot files of a slot, and the root= in its cmdline.txt, are the business of that partition, not of hupfast.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from hupfast.bootloaders import one_for_each
from hupfast.bootloaders.counted import PlacesFunction
from hupfast.bootloaders.files import replace_file
from hupfast.bootloaders.trial_flag import MARK, Facts, Once, Setting, check_exact, scan, text_of
from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.slots import Slot, find_places
from hupfast.system import under

AUTOBOOT_LIMIT = 512
"""Bytes of autoboot.txt that the firmware reads."""


def factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], Autoboot]":
    """kind "tryboot-partition"."""
    file = table.path("file", "/bootsel/autoboot.txt")
    read = partial(Table.number, least=1, most=255)
    numbers = one_for_each(table, "partitions", slots, read, "boot partition")
    return lambda root: Autoboot(root, partial(find_places, root, slots), file=file, numbers=numbers)


class Autoboot(Once):
    """autoboot.txt. numbers: of the boot partitions, by slot."""

    def __init__(self, root: Path, places: PlacesFunction, *, file: str, numbers: dict[str, int]) -> None:
        super().__init__(root, places)
        self._path = under(root, file)
        self._numbers = numbers

    @property
    def where(self) -> Path:
        """autoboot.txt."""
        return self._path

    def facts(self) -> Facts:
        """What autoboot.txt says."""
        text = text_of(self._path)
        default, trial = self._settings_in(text)
        mark = MARK.match(text)
        return Facts(self._slot_of(default), self._slot_of(trial) if mark else None, mark[1] if mark else "")

    def switch(self, slot: str, trial: bool = True) -> None:
        """
        Name the slot's partition in [tryboot], or in both sections. One write.

        A trial of the default makes the other slot the default: it is what the trial falls back to.
        """
        if slot not in self._numbers:
            raise HupfastError(f"the bootloader knows no slot {slot!r}")
        text = text_of(self._path)
        default = self._slot_of(self._settings_in(text)[0])
        if not trial:
            default = slot
        elif default == slot:
            default = self._places().other(slot)
        if mark := MARK.match(text):
            text = text[mark.end() :]
        text = self._with_slots(text, default, slot)
        data = (self.marked(text) if trial else text).encode("latin-1")
        if len(data) > AUTOBOOT_LIMIT:
            raise HupfastError(
                f"{self._path} would have {len(data)} bytes, and the firmware reads {AUTOBOOT_LIMIT};"
                " remove comments from it"
            )
        replace_file(self._path, data)

    def _with_slots(self, text: str, default: str, trial: str) -> str:
        """autoboot.txt with these two, the second one where the flag makes a difference."""
        always, once = self._settings_in(text)
        if once is always:
            line_end = "\r\n" if "\r\n" in text else "\n"
            filters = {"": ["[tryboot]"], "[tryboot]": []}.get(scan(text)[1], ["[all]", "[tryboot]"])
            text += "" if text.endswith("\n") else line_end
            text += "".join(f"{line}{line_end}" for line in [*filters, "boot_partition=0"])
            always, once = self._settings_in(text)
        text = text[: once.start] + str(self._numbers[trial]) + text[once.end :]
        always, _ = self._settings_in(text)
        return text[: always.start] + str(self._numbers[default]) + text[always.end :]

    def _settings_in(self, text: str) -> tuple[Setting, Setting]:
        """The boot_partition that counts without the flag, and the one with it: the last of each."""
        always, once, is_ab = None, None, False
        for setting in scan(text)[0]:
            if setting.key == "tryboot_a_b" and not setting.section:
                is_ab = setting.is_exact and setting.value == "1"
            elif setting.key == "boot_partition":
                if setting.section not in ("", "[tryboot]"):
                    raise HupfastError(
                        f"{self._path} has a boot_partition in the section {setting.section}, so it is not certain"
                        " which slot boots; leave one in [all], and one in [tryboot] behind it"
                    )
                check_exact(self._path, setting)
                once = setting
                always = always if setting.section else setting
        if not is_ab:
            raise HupfastError(
                f"{self._path} has no tryboot_a_b=1 in its [all] section, so the firmware would read tryboot.txt for a"
                " trial; put that line there"
            )
        if always is None or once is None:
            raise HupfastError(
                f"{self._path} has no boot_partition in its [all] section, so it is not known which slot boots;"
                f" put one there ({self._known()})"
            )
        return always, once

    def _slot_of(self, setting: Setting) -> str:
        for slot, number in self._numbers.items():
            if setting.value == str(number):
                return slot
        raise HupfastError(
            f"{self._path} has boot_partition={setting.value}, which is neither of the slots ({self._known()});"
            " set it to the slot that is to boot"
        )

    def _known(self) -> str:
        return ", ".join(f"{slot}: boot_partition={number}" for slot, number in self._numbers.items())
