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

from hupfast.board import load_board
from hupfast.bundle import open_bundle
from hupfast.errors import DataError, HupfastError, NothingToDo, Refused, SourceError, UsageError
from hupfast.gates import check_gates
from hupfast.keys import trusted_keys
from hupfast.machine import Machine
from hupfast.manifest import Manifest
from hupfast.target import check_target
from hupfast.trust import check_trust
from hupfast.version import version_key

if TYPE_CHECKING:
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
    allow_downgrade: bool = False,
    transport: "Transport | None" = None,
) -> Choice:
    """
    The newest of the bundles that this board could take. One that stands alone is not looked at.

    Of two with the same version the first is taken. Raises: UsageError when nothing was found under a name. When none
    of several fits: what all of them raise, NothingToDo when one of them is running, else Refused, with the reasons.
    """
    found = [path for name in named for path in _expand(name)]
    if not found:
        raise UsageError("no bundle was named")
    if len(found) == 1:
        return Choice(found[0])
    if "-" in found:
        raise UsageError("standard input can only be read once: name it alone")
    profile = load_board(board, Path(root))
    keys = trusted_keys(Path(root), None if key is None else Path(key), allow_unsigned=allow_unsigned)
    machine = Machine(profile, Path(root))
    fitting: list[tuple[str, str]] = []
    errors: dict[str, HupfastError] = {}
    for source in found:
        try:
            with open_bundle(source, transport=transport) as bundle:
                check_trust(bundle.front, keys, allow_unsigned=allow_unsigned)
                manifest = bundle.accept()
            _check_fits(machine, manifest, allow_downgrade=allow_downgrade)
            fitting.append((manifest.version, source))
        except HupfastError as error:
            errors[source] = error
    reasons = [f"{source}: {error}" for source, error in errors.items()]
    if not fitting:
        raise _none_fits(list(errors.values()), reasons)
    version, chosen = max(fitting, key=lambda item: version_key(item[0]))
    older = [f"{source}: its version {has} is not newer than {version}" for has, source in fitting if source != chosen]
    return Choice(chosen, (*older, *reasons))


def _check_fits(machine: Machine, manifest: Manifest, *, allow_downgrade: bool) -> None:
    """What the plan refuses without a look at the rest of the bundle. Raises: NothingToDo, Refused."""
    situation = machine.situation()
    check_gates(machine, situation, manifest, allow_downgrade=allow_downgrade)
    target = machine.board.other(situation.running)
    check_target(machine.path_of(target), image_size=manifest.image.image_size, root=machine.root)


def _none_fits(errors: Sequence[HupfastError], reasons: Sequence[str]) -> HupfastError:
    more = f"; and {len(reasons) - _TOLD} more" if len(reasons) > _TOLD else ""
    message = f"none of {len(reasons)} bundles can be used here: {'; '.join(reasons[:_TOLD])}{more}"
    for kind in (UsageError, NothingToDo, DataError, SourceError):
        if all(isinstance(error, kind) for error in errors):
            return kind(message)
    done = next((error for error in errors if isinstance(error, NothingToDo)), None)
    return NothingToDo(f"{done}; {message}") if done is not None else Refused(message)


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
