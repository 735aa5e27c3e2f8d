"""
The boot files stage: the files of one slot on the boot partition.

Planned first: what will be written, replaced, removed or left, and how much room the copy needs at its peak,
when a new file stands complete beside the old one. Then, for each file: write beside, flush, rename, flush
the directory, read back past the cache, compare. So each name holds the old file or the new one, whole, at
any moment.

Before the first change, what will be replaced is copied to the undo directory on the state partition, and
`undo/index.json` is written; undo() puts everything back from there, however often it is called.

Two ways keep old and new apart. With a boot prefix, each slot has a directory of its own on the boot
partition; what the bundle does not have is removed from it. Without one, the slots share their boot files,
and nothing is ever removed. Files of the user are never written or removed in either, and a file of ours that
the user has edited (shipped.py) is saved on the state partition before it is replaced, is left as it is, or stops
the update, as the profile says.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from hupfast.durable import (
    SUFFIX,
    check_leftover,
    fsync_path,
    make_directory,
    remove_durably,
    write_atomic,
    write_chunks,
)
from hupfast.errors import HupfastError, MismatchError, Refused
from hupfast.manifest import BootMember
from hupfast.shipped import Digests
from hupfast.system import Space, digest, explained, free_space, read_chunks, read_small

ReadFunction = Callable[[BootMember], Iterator[bytes]]
"""Gives the bytes of a boot file."""

_FORMAT = 1
_RECOVERED = re.compile(r"FSCK\d{4}\.REC", re.IGNORECASE)


@dataclass(frozen=True)
class Change:
    """
    What happens to one file. path: below the boot directory, prefix included.

    action: "write" (it is new), "replace", "same" (it is there already), "user" (it belongs to the user and
    stays as it is), "edited" (it is ours, and the user's edit of it stays), "remove", "leftover" (of fsck.fat or
    of a run that was cut off: removed first). edited: what is replaced or removed is the user's edit. size,
    old_size: bytes that it will have and has.
    """

    path: str
    action: str
    size: int
    old_size: int
    member: BootMember | None
    edited: bool = False


@dataclass(frozen=True)
class BootPlan:
    """
    All changes, and the room they need. peak: bytes beyond what is used now, at the worst moment; free: bytes
    that there are; undo_size: bytes of what is replaced or removed, which go to the state partition.
    """

    directory: Path
    changes: tuple[Change, ...]
    peak: int
    free: int
    undo_size: int

    @property
    def members(self) -> list[BootMember]:
        """The boot files that will be read from the bundle."""
        return [change.member for change in self.changes if change.member and change.action in ("write", "replace")]


def plan_boot_files(
    directory: Path,
    prefix: str,
    members: Sequence[BootMember],
    *,
    user_files: Sequence[str],
    limit: int | None,
    shipped: Digests = MappingProxyType({}),
    edits: str = "save",
) -> BootPlan:
    """
    Compare the boot partition with what a bundle brings. Changes nothing.

    directory: of the boot partition. prefix: "" or a directory below it with "/" at its end. limit: bytes
    that may be used in the directory, or None. shipped: what we have put there. edits: what becomes of a file of
    ours that was edited: "save", "keep" or "refuse". Raises: Refused when a path cannot be used, HupfastError,
    MediumError; lack of room is left to the caller, who has `peak` and `free`.
    """
    with explained(f"cannot look at {directory}"):
        if not directory.is_dir():
            raise Refused(f"the boot directory {directory} does not exist; is the boot partition mounted?")
        changes = [_change(directory, prefix + member.path, member, user_files) for member in members]
        if prefix:
            coming = {change.path.casefold() for change in changes}
            for path in _files_below(directory, prefix):
                if path.casefold() not in coming and not _is_users(path, user_files):
                    changes.append(Change(path, "remove", 0, (directory / path).lstat().st_size, None))
        changes = [_unless_edited(directory, change, shipped, edits) for change in changes]
        changes = [*_leftovers(directory, changes), *changes]
        space = _room(directory, limit)
        peak = _peak(directory, changes, space.cluster)
    return BootPlan(
        directory=directory,
        changes=tuple(changes),
        peak=peak,
        free=space.free,
        undo_size=sum(
            change.old_size * (2 if change.edited else 1)
            for change in changes
            if change.action in ("replace", "remove")
        ),
    )


def apply_boot_files(plan: BootPlan, read: ReadFunction, undo_directory: Path) -> None:
    """
    Carry out the plan, durably. When it fails, everything is put back, and the exception comes out.

    read: gives the bytes of a boot file. Raises: HupfastError, MediumError, MismatchError, and what `read`
    raises.
    """
    for change in plan.changes:
        if change.action == "leftover":
            remove_durably(plan.directory / change.path)
    _save_undo(plan, undo_directory)
    try:
        for change in plan.changes:
            if change.member is not None and change.action in ("write", "replace"):
                _install(plan.directory / change.path, change.member, read)
        for change in plan.changes:
            if change.action == "remove":
                remove_durably(plan.directory / change.path)
    except BaseException:
        undo_boot_files(plan.directory, undo_directory)
        raise


def undo_boot_files(directory: Path, undo_directory: Path) -> bool:
    """
    Put back what the last apply_boot_files replaced, removed or added. May be called again at any time.

    Returns whether there was anything to put back. Raises: HupfastError, MediumError.
    """
    entries = _load_undo(undo_directory)
    for path, backup in reversed(entries):
        if backup is None:
            remove_durably(directory / path)
        else:
            make_directory((directory / path).parent)
            copy = undo_directory / backup
            write_chunks(directory / path, read_chunks(copy), size=copy.stat().st_size)
    forget_undo(undo_directory)
    return bool(entries)


def forget_undo(undo_directory: Path) -> None:
    """Drop what undo_boot_files would put back. Raises: HupfastError."""
    if not undo_directory.is_dir():
        return
    remove_durably(undo_directory / "index.json")
    with explained(f"cannot clean up {undo_directory}"):
        for path in undo_directory.iterdir():
            path.unlink()


def save_edits(plan: BootPlan, directory: Path) -> None:
    """Copy the user's edits that the plan goes over to `directory`, durably. Raises: HupfastError, MediumError."""
    for change in plan.changes:
        if change.edited:
            make_directory((directory / change.path).parent)
            write_chunks(directory / change.path, read_chunks(plan.directory / change.path))


