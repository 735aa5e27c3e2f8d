"""
Raspberry Pi firmware with one boot partition, and a directory for each slot on it (boot_prefix in [[slots]]). See
trial_flag.py for the flag and the mark.

```
config.txt       os_prefix=a/                      goes before kernel, initramfs, device trees and cmdline.txt
tryboot.txt      # hupfast.trial 6ee1d1a6-5f...    read instead of config.txt with the flag; the boot it was made in
                 os_prefix=b/                      all else as in config.txt
a/cmdline.txt    console=tty1 root=PARTUUID=1234abcd-02 rootwait
b/cmdline.txt    console=tty1 root=PARTUUID=1234abcd-03 rootwait
```
Keys: `directory` (/boot), `root` (as in rootarg.py). The root= of a slot is put right before config.txt or tryboot.txt
names it: the boot files of a bundle are the same for both slots. The firmware goes without a prefix that has no kernel
behind it, so nothing that boots should be beside the directories; overlays are the slot's own only where it has
overlays/README.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hupfast.bootloaders.counted import PlacesFunction
from hupfast.bootloaders.files import replace_file
from hupfast.bootloaders.rootarg import cmdline_spans
from hupfast.bootloaders.trial_flag import MARK, Facts, Once, Setting, check_exact, scan, text_of
from hupfast.durable import remove_durably
from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.slots import Slot, find_places
from hupfast.system import read_small, under

_LINE_LIMIT = 78  # characters of a line that old firmware reads; new firmware reads 98
_ROOT = re.compile(r"(?<!\S)root=\S+")


def factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], Tryboot]":
    """kind "tryboot"."""
    directory = table.path("directory", "/boot")
    template = table.text("root", pattern=r"\{device\}|LABEL=\{label\}|PARTUUID=\{partuuid\}")
    prefixes = {slot.name: slot.boot_prefix for slot in slots}
    for slot, prefix in prefixes.items():
        if not prefix:
            raise table.fail("kind", f"slot {slot} has no boot_prefix, and each slot needs a directory of its own")
        if len(f"os_prefix={prefix}") > _LINE_LIMIT:
            raise table.fail("kind", f"the boot_prefix {prefix!r} of slot {slot} is too long a line for the firmware")
    return lambda root: Tryboot(
        root, partial(find_places, root, slots), directory=directory, template=template, prefixes=prefixes
    )


class Tryboot(Once):
    """config.txt and tryboot.txt. template: how a root= is spelled; prefixes: by slot."""

    def __init__(
        self, root: Path, places: PlacesFunction, *, directory: str, template: str, prefixes: dict[str, str]
    ) -> None:
        super().__init__(root, places)
        self._directory = under(root, directory)
        self._trial_path = self._directory / "tryboot.txt"
        self._template = template
        self._prefixes = prefixes
        self.changed_files = tuple(f"{prefix}cmdline.txt" for prefix in prefixes.values())

    @property
    def where(self) -> Path:
        """config.txt."""
        return self._directory / "config.txt"

    def facts(self) -> Facts:
        """What config.txt and tryboot.txt say."""
        default = self._slot_in(self.where, text_of(self.where))
        text = (read_small(self._trial_path) or b"").decode("latin-1")
        mark = MARK.match(text)
        return Facts(default, self._slot_in(self._trial_path, text) if mark else None, mark[1] if mark else "")

    def switch(self, slot: str, trial: bool = True) -> None:
        """
        Write tryboot.txt for a trial; else config.txt, then tryboot.txt is removed.

        A trial of the default makes the other slot the default: it is what the trial falls back to. Before the
        second of two writes, what boots is as it was, or as it will be.
        """
        if slot not in self._prefixes:
            raise HupfastError(f"the bootloader knows no slot {slot!r}")
        text = text_of(self.where)
        default = self._slot_in(self.where, text)
        if trial:
            self._check_autoboot()
            self._set_root(slot)
            replace_file(self._trial_path, self.marked(self._with_slot(text, slot)).encode("latin-1"))
            slot = default if default != slot else self._places().other(slot)
        if slot != default:
            self._set_root(slot)
            replace_file(self.where, self._with_slot(text, slot).encode("latin-1"))
        if not trial:
            remove_durably(self._trial_path)

    def _with_slot(self, text: str, slot: str) -> str:
        """config.txt with the prefix of a slot."""
        setting = self._prefix_in(self.where, text)
        return text[: setting.start] + self._prefixes[slot] + text[setting.end :]

    def _slot_in(self, path: Path, text: str) -> str:
        value = self._prefix_in(path, text).value
        for slot, prefix in self._prefixes.items():
            if value == prefix:
                return slot
        raise HupfastError(
            f"{path} has os_prefix={value}, which is neither of the slots ({self._known()});"
            " set it to the slot that is to boot"
        )

    def _prefix_in(self, path: Path, text: str) -> Setting:
        """The os_prefix that counts: the last. Raises: HupfastError unless that one counts always."""
        found = None
        for setting in scan(text)[0]:
            if setting.key == "include":
                self._check_included(path, setting.value.strip())
            elif setting.key == "cmdline" and setting.value.strip() != "cmdline.txt":
                raise HupfastError(
                    f"{path} has the kernel command line in another file (cmdline={setting.value}), where hupfast"
                    " would not set its root=; remove that line, and use the cmdline.txt of each slot"
                )
            elif setting.key == "os_prefix":
                if setting.section:
                    raise HupfastError(
                        f"{path} has an os_prefix in the section {setting.section}, so it depends on the board which"
                        " slot boots; leave only one, in [all]"
                    )
                check_exact(path, setting)
                found = setting
        if found is None:
            raise HupfastError(
                f"{path} has no os_prefix, so there is nothing to switch; put the prefix of the slot that is to boot"
                f" into its [all] section ({self._known()})"
            )
        return found

    def _check_included(self, path: Path, name: str) -> None:
        """Refuse an included file that would have a say. (Not every firmware includes it.)"""
        included = self._directory / name
        settings, section = scan((read_small(included) or b"").decode("latin-1"))
        for setting in settings:
            if setting.key in ("os_prefix", "cmdline", "include"):
                raise HupfastError(
                    f"{included}, which {path} includes, has {setting.key!r}, so it is not certain which slot boots;"
                    f" move that line into {self.where}"
                )
        if section:
            raise HupfastError(
                f"{included}, which {path} includes, ends in the section {section}, which goes on behind it;"
                " put the line [all] at its end"
            )

    def _check_autoboot(self) -> None:
        """Refuse the other kind's switch: tryboot.txt would never be read."""
        path = self._directory / "autoboot.txt"
        settings, _ = scan((read_small(path) or b"").decode("latin-1"))
        if any(setting.key == "tryboot_a_b" and setting.value.strip() == "1" for setting in settings):
            raise HupfastError(
                f"{path} has tryboot_a_b=1, so the firmware never reads tryboot.txt, and a trial would not be one;"
                ' remove that line, or use a profile with the bootloader kind "tryboot-partition"'
            )

    def _set_root(self, slot: str) -> None:
        """Make a slot's command line name the slot's own root."""
        path = self._directory / f"{self._prefixes[slot]}cmdline.txt"
        if not path.is_file():
            raise HupfastError(
                f"slot {slot} has no kernel command line: {path} is missing, so it would not boot;"
                " put cmdline.txt among the boot files of the bundle, or write it there"
            )
        text = text_of(path)
        start, end = next(iter(cmdline_spans(text)), (0, 0))
        if not _ROOT.search(text, start, end):
            raise HupfastError(
                f"the kernel command line {path} of slot {slot} has no root=, so it would not boot; put one into it"
            )
        word = "root=" + self._places().spell(self._template, slot)
        changed = text[:start] + _ROOT.sub(lambda _: word, text[start:end]) + text[end:]
        if changed != text:
            replace_file(path, changed.encode("latin-1"))

    def _known(self) -> str:
        return ", ".join(f"{slot}: os_prefix={prefix}" for slot, prefix in self._prefixes.items())
