"""
GRUB, and balena's bootloader, told by an environment block (hupfast/grubenv.py).

Keys of the profile: `file`, and those of counted.py.

kind "grub"     balena's GRUB: resin_root_part=2, bootcount, upgrade_available; falls back at its 2nd boot (tries = 1)
kind "bootenv"  balena's kernel-and-kexec bootloader: resin_root_part=A; falls back at its 3rd boot (tries = 2)

GRUB itself counts nothing: the board's grub.cfg does, before it boots. Of a board of one's own it has, in short:

```
load_env --file ($boot)/grub/grubenv
if [ "$upgrade_available" = 1 ]; then
  if [ "$bootcount" = 0 ]; then set bootcount=1; elif [ "$bootcount" = 1 ]; then set bootcount=2
  elif [ "$bootcount" = 2 ]; then set bootcount=3; else set bootcount=4; fi
  save_env --file ($boot)/grub/grubenv bootcount
  if [ "$bootcount" = 4 ]; then ...boot the slot that $hup_root_part does not name... fi     (tries = 3)
fi
```
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from hupfast import grubenv
from hupfast.bootloaders.counted import Counted, Names, PlacesFunction, read_names
from hupfast.bootloaders.files import read_file, replace_file
from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.slots import Slot, find_places
from hupfast.system import under


def factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], Grub]":
    """kind "grub"."""
    return _factory(table, slots, read_names(table, slot="resin_root_part", spelling="decimal", limit=1))


def bootenv_factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], Grub]":
    """kind "bootenv"."""
    return _factory(table, slots, read_names(table, slot="resin_root_part", spelling="letter", limit=2))


def _factory(table: Table, slots: tuple[Slot, ...], names: Names) -> "Callable[[Path], Grub]":
    file = table.path("file")
    return lambda root: Grub(root, partial(find_places, root, slots), names, file=file)


class Grub(Counted):
    """The variables are in an environment block."""

    def __init__(self, root: Path, places: PlacesFunction, names: Names, *, file: str) -> None:
        super().__init__(root, places, names)
        self._path = under(root, file)

    @property
    def where(self) -> str:
        """The path of the block."""
        return str(self._path)

    def load(self) -> Mapping[str, str]:
        """The variables of the block."""
        try:
            return grubenv.parse(read_file(self._path))
        except ValueError as error:
            raise self._unusable(error) from None

    def store(self, changes: Mapping[str, str]) -> None:
        """Replace the block."""
        try:
            block = grubenv.change(read_file(self._path), changes)
        except ValueError as error:
            raise self._unusable(error) from None
        replace_file(self._path, block)

    def _unusable(self, error: ValueError) -> HupfastError:
        return HupfastError(f"the environment block {self._path} cannot be used: {error}")