def shipped_by(plan: BootPlan, before: Digests, *, done: bool) -> Digests:
    """
    What is ours on the boot partition once the plan is carried out (done), or while it is.

    before: what was ours until now; of an edited file that stays, the bytes that we had put there.
    """
    after = dict(before)
    for change in plan.changes:
        if change.action in ("write", "replace", "same") and change.member is not None:
            old = set() if done else set(before.get(change.path, ()))
            if not done and change.action == "replace" and not change.edited:
                # The factory may have put it there: after an undo it must not look like an edit.
                old.add(digest(read_chunks(plan.directory / change.path)).hex())
            after[change.path] = frozenset({*old, change.member.sha256.hex()})
        elif change.action == "remove" and done:
            after.pop(change.path, None)
    return after


def _leftovers(directory: Path, changes: Sequence[Change]) -> Iterator[Change]:
    """Files that fsck.fat recovered (FSCK0000.REC), which fill the partition, and unfinished ones of ours."""
    for path in _files_in(directory):
        if _RECOVERED.fullmatch(path.name):
            yield Change(path.name, "leftover", 0, path.lstat().st_size, None)
    for parent in sorted({(directory / change.path).parent for change in changes}):
        for path in _files_in(parent):
            if path.name.endswith(SUFFIX):
                check_leftover(path, Refused)
                yield Change(str(path.relative_to(directory)), "leftover", 0, path.lstat().st_size, None)


def _files_in(directory: Path) -> list[Path]:
    """Files in a directory that may be missing. No other name is looked at: durable.py says why."""
    try:
        with os.scandir(directory) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _change(directory: Path, path: str, member: BootMember, user_files: Sequence[str]) -> Change:
    target = directory / path
    with explained(f"cannot look at {target}"):
        for parent in reversed(target.relative_to(directory).parents):
            place = directory / parent
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise Refused(f"{place} must be a directory for the boot file {path}, and it is not; remove it first")
        try:
            facts = target.lstat()
        except FileNotFoundError:
            action = "user" if _is_users(path, user_files) else "write"
            return Change(path, action, 0 if action == "user" else member.size, 0, member)
    if _is_users(path, user_files):
        return Change(path, "user", facts.st_size, facts.st_size, member)
    if not stat.S_ISREG(facts.st_mode):
        raise Refused(f"{target} is in the way of a boot file: it is no regular file; remove it first")
    same = facts.st_size == member.size and digest(read_chunks(target)) == member.sha256
    return Change(path, "same" if same else "replace", member.size, facts.st_size, member)


