"""
The virtual board's bootloader file: text, one `key=value` a line, replaced atomically.

```
default=a      the slot that is booted when no trial is on
trial=b        the slot that is being tried; absent: none
tries=3        boots that the trial has left; absent: 0
failed=b       the slot whose tries ran out; absent: none
```
The firmware (hupfast/virtual.py) counts `tries` down before it boots the trial slot, and at 0 drops the
trial, notes it as failed and boots the default. It tells the running system the slot as `hupfast.slot=` on
the kernel command line.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from hupfast.bootloaders import BootState
from hupfast.durable import write_atomic
from hupfast.errors import HupfastError, Refused
from hupfast.profile import Table
from hupfast.slots import Slot
from hupfast.system import read_small, under

_KEYS = ("default", "trial", "tries", "failed")


def factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], VirtualBootloader]":
    """Read `file` and `tries` of a profile's [bootloader] table."""
    file = table.path("file")
    tries = table.number("tries", 3, least=1, most=9)
    return partial(VirtualBootloader, file=file, tries=tries, slots=tuple(slot.name for slot in slots))


class VirtualBootloader:
    """
    The bootloader of the board in the folder `root`. See hupfast.bootloaders.Bootloader for the methods.
    """

    falls_back = True
    reboot_argument = None
    changed_files: tuple[str, ...] = ()

    def __init__(self, root: Path, *, file: str, tries: int, slots: tuple[str, ...]) -> None:
        self._root = root
        self._path = under(root, file)
        self._tries = tries
        self._slots = slots

    def current(self) -> str:
        """The slot on the kernel command line."""
        path = under(self._root, "/proc/cmdline")
        words = (read_small(path) or b"").decode("utf-8", "replace").split()
        told = [word.removeprefix("hupfast.slot=") for word in words if word.startswith("hupfast.slot=")]
        if len(told) != 1 or told[0] not in self._slots:
            raise Refused(
                f"cannot tell which slot is running: {path} does not name exactly one of the slots"
                f" {', '.join(self._slots)} as hupfast.slot=; is this a virtual board, and booted?"
            )
        return told[0]

    def state(self) -> BootState:
        """What the file says."""
        return self.read()

    def switch(self, slot: str, trial: bool = True) -> None:
        """Try `slot`, or boot it for good; what failed before is forgotten."""
        if slot not in self._slots:
            raise HupfastError(f"the bootloader knows no slot {slot!r}")
        before = self.read()
        if trial:
            self.write(BootState(before.default, slot, self._tries, None))
        else:
            self.write(BootState(slot, None, 0, None))

    def confirm(self) -> None:
        """Make the slot on trial the default."""
        self.write(BootState(self.read().expect_trial(self._path), None, 0, None))

    def read(self) -> BootState:
        """The state in the file. Raises: HupfastError when it is missing or makes no sense."""
        data = read_small(self._path)
        if data is None:
            raise HupfastError(f"the bootloader file {self._path} is missing")
        try:
            return parse(data, self._slots)
        except ValueError as error:
            raise HupfastError(f"the bootloader file {self._path} makes no sense: {error}") from None

    def write(self, state: BootState) -> None:
        """Replace the file, and read it back. Raises: HupfastError, MediumError."""
        write_atomic(self._path, serialize(state))
        if self.read() != state:
            raise HupfastError(f"the bootloader file {self._path} does not hold what was written into it")


def parse(data: bytes, slots: tuple[str, ...]) -> BootState:
    """The state in the bytes of a bootloader file. Raises: ValueError with the reason."""
    values: dict[str, str] = {}
    for line in data.decode("ascii").splitlines():
        key, equals, value = line.partition("=")
        if not equals or key not in _KEYS or key in values:
            raise ValueError(f"the line {line!r}")
        values[key] = value
    tries = values.get("tries", "0")
    if len(tries) != 1 or tries not in "0123456789":
        raise ValueError(f"the tries {tries!r}")
    state = BootState(values.get("default", ""), values.get("trial"), int(tries), values.get("failed"))
    for name in (state.default, state.trial, state.failed):
        if name is not None and name not in slots:
            raise ValueError(f"the slot {name!r}")
    return state if state.trial is not None else replace(state, tries=0)


def serialize(state: BootState) -> bytes:
    """The bytes of a bootloader file."""
    lines = [f"default={state.default}"]
    if state.trial is not None:
        lines += [f"trial={state.trial}", f"tries={state.tries}"]
    if state.failed is not None:
        lines += [f"failed={state.failed}"]
    return "\n".join(lines).encode("ascii") + b"\n"
