"""
What the two ways of Raspberry Pi's tryboot have in common: `reboot "0 tryboot"` sets a flag, with which the firmware
boots another way, once (tryboot.py, autoboot.py).

The flag is gone with the next reset of any kind, so a trial has one try, and the firmware does not note how it ended.
The first line of what is read with the flag is a mark, `# hupfast.trial BOOT-ID`, with the boot it was written in:

```
names b for the trial, written in this boot        a trial of slot b, not tried yet (tries 1)
the same, written in an earlier boot; b runs       on trial (tries 0)
the same; a runs, the flag is not set              over: no trial. judge() takes it for "fell back" by the journal's
                                                   boot id. A reboot without the argument ends here as well.
the same; a runs, the flag is set                  over, and tried for sure (failed b)
names the slot that is the default, or no mark     no trial: a leftover, or somebody else's
```
The flag alone tells nothing: it stays set in a system that was confirmed, up to its next reboot. It needs the
Raspberry Pi kernel: mainline does not pass it on.

Settings, as config.txt and autoboot.txt have them:
```
[all]                     a section: the filters that what follows stands under; [all] ends them
os_prefix=a/              key=value, without blanks
include other.txt
```
Blanks around a key or "=", and conditional sections, are refused where they would make it uncertain what boots. All
else in a file stays byte for byte.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from hupfast.bootloaders import BootState
from hupfast.bootloaders.counted import PlacesFunction
from hupfast.bootloaders.files import read_file
from hupfast.errors import HupfastError
from hupfast.system import boot_id, read_small, under

MARK = re.compile(r"# hupfast\.trial ?([^\r\n]*)\r?\n")
_FLAG = "/proc/device-tree/chosen/bootloader/tryboot"
_SECTION_LIMIT = 256  # characters, of what is only to be told
_SETTING = re.compile(r"([ \t]*)([a-z_]+)([ \t]*=[ \t]*|[ \t]+)(.*?)\r?", re.DOTALL)


@dataclass(frozen=True)
class Setting:
    """
    A line `key=value`, or `include FILE`. section: the filters that it stands under, "" when it counts always;
    start, end: of the value in the text; is_exact: there are no blanks before the value that do not belong there.
    """

    key: str
    value: str
    section: str
    start: int
    end: int
    is_exact: bool


def scan(text: str) -> tuple[list[Setting], str]:
    """The settings of a file, and the section that it ends in."""
    found, section, start = [], "", 0
    for line in text.split("\n"):
        match = _SETTING.fullmatch(line)
        if line.rstrip(" \t\r") == "[all]":
            section = ""
        elif (name := line.strip(" \t\r")).startswith("["):
            if len(section) < _SECTION_LIMIT and not section.endswith(name):
                section += name[:_SECTION_LIMIT]  # filters of different types add up
        elif match:
            place, is_exact = start + match.start(4), match[1] == "" and match[3] == "="
            found.append(Setting(match[2], match[4], section, place, start + match.end(4), is_exact))
        start += len(line) + 1
    return found, section


@dataclass(frozen=True)
class Facts:
    """What the files say. trial: the slot of a trial that hupfast has written, or None; boot: when it did."""

    default: str
    trial: str | None
    boot: str


class Once:
    """What both kinds have in common: a trial is what is booted with the flag."""

    falls_back = True
    changed_files: tuple[str, ...] = ()

    def __init__(self, root: Path, places: PlacesFunction) -> None:
        self._root = root
        self._places = places

    @property
    def where(self) -> Path:
        """The file that names the default."""
        raise NotImplementedError

    def facts(self) -> Facts:
        """Read the files. Raises: HupfastError when they do not decide which slot boots."""
        raise NotImplementedError

    def switch(self, slot: str, trial: bool = True) -> None:
        """See Bootloader."""
        raise NotImplementedError

    @property
    def reboot_argument(self) -> str | None:
        """What sets the flag, while there is a trial that was not tried."""
        return "0 tryboot" if self.state().tries else None

    def current(self) -> str:
        """The slot whose filesystem is the root."""
        return self._places().running

    def state(self) -> BootState:
        """What the files, the flag and the boot id say: the table above."""
        facts = self.facts()
        if facts.trial in (None, facts.default):
            return BootState(facts.default, None, 0, None)
        if facts.trial == self.current():
            return BootState(facts.default, facts.trial, 0, None)
        if facts.boot == boot_id(self._root):
            return BootState(facts.default, facts.trial, 1, None)
        return BootState(facts.default, None, 0, facts.trial if self._is_flag_set() else None)

    def confirm(self) -> None:
        """Make the slot on trial the default."""
        self.switch(self.state().expect_trial(self.where.parent), trial=False)

    def _is_flag_set(self) -> bool:
        """Whether the firmware has booted this system with the flag."""
        return int.from_bytes((read_small(under(self._root, _FLAG)) or b"")[:4], "big") == 1

    def marked(self, text: str) -> str:
        """The text with the mark of a trial as its first line."""
        return f"# hupfast.trial {boot_id(self._root)}\n{text}"


def text_of(path: Path) -> str:
    """The text of a bootloader's file, each byte a character."""
    return read_file(path).decode("latin-1")


def check_exact(path: Path, setting: Setting) -> None:
    """Raises: HupfastError when it is not certain what the firmware makes of the line."""
    if not setting.is_exact:
        raise HupfastError(
            f"{path} has blanks before {setting.key}, or around its '=', and it is not certain what the firmware makes"
            f" of that; write it as {setting.key}={setting.value}"
        )
