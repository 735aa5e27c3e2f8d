"""
Settings that were measured for a medium, and are taken when it is written to again.

    # hupfast bench --save
    mmc:150100424a544434520f4a3d9e8f2c00 <TAB> block 1048576 <TAB> depth 4 <TAB> 2026-11-27T05:00:00Z

One line for each medium, by its key (storage.py); of several, the last one counts, and a line of another form is left
alone. The file is STATE/media, in the state directory of the board, which survives updates, and where no board profile
is known in /var/lib/hupfast. It is read on every write: no pathlib, no json.
"""

import os
from dataclasses import dataclass

from hupfast.blockdev import below

STATE = "/var/lib/hupfast"
FILE = "media"

_BLOCKS = tuple((64 << 10) << step for step in range(7))
_DEPTH_MAX = 32
_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class WriteSettings:
    """block: bytes of one write. depth: writes in flight. key: of the medium. date: when it was measured."""

    block: int
    depth: int
    key: str
    date: str


def saved_settings(target: str, root: str = "/", state: str | None = None) -> WriteSettings | None:
    """
    What was measured for the medium of a target, or None. Never raises: without an answer, a write goes on as ever.

    target: path as it is opened. root: the system root. state: the board's state directory, below the root; asked
    before STATE.
    """
    from hupfast.bench.storage import find_medium

    places = [place for place in (state, STATE) if place]
    texts = [text for place in places if (text := _read(_path(root, place)))]
    if not texts:
        return None
    key = find_medium(target, root).key
    found = (_find(text, key) for text in texts if key)
    return next((settings for settings in found if settings), None)


def check_settings(root: str = "/", state: str | None = None) -> None:
    """
    Look whether settings could be saved; nothing is made yet. root, state: as of save_settings.

    Raises: Refused.
    """
    from hupfast.errors import Refused

    for place in dict.fromkeys((state or STATE, STATE)):
        wanted = folder = below(root, place)
        while not os.path.lexists(folder) and os.path.dirname(folder) != folder:
            folder = os.path.dirname(folder)
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            raise Refused(f"--save needs the directory {wanted}, and nothing can be made in {folder}: run as root")


def save_settings(settings: WriteSettings, root: str = "/", state: str | None = None) -> str:
    """
    Note settings, durably, in place of older ones of the same medium; returns the path of the file.

    Raises: HupfastError, MediumError.
    """
    from pathlib import Path

    from hupfast.durable import make_directory, write_chunks

    path = _path(root, state or STATE)
    lines = [line for line in _read(path).splitlines() if line.split("\t")[0] != settings.key]
    lines = lines or ["# hupfast bench --save"]
    lines.append(f"{settings.key}\tblock {settings.block}\tdepth {settings.depth}\t{settings.date}")
    make_directory(Path(path).parent)
    write_chunks(Path(path), iter([("\n".join(lines) + "\n").encode()]))
    return path


def parse_line(line: str) -> WriteSettings | None:
    """One line, or None when it is of another form."""
    fields = line.split("\t")
    if len(fields) != 4:
        return None
    key, block, depth, date = fields
    if not block.startswith("block ") or not depth.startswith("depth "):
        return None
    numbers = block[6:], depth[6:]
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        return None
    settings = WriteSettings(int(numbers[0]), int(numbers[1]), key, date)
    return settings if settings.block in _BLOCKS and 1 <= settings.depth <= _DEPTH_MAX else None


def _find(text: str, key: str) -> WriteSettings | None:
    found = None
    for line in text.splitlines():
        settings = parse_line(line)
        if settings is not None and settings.key == key:
            found = settings
    return found


def _path(root: str, state: str) -> str:
    return os.path.join(below(root, state), FILE)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_LIMIT).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
