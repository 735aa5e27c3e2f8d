"""
Reading a TOML profile key by key, so that whatever is wrong is named with its file, line and key.

A Table is one TOML table. Its keys are taken by methods that check them; finish() refuses those that nobody
asked for, with the name that was probably meant. What is wrong raises Refused: a board is not updated by a
profile that is only half understood.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hupfast.errors import Refused
from hupfast.system import explained

Where = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\")\s*=")
_SIZE = re.compile(r"([0-9]{1,15})([KMG]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class _Document:
    """One file, and the one that it extends."""

    path: Path
    text: str
    values: dict[str, object]
    base: "_Document | None" = None

    def place(self, where: Where) -> str:
        """File and line of a key, in whichever of the files it is written; else of the nearest table around it."""
        documents = [self, self.base] if self.base else [self]
        for depth in range(len(where), 0, -1):
            for document in documents:
                if line := _find_line(document.text, where[:depth]):
                    return f"{document.path}, line {line}"
        return str(self.path)


def load_profile(path: Path, layouts: Sequence[Path] = ()) -> "Table":
    """
    The top table of a TOML file. With the key `extends = "NAME"` it lies on top of NAME.toml, which is looked
    for in the directories `layouts`: tables are merged key by key, all else goes before what is below.

    Raises: Refused when it is no TOML, HupfastError when it cannot be read.
    """
    document = _read(path)
    values = dict(document.values)
    if "extends" in values:
        top = Table(document.values, (), document)
        name = top.text("extends", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]*")
        found = [layout / f"{name}.toml" for layout in layouts if (layout / f"{name}.toml").is_file()]
        if not found:
            raise top.fail("extends", f"there is no {name}.toml in {' or '.join(map(str, layouts))}")
        del values["extends"]
        document = replace(document, base=_read(found[0]))
        values = _merged(document.base.values if document.base else {}, values)
    return Table(values, (), document)


def _merged(below: dict[str, object], above: dict[str, object]) -> dict[str, object]:
    merged = {**below, **above}
    for key, value in above.items():
        under = below.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            merged[key] = {**under, **value}
    return merged


def _read(path: Path) -> _Document:
    import tomllib

    with explained(f"cannot read the profile {path}"):
        data = path.read_bytes()
    try:
        text = data.decode("utf-8")
        values = tomllib.loads(text)
    except UnicodeDecodeError:
        raise Refused(f"{path}: the profile is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{path}: the profile is no TOML: {error}") from None
    return _Document(path, text, values)


class Table:
    """One table of a profile. Every method that takes a key raises Refused when its value will not do."""

    def __init__(self, values: dict[str, object], where: Where, document: _Document) -> None:
        self._values = values
        self._left = dict(values)
        self._asked: list[str] = []
        self._where = where
        self._document = document

    @property
    def layout(self) -> Path | None:
        """The file that this one extends."""
        return self._document.base.path if self._document.base else None

    def has(self, key: str) -> bool:
        """Whether the key is there. It counts as asked for."""
        self._asked.append(key)
        return key in self._values

    def fail(self, key: str, reason: str) -> Refused:
        """The exception for a wrong key: file, line, key, reason. To be raised by the caller."""
        where = (*self._where, key) if key else self._where
        return Refused(f"{self._document.place(where)}: {_spell(where) or 'the profile'}: {reason}")

    def text(self, key: str, default: str | None = None, *, pattern: str = r"\S(.*\S)?") -> str:
        """A text that matches the pattern."""
        value = self._take(key, default)
        if not isinstance(value, str) or not value.isprintable():
            raise self.fail(key, f"{value!r} is not a line of text")
        if value != default and not re.fullmatch(pattern, value):
            raise self.fail(key, f"{value!r} is not of the form {pattern}")
        return value

    def path(self, key: str, default: str | None = None) -> str:
        """An absolute path without "..", as seen from the system root."""
        value = self.text(key, default)
        if not _is_absolute(value):
            raise self.fail(key, f"{value!r} is no absolute path without '..'")
        return value

    def paths(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """A list of absolute paths without ".."."""
        values = self.texts(key, default)
        for value in values:
            if not _is_absolute(value):
                raise self.fail(key, f"{value!r} is no absolute path without '..'")
        return values

    def texts(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """A list of texts."""
        value = self._take(key, default)
        if not isinstance(value, (list, tuple)):
            raise self.fail(key, f"{value!r} is no list of texts")
        for item in value:
            if not isinstance(item, str) or not item.strip() or not item.isprintable():
                raise self.fail(key, f"{item!r} in it is no text")
        return tuple(value)

    def number(self, key: str, default: int | None = None, *, least: int, most: int) -> int:
        """A whole number in a range."""
        value = self._take(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self.fail(key, f"{value!r} is no whole number from {least} to {most}")
        return value

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        """One of a few words."""
        value = self._take(key, default)
        if not isinstance(value, str) or value not in choices:
            raise self.fail(key, f"{value!r} is none of {', '.join(map(repr, choices))}")
        return value

    def size(self, key: str) -> int | None:
        """
        Bytes: a number, or a text such as "64M" (K, M, G are powers of 1024). None when the key is missing.
        """
        if not self.has(key):
            return None
        return self._bytes(key, self._take(key, None))

    def sizes(self, key: str) -> tuple[int, ...]:
        """A list of what size() takes."""
        values = self._take(key, None)
        if not isinstance(values, list):
            raise self.fail(key, "it must be a list")
        return tuple(self._bytes(key, value) for value in values)

    def _bytes(self, key: str, value: object) -> int:
        if type(value) is int and 0 < value < 1 << 62:
            return value
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if not match or int(match[1]) == 0:
            raise self.fail(key, f'{value!r} is no size; write bytes, or a text such as "64M"')
        return int(match[1]) * _UNITS[match[2]]

    def table(self, key: str, *, optional: bool = False) -> "Table":
        """A table below this one; an empty one when it is optional and missing."""
        value = self._take(key, {} if optional else None)
        if not isinstance(value, dict):
            raise self.fail(key, f"it must be a table: [{_spell((*self._where, key))}]")
        return Table(value, (*self._where, key), self._document)

    def tables(self, key: str, *, optional: bool = False) -> list["Table"]:
        """A list of tables, `[[key]]`; an empty one when it is optional and missing."""
        value = self._take(key, [] if optional else None)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.fail(key, f"it must be a list of tables: [[{_spell((*self._where, key))}]]")
        return [Table(item, (*self._where, key, index), self._document) for index, item in enumerate(value)]

    def finish(self) -> None:
        """Refuse the keys that nobody asked for."""
        for key in self._left:
            import difflib

            meant = difflib.get_close_matches(key, self._asked, n=1)
            hint = f"; did you mean {meant[0]!r}?" if meant else f"; known here are {', '.join(sorted(self._asked))}"
            raise self.fail(key, f"this key is unknown{hint}")

    def as_dict(self) -> dict[str, object]:
        """The table as TOML has it."""
        return self._values

    def _take(self, key: str, default: object) -> object:
        self._asked.append(key)
        if key not in self._values and default is None:
            raise self.fail(key, "this key is missing")
        return self._left.pop(key, default)


def _is_absolute(value: str) -> bool:
    return value.startswith("/") and ".." not in value.split("/")


def _spell(where: Where) -> str:
    """("slots", 1, "label") as slots[1].label."""
    spelled = ""
    for step in where:
        spelled += f"[{step}]" if isinstance(step, int) else f".{step}"
    return spelled.lstrip(".")


def _find_line(text: str, where: Where) -> int | None:
    """
    The line of a key or table; None when it is not written in the usual way, or not at all.

    A scan of the text, because tomllib does not keep positions: [table], [[table]] and `key =` at line
    starts.
    """
    seen: dict[Where, int] = {}
    counts: dict[str, int] = {}
    prefix: Where = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            prefix = tuple(part.strip().strip('"') for part in header[2].split("."))
            if header[1] == "[[":
                index = counts.get(header[2], 0)
                counts[header[2]] = index + 1
                prefix = (*prefix, index)
            seen.setdefault(prefix, number)
        elif key := _KEY.match(line):
            seen.setdefault((*prefix, key[1].strip('"')), number)
    return seen.get(where)