def _unless_edited(directory: Path, change: Change, shipped: Digests, edits: str) -> Change:
    ours = shipped.get(change.path)
    if change.action not in ("replace", "remove") or ours is None:
        return change
    target = directory / change.path
    if not target.is_file() or digest(read_chunks(target)).hex() in ours:
        return change
    if edits == "save":
        return replace(change, edited=True)
    if edits == "refuse":
        raise Refused(
            f"the boot file {target} was edited since it was installed, and the profile asks not to go over that;"
            " save the edit elsewhere and remove the file, or put it among the profile's user_files"
        )
    return replace(change, action="edited", size=change.old_size)


def _is_users(path: str, user_files: Iterable[str]) -> bool:
    """Whether the user owns it; names are compared as FAT does, whatever their case."""
    name = path.casefold()
    for owned in user_files:
        folded = owned.casefold()
        if name == folded or (folded.endswith("/") and name.startswith(folded)):
            return True
    return False


def _files_below(directory: Path, prefix: str) -> Iterator[str]:
    """Without unfinished ones, and without what is in unfinished directories: durable.py says why."""
    for parent, directories, names in os.walk(directory / prefix, onerror=_unless_missing):
        directories[:] = [name for name in directories if not name.endswith(SUFFIX)]
        for name in sorted(names):
            if not name.endswith(SUFFIX):
                yield str((Path(parent) / name).relative_to(directory))


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _room(directory: Path, limit: int | None) -> Space:
    space = free_space(directory)
    if limit is None:
        return space
    files = _files_below(directory, "")
    used = sum(_rounded((directory / path).lstat().st_size, space.cluster) for path in files)
    return Space(min(space.free, max(limit - used, 0)), space.cluster)


def _peak(directory: Path, changes: Sequence[Change], cluster: int) -> int:
    """Bytes needed at the worst moment: each new file is whole before the old one goes."""
    parents = {parent for change in changes for parent in (directory / change.path).parents}
    used = cluster * sum(1 for parent in parents if directory in parent.parents and not parent.exists())
    peak = used
    for change in changes:
        if change.action == "leftover":
            used -= _rounded(change.old_size, cluster)
        elif change.action in ("write", "replace"):
            used += _rounded(change.size, cluster)
            peak = max(peak, used)
            used -= _rounded(change.old_size, cluster)
    return peak


def _rounded(size: int, cluster: int) -> int:
    return -(-size // cluster) * cluster


def _install(target: Path, member: BootMember, read: ReadFunction) -> None:
    make_directory(target.parent)
    write_chunks(target, read(member), size=member.size)
    if digest(read_chunks(target, past_cache=True)) != member.sha256:
        raise MismatchError(f"the boot file {target} does not hold what was written into it")


def _save_undo(plan: BootPlan, undo_directory: Path) -> None:
    make_directory(undo_directory)
    forget_undo(undo_directory)
    entries: list[tuple[str, str | None]] = []
    for number, change in enumerate(plan.changes):
        if change.action in ("replace", "remove"):
            write_chunks(undo_directory / f"{number}", read_chunks(plan.directory / change.path))
            entries.append((change.path, f"{number}"))
        elif change.action == "write":
            entries.append((change.path, None))
    write_atomic(undo_directory / "index.json", json.dumps({"format": _FORMAT, "entries": entries}).encode())


def _load_undo(undo_directory: Path) -> list[tuple[str, str | None]]:
    data = read_small(undo_directory / "index.json")
    if data is None:
        return []
    try:
        document = json.loads(data)
        if document["format"] != _FORMAT:
            raise ValueError("unknown format")
        return [(str(path), None if backup is None else str(backup)) for path, backup in document["entries"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise HupfastError(
            f"{undo_directory / 'index.json'} cannot be understood ({error}),"
            " so it is not known which boot files an update that was cut off has replaced;"
            " check them, then remove that file"
        ) from None


def sync_boot(directory: Path) -> None:
    """The flush between this stage and the next. Raises: HupfastError, MediumError."""
    with explained(f"cannot flush {directory}"):
        fsync_path(directory)
