"""
The config.json of balenaOS: where it is, where older systems had it, and whether it can be used.

    config.json    one JSON object in UTF-8, at most 1 MiB: {"deviceType": "raspberrypi4-64", ...}

Table [config] of a profile:
    file        where it belongs, such as "/mnt/boot/config.json"; without it, the board has no config.json
    sources     where older systems had it, the newest place first: the first that is there is copied
    required    keys that must be in it, such as "deviceType"

A file of no bytes counts as missing: a power cut leaves one on FAT while the file is written for the first time.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.durable import write_atomic
from hupfast.errors import HupfastError, MismatchError, Refused
from hupfast.profile import Table
from hupfast.system import explained, read_chunks, read_small, under

if TYPE_CHECKING:
    from json import JSONDecodeError

_REPAIR = "repair it, and start the update again"
# Of text that is JSON: braces, the numbers that JSON does not have, and strings, with the ":" behind a key.
_TOKEN = re.compile(r'(?P<text>"(?:[^"\\]|\\.)*+")(?P<key>\s*+:)?|[{}]|NaN|-?Infinity')


@dataclass(frozen=True)
class Config:
    """The table [config]. file: None where there is no config.json."""

    file: str | None = None
    sources: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    def older(self, root: Path) -> list[Path]:
        """The sources below the system root."""
        return [under(root, path) for path in self.sources]


@dataclass(frozen=True)
class ConfigPlan:
    """
    What is to be done for a config.json. The paths are below the system root.

    file: None when there is none, and none is asked for. source: to be copied there, or None.
    warning: what the user should know about the copy, or "".
    """

    file: Path | None = None
    source: Path | None = None
    required: tuple[str, ...] = ()
    warning: str = ""


def read_config(table: Table) -> Config:
    """Raises: Refused with the line."""
    config = Config(
        file=table.path("file") if table.has("file") else None,
        sources=table.paths("sources", ()),
        required=table.texts("required", ()),
    )
    if config.file is None and (config.sources or config.required):
        raise table.fail("file", "this key is missing; it tells where config.json belongs")
    if config.file in config.sources:
        raise table.fail("sources", f"{config.file!r} is the file itself")
    table.finish()
    return config


def plan_config(config: Config, root: Path) -> ConfigPlan:
    """
    Find and verify the config.json; nothing is written.

    Raises: Refused when it cannot be used, or is nowhere and has required keys; HupfastError when it cannot be read.
    """
    if config.file is None:
        return ConfigPlan()
    file = under(root, config.file)
    data = read_small(file)
    if data:
        _verify(file, data, config.required)
        return ConfigPlan(file, required=config.required)
    if data is None and os.path.lexists(file):
        raise Refused(f"{file} is a link to a file that is not there; remove it, and start the update again")
    sources = {path: found for path in config.older(root) if (found := read_small(path)) is not None}
    if sources:
        source = next(iter(sources))
        _verify(source, sources[source], config.required)
        if not file.parent.is_dir():
            raise Refused(f"{source} cannot be copied to {file}: there is no directory {file.parent}; is it mounted?")
        others = " and ".join(str(path) for path, found in sources.items() if found != sources[source])
        warning = f"{source} is what will be used, and not {others}, with other contents" if others else ""
        return ConfigPlan(file, source, config.required, warning)
    if data is not None:
        _verify(file, data, config.required)
    if config.required:
        places = " or ".join(map(str, (file, *config.older(root))))
        raise Refused(
            f"there is no config.json at {places}, and the new system needs {_listed(config.required)} from it; "
            f"put it at {file}, and start the update again"
        )
    return ConfigPlan()


def migrate_config(plan: ConfigPlan) -> None:
    """
    Copy the source to its new place, durably, and read it back. Done before, or nothing to be done: nothing happens.

    Raises: Refused (the source cannot be used), MismatchError (read back wrong), HupfastError (there is another file).
    """
    if plan.file is None or plan.source is None:
        return
    data = read_small(plan.source)
    if data is None:
        raise HupfastError(f"{plan.source} is gone, it was to be copied to {plan.file}; start the update again")
    _verify(plan.source, data, plan.required)
    there = read_small(plan.file)
    if there == data:
        return
    if there or (there is None and os.path.lexists(plan.file)):
        raise HupfastError(
            f"{plan.file} has come up since the update was planned, and is not overwritten; start the update again"
        )
    with explained(f"cannot read {plan.source}"):
        mode = plan.source.stat().st_mode & 0o777
    write_atomic(plan.file, data, mode)
    if b"".join(read_chunks(plan.file, past_cache=True)) != data:
        raise MismatchError(f"{plan.file} was written, but does not hold what is in {plan.source}; check the medium")


def _verify(path: Path, data: bytes, required: tuple[str, ...]) -> None:
    """Raises: Refused unless the data is a JSON object that has the required keys."""
    if not data:
        raise Refused(f"{path}, line 1, column 1: it is empty, and not a JSON object; {_REPAIR}")
    keys = _keys(path, data)
    missing = tuple(key for key in required if key not in keys)
    if missing:
        raise Refused(f"{path} lacks {_listed(missing)}, which the new system needs; {_REPAIR}")


def _keys(path: Path, data: bytes) -> set[str]:
    """The keys of a JSON object. Raises: Refused."""
    import json

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(path, data[: error.start].decode("utf-8"), "this byte is not UTF-8") from None
    try:
        # Numbers of any length, and NaN, which _check_tokens() tells the place of.
        values = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise _bad(path, text[: error.pos], _reason(error)) from None
    except RecursionError:
        raise Refused(f"{path}: its lists and objects are nested too deeply; {_REPAIR}") from None
    if not isinstance(values, dict):
        raise _bad(path, text[: len(text) - len(text.lstrip())], "it is JSON, but not an object such as {}")
    _check_tokens(path, text)
    return set(values)


def _check_tokens(path: Path, text: str) -> None:
    """What Python's parser lets pass: a key that is there twice, NaN, Infinity. Raises: Refused."""
    import json

    open_objects: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        if token[0] == "{":
            open_objects.append(set())
        elif token[0] == "}":
            open_objects.pop()
        elif token["text"] is None:
            raise _bad(path, text[: token.start()], f"{token[0]} is no number of JSON")
        elif token["key"] is not None:
            key = json.loads(token["text"])
            if key in open_objects[-1]:
                raise _bad(path, text[: token.start()], f"the key {key!r} is there twice")
            open_objects[-1].add(key)


def _bad(path: Path, before: str, reason: str) -> Refused:
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return Refused(f"{path}, line {line}, column {column}: {reason}; {_REPAIR}")


def _reason(error: "JSONDecodeError") -> str:
    return f"it is no JSON ({error.msg[:1].lower()}{error.msg[1:]})"


def _listed(keys: tuple[str, ...]) -> str:
    return " and ".join(repr(key) for key in keys)
