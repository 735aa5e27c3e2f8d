"""
Which of several bundles a board takes: the newest that is meant for it and that somebody trusted has signed.

What was named may be files, addresses, folders (their *.hup) and patterns (as on a USB stick: /media/*/*.hup).
"""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.board import Board, load_board
from hupfast.bundle import open_bundle
from hupfast.errors import HupfastError, Refused, UsageError
from hupfast.keys import trusted_keys
from hupfast.trust import check_trust
from hupfast.version import version_key

if TYPE_CHECKING:
    from hupfast.keys import Key
    from hupfast.source.transport import Transport

_TOLD = 5


@dataclass(frozen=True)
class Choice:
    """source: the one to install. others: a sentence for each that is not, and why."""

    source: str
    others: tuple[str, ...] = ()


def choose_bundle(
    named: Sequence[str],
    *,
    board: str | None = None,
    root: "str | os.PathLike[str]" = "/",
    key: "str | os.PathLike[str] | None" = None,
    allow_unsigned: bool = False,
    transport: "Transport | None" = None,
) -> Choice:
    """
    The newest of the bundles that this board could take. One that stands alone is not looked at.

    Of two with the same version the first is taken. Raises: UsageError when nothing was found under a name, Refused
    when none of several fits, with the reasons.
    """
    found = [path for name in named for path in _expand(name)]
    if not found:
        raise UsageError("no bundle was named")
    if len(found) == 1:
        return Choice(found[0])
    profile = load_board(board, Path(root))
    keys = trusted_keys(Path(root), None if key is None else Path(key), allow_unsigned=allow_unsigned)
    fitting: list[tuple[str, str]] = []
    reasons: list[str] = []
    for source in found:
        try:
            fitting.append((_version(source, profile, keys, transport, allow_unsigned=allow_unsigned), source))
        except HupfastError as error:
            reasons.append(f"{source}: {error}")
    if not fitting:
        more = f"; and {len(reasons) - _TOLD} more" if len(reasons) > _TOLD else ""
        raise Refused(f"none of {len(found)} bundles can be used here: {'; '.join(reasons[:_TOLD])}{more}")
    version, chosen = max(fitting, key=lambda item: version_key(item[0]))
    older = [f"{source}: its version {has} is not newer than {version}" for has, source in fitting if source != chosen]
    return Choice(chosen, (*older, *reasons))


def _version(
    source: str, board: Board, keys: "Sequence[Key]", transport: "Transport | None", *, allow_unsigned: bool
) -> str:
    with open_bundle(source, transport=transport) as bundle:
        check_trust(bundle.front, keys, allow_unsigned=allow_unsigned)
        manifest = bundle.accept()
    if not set(manifest.boards) & {board.name, *board.compatible}:
        raise Refused(f"it is for the board {' or '.join(manifest.boards)}")
    return manifest.version


def _expand(name: str) -> list[str]:
    """The files that a name stands for, sorted; itself when it stands for itself."""
    if "://" in name or name == "-":
        return [name]
    if os.path.isdir(name):
        found = sorted(glob.glob(os.path.join(glob.escape(name), "*.hup")))
        if not found:
            raise UsageError(f"there is no bundle (*.hup) in the folder {name}")
        return found
    if not os.path.lexists(name) and glob.has_magic(name):
        found = sorted(glob.glob(name))
        if not found:
            raise UsageError(f"nothing is found under {name}")
        return found
    return [name]
