"""
extlinux.conf with an entry for each slot, as U-Boot and Jetson's firmware read it: the switch is the line DEFAULT.

```
# hupfast.trial b            the first line, while slot b is on trial
DEFAULT hup-b                the last one counts
LABEL hup-a
      LINUX /a/Image
      APPEND root=/dev/mmcblk0p2
LABEL hup-b
      LINUX /b/Image
      APPEND root=/dev/mmcblk0p3
```
So kernel, device trees and command line of both slots lie side by side. Nothing counts tries here: a trial is the mark,
in the same write. ONTIMEOUT and MENU DEFAULT would go before DEFAULT, or beside it, and are refused.

Keys: `file` (/boot/extlinux/extlinux.conf), and [bootloader.labels] with the label of each slot.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hupfast.bootloaders import BootState, one_for_each
from hupfast.bootloaders.counted import PlacesFunction
from hupfast.bootloaders.files import read_file, replace_file
from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.slots import Slot, find_places
from hupfast.system import under

_MARK = re.compile(r"# hupfast\.trial (\S+)\r?\n")
_DEFAULT = re.compile(r"^[ \t]*DEFAULT[ \t]+(\S+)", re.MULTILINE | re.IGNORECASE)
_LABEL = re.compile(r"^[ \t]*LABEL[ \t]+(\S+)", re.MULTILINE | re.IGNORECASE)
_OTHER = re.compile(r"^[ \t]*(ONTIMEOUT|MENU[ \t]+DEFAULT)\b", re.MULTILINE | re.IGNORECASE)


def factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], Extlinux]":
    """kind "extlinux-labels"."""
    file = table.path("file", "/boot/extlinux/extlinux.conf")
    read = partial(Table.text, pattern=r"[A-Za-z0-9][A-Za-z0-9._-]*")
    labels = one_for_each(table, "labels", slots, read, "label")
    return lambda root: Extlinux(root, partial(find_places, root, slots), file=file, labels=labels)


class Extlinux:
    """The entries of two slots. labels: by slot."""

    falls_back = False
    reboot_argument = None
    changed_files: tuple[str, ...] = ()

    def __init__(self, root: Path, places: PlacesFunction, *, file: str, labels: dict[str, str]) -> None:
        self._path = under(root, file)
        self._places = places
        self._labels = labels

    def current(self) -> str:
        """The slot whose filesystem is the root."""
        return self._places().running

    def state(self) -> BootState:
        """What DEFAULT and the mark say; a mark of the other slot is stale."""
        text = self._text()
        slot = self._slot_in(text)
        mark = _MARK.match(text)
        if mark and mark[1] == slot:
            return BootState(self._places().other(slot), slot, 1, None)
        return BootState(slot, None, 0, None)

    def switch(self, slot: str, trial: bool = True) -> None:
        """Name the slot's label in DEFAULT, with or without the mark of a trial."""
        if slot not in self._labels:
            raise HupfastError(f"the bootloader knows no slot {slot!r}")
        text = self._text()
        self._slot_in(text)
        start, end = list(_DEFAULT.finditer(text))[-1].span(1)
        text = text[:start] + self._labels[slot] + text[end:]
        text = _MARK.sub("", text, count=1) if _MARK.match(text) else text
        if trial:
            text = f"# hupfast.trial {slot}\n{text}"
        replace_file(self._path, text.encode("latin-1"))

    def confirm(self) -> None:
        """Take the mark away."""
        self.switch(self.state().expect_trial(self._path), trial=False)

    def _text(self) -> str:
        return read_file(self._path).decode("latin-1")

    def _slot_in(self, text: str) -> str:
        """The slot that DEFAULT names. Raises: HupfastError unless DEFAULT alone decides between two entries."""
        other = _OTHER.search(text)
        if other:
            raise HupfastError(
                f"{self._path} has {other[1]}, so DEFAULT does not decide alone which entry boots; remove that line"
            )
        names = _LABEL.findall(text)
        for label in self._labels.values():
            if names.count(label) != 1:
                raise HupfastError(
                    f"{self._path} has {names.count(label)} entries LABEL {label}, and there must be one for each slot"
                )
        chosen = _DEFAULT.findall(text)
        for slot, label in self._labels.items():
            if chosen and chosen[-1] == label:
                return slot
        raise HupfastError(
            f"{self._path} has no DEFAULT that names a slot's entry ({', '.join(self._labels.values())}), so there is"
            " nothing to switch; set it to the entry of the running slot"
        )
