"""
How a board is told which slot to boot: one module for each way, all with the same four methods.

A trial is the heart of it: `switch(slot)` asks for a few tries of a slot, and what was booted until now stays
the default. Only `confirm()` changes the default. When the tries are used up, the bootloader goes back by
itself.

A module offers `factory(table, slots)` for each of its kinds: it takes its own keys out of the profile's
[bootloader] table, and returns what makes a Bootloader for a system root.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypeVar

from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.slots import Slot

KINDS = {
    "virtual": "virtual:factory",
    "uboot": "uboot:factory",
    "grub": "grub:factory",
    "bootenv": "grub:bootenv_factory",
    "systemd-boot": "systemd_boot:factory",
    "efi": "efi:factory",
    "uenv-bootpart": "uenv:bootpart_factory",
    "uenv-root-part": "uenv:root_part_factory",
    "balena-uboot": "uenv:balena_factory",
    "cmdline": "rootarg:cmdline_factory",
    "grub-cfg": "rootarg:grub_factory",
    "extlinux": "rootarg:extlinux_factory",
    "extlinux-labels": "extlinux:factory",
    "tryboot": "tryboot:factory",
    "tryboot-partition": "autoboot:factory",
}
"""Module of this package and function for each kind."""


@dataclass(frozen=True)
class BootState:
    """
    What the bootloader will do at the next boot.

    default: the slot that is booted when no trial is on. trial: the slot that is being tried, or None.
    tries: boots that the trial has left. failed: the slot whose tries ran out last, or None, as far as the
    bootloader remembers such things.
    """

    default: str
    trial: str | None
    tries: int
    failed: str | None

    @property
    def next(self) -> str:
        """The slot that the next boot takes."""
        return self.trial if self.trial is not None and self.tries > 0 else self.default

    def expect_trial(self, where: object) -> str:
        """The slot on trial. where: what knows of none, for the message. Raises: HupfastError when there is none."""
        if self.trial is None:
            raise HupfastError(f"there is no trial in {where} that could be confirmed")
        return self.trial


class Bootloader(Protocol):
    """
    One way of switching. Every method raises HupfastError when the bootloader's own data make no sense.

    falls_back: whether the bootloader itself gives a trial up when its tries are used up. Where it cannot,
    a trial is a mark beside the switch, and only `hupfast confirm` and `rollback` end it. reboot_argument: what
    the firmware must be told with the reboot so that it tries what it was switched to, or None. changed_files: boot
    files of a bundle that a switch changes, as seen from the boot directory.
    """

    @property
    def falls_back(self) -> bool:
        """See above."""
        ...

    @property
    def reboot_argument(self) -> str | None:
        """See above."""
        ...

    @property
    def changed_files(self) -> tuple[str, ...]:
        """See above."""
        ...

    def current(self) -> str:
        """The slot that the running system was booted from. Raises: Refused when it cannot be told."""
        ...

    def state(self) -> BootState:
        """What the bootloader will do next."""
        ...

    def switch(self, slot: str, trial: bool = True) -> None:
        """
        Boot `slot` from now on: as a trial, or (trial=False) for good, which ends any trial.

        One atomic write, durable when it returns.
        """
        ...

    def confirm(self) -> None:
        """Make the slot on trial the default. Raises: HupfastError when there is no trial."""
        ...


_Value = TypeVar("_Value", str, int)


def one_for_each(
    table: Table, key: str, slots: tuple[Slot, ...], read: Callable[[Table, str], _Value], what: str
) -> dict[str, _Value]:
    """
    What the table `key` below [bootloader] says of each slot. what: that it is, for the message.

    Raises: Refused when it is missing, or the same for both.
    """
    inner = table.table(key)
    found = {slot.name: read(inner, slot.name) for slot in slots}
    inner.finish()
    if len(set(found.values())) != len(found):
        raise table.fail(key, f"both slots have the same {what}")
    return found


def bootloader_factory(kind: str, table: Table, slots: tuple[Slot, ...]) -> Callable[[Path], Bootloader]:
    """What makes the bootloader of this kind for a system root. Raises: Refused when the profile is wrong."""
    if kind not in KINDS:
        raise table.fail("kind", f"{kind!r} is no kind of bootloader; known are: {', '.join(KINDS)}")
    module, name = KINDS[kind].split(":")
    factory: Callable[[Table, tuple[Slot, ...]], Callable[[Path], Bootloader]]
    factory = getattr(import_module(f"hupfast.bootloaders.{module}"), name)
    return factory(table, slots)
