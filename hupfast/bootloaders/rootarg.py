"""
Bootloaders that are told by the `root=` of a kernel command line in a text file.

kind "cmdline"     Raspberry Pi, cmdline.txt:    the first line is the command line
kind "grub-cfg"    grub.cfg:                     every `linux /vmlinuz root=...` line
kind "extlinux"    extlinux.conf:                the `APPEND` of the entry that `DEFAULT` names

```
console=tty1 root=/dev/mmcblk0p3 rootwait hupfast.trial=b
```
Keys: `file`, and `root`, how a slot is spelled: "{device}", "LABEL={label}" or "PARTUUID={partuuid}". Any of
these is understood when it is read. Nothing counts tries here: a trial is the word hupfast.trial=SLOT behind the
others, in the same write. Command lines whose root is neither slot (a rescue system) are left as they are.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hupfast.bootloaders import BootState
from hupfast.bootloaders.counted import PlacesFunction
from hupfast.bootloaders.files import read_file, replace_file
from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.slots import Places, Slot, find_places
from hupfast.system import under

Spans = list[tuple[int, int]]
"""Where command lines begin and end in a text."""

_ROOT = re.compile(r"(?<!\S)root=(\S+)")
_MARK = re.compile(r"(?<!\S)hupfast\.trial=(\S*)")
_LINUX = re.compile(r"^[ \t]*linux(?:efi|16)?[ \t]+\S+[ \t]+([^\r\n]*)", re.MULTILINE)
_LABEL = re.compile(r"^[ \t]*LABEL[ \t]+([^\s]+)[^\n]*\n?", re.MULTILINE | re.IGNORECASE)
_DEFAULT = re.compile(r"^[ \t]*(?:DEFAULT|ONTIMEOUT)[ \t]+(\S+)", re.MULTILINE | re.IGNORECASE)
_MENU_DEFAULT = re.compile(r"^[ \t]*MENU[ \t]+DEFAULT[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_APPEND = re.compile(r"^[ \t]*APPEND[ \t]+([^\r\n]*)", re.MULTILINE | re.IGNORECASE)


def cmdline_spans(text: str) -> Spans:
    """The first line that is not empty."""
    match = re.search(r"[^\r\n]*\S[^\r\n]*", text)
    return [match.span()] if match else []


def grub_spans(text: str) -> Spans:
    """The arguments of every linux command that is not commented out."""
    return [match.span(1) for match in _LINUX.finditer(text)]


def extlinux_spans(text: str) -> Spans:
    """
    The arguments of the entry that boots, as U-Boot chooses it (boot/pxe_utils.c): the last DEFAULT or ONTIMEOUT
    names it, else the first entry with MENU DEFAULT, else the first one. Of several APPEND lines the last counts.
    """
    labels = list(_LABEL.finditer(text))
    ends = [label.start() for label in labels[1:]] + [len(text)]
    bodies = [(label[1], label.end(), end) for label, end in zip(labels, ends, strict=False)]
    named = [match[1] for match in _DEFAULT.finditer(text)]
    marked = [body for body in bodies if _MENU_DEFAULT.search(text, body[1], body[2])]
    chosen = [body for body in bodies if body[0] == named[-1]] if named else marked or bodies
    for _, start, end in chosen[:1]:
        return [match.span(1) for match in _APPEND.finditer(text, start, end)][-1:]
    return []


def cmdline_factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], RootArgument]":
    """kind "cmdline"."""
    return _factory(table, slots, cmdline_spans)


def grub_factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], RootArgument]":
    """kind "grub-cfg"."""
    return _factory(table, slots, grub_spans)


def extlinux_factory(table: Table, slots: tuple[Slot, ...]) -> "Callable[[Path], RootArgument]":
    """kind "extlinux"."""
    return _factory(table, slots, extlinux_spans)


def _factory(table: Table, slots: tuple[Slot, ...], spans: Callable[[str], Spans]) -> "Callable[[Path], RootArgument]":
    file = table.path("file")
    template = table.text("root", pattern=r"\{device\}|LABEL=\{label\}|PARTUUID=\{partuuid\}")
    return lambda root: RootArgument(root, partial(find_places, root, slots), spans, file=file, template=template)


class RootArgument:
    """The command lines of one file. spans: finds them; template: how a slot is spelled."""

    falls_back = False
    reboot_argument = None
    changed_files: tuple[str, ...] = ()

    def __init__(
        self, root: Path, places: PlacesFunction, spans: Callable[[str], Spans], *, file: str, template: str
    ) -> None:
        self._path = under(root, file)
        self._places = places
        self._spans = spans
        self._template = template

    def current(self) -> str:
        """The slot whose filesystem is the root."""
        return self._places().running

    def state(self) -> BootState:
        """What the command lines say."""
        places = self._places()
        text = self._text()
        slots, marks = set(), set()
        for start, end in self._ours(text, places):
            line = text[start:end]
            slots.add(_slot_in(line, places))
            marks.update(_MARK.findall(line))
        if len(slots) != 1 or not marks <= slots:
            raise HupfastError(
                f"{self._path} names both slots ({', '.join(sorted(map(str, slots | marks)))}),"
                " so it is not known which one boots; make all its command lines name the one that runs"
            )
        slot = str(slots.pop())
        return BootState(places.other(slot), slot, 1, None) if marks else BootState(slot, None, 0, None)

    def switch(self, slot: str, trial: bool = True) -> None:
        """Boot `slot`, with or without the mark of a trial."""
        places = self._places()
        if slot not in places.places:
            raise HupfastError(f"the bootloader knows no slot {slot!r}")
        text = self._text()
        value = places.spell(self._template, slot)
        for start, end in reversed(self._ours(text, places)):
            line = re.sub(r"[ \t]*" + _MARK.pattern, "", text[start:end])
            line = _ROOT.sub(f"root={value}", line)
            if trial:
                body = line.rstrip()
                line = f"{body} hupfast.trial={slot}{line[len(body) :]}"
            text = text[:start] + line + text[end:]
        replace_file(self._path, text.encode("latin-1"))

    def confirm(self) -> None:
        """Take the mark away."""
        self.switch(self.state().expect_trial(self._path), trial=False)

    def _text(self) -> str:
        return read_file(self._path).decode("latin-1")

    def _ours(self, text: str, places: Places) -> Spans:
        spans = [(start, end) for start, end in self._spans(text) if _slot_in(text[start:end], places) is not None]
        if not spans:
            raise HupfastError(
                f"{self._path} has no kernel command line whose root= is one of the slots"
                f" ({', '.join(place.device for place in places.places.values())}), so there is nothing to switch"
            )
        return spans


def _slot_in(line: str, places: Places) -> str | None:
    values = _ROOT.findall(line)
    return places.slot_of(values[-1]) if values else None
