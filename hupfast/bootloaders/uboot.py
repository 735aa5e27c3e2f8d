"""
U-Boot, told by its environment (hupfast/uboot_env.py).

Keys of the profile: `config` (/etc/fw_env.config), and those of counted.py; the slot's variable is
`hup_root_part`, in decimal, unless they say otherwise.

With CONFIG_BOOTCOUNT_LIMIT and CONFIG_BOOTCOUNT_ENV, U-Boot counts `bootcount` up at each start while
`upgrade_available` is 1, and runs `altbootcmd` instead of `bootcmd` when it is above `bootlimit`, a variable that
goes before the profile's `tries` (doc/README.bootcount). What the board's own scripts have to do:

    bootcmd      boot the slot that hup_root_part names
    altbootcmd   boot the other one
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from hupfast import uboot_env
from hupfast.bootloaders.counted import Counted, Names, PlacesFunction, read_names
from hupfast.profile import Table
from hupfast.slots import Slot, find_places
from hupfast.system import under


def factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], UBoot]":
    """kind "uboot"."""
    config = table.path("config", "/etc/fw_env.config")
    names = read_names(table, slot="hup_root_part", spelling="decimal", limit=3)
    return lambda root: UBoot(root, partial(find_places, root, slots), names, config=config)


class UBoot(Counted):
    """The variables are in U-Boot's environment; one switch is one write of it."""

    def __init__(self, root: Path, places: PlacesFunction, names: Names, *, config: str) -> None:
        super().__init__(root, places, names)
        self._config = under(root, config)

    @property
    def where(self) -> str:
        """What is told in messages."""
        return f"the U-Boot environment of {self._config}"

    def load(self) -> Mapping[str, str]:
        """The variables of the valid copy."""
        return self._environment().variables

    def store(self, changes: Mapping[str, str]) -> None:
        """Write the other copy, or replace the only one."""
        uboot_env.store(self._environment(), changes)

    def _environment(self) -> uboot_env.Environment:
        return uboot_env.load(uboot_env.read_config(self._config, self._root))
