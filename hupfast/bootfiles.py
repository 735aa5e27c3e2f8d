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
and nothing is ever removed. Files of the user are never written or removed in either.
"""

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hupfast.errors import HupfastError, MismatchError, Refused
from hupfast.manifest import BootMember
from hupfast.system import (
    SUFFIX,
    Space,
    digest,
    explained,
    free_space,
    fsync_path,
    make_directory,
    read_chunks,
    read_small,
    remove_durably,
    write_atomic,
    write_chunks,
)

_FORMAT = 1


@dataclass(frozen=True)
class Change:
    """
    What happens to one file. path: below the boot directory, prefix included.

    action: "write" (it is new), "replace", "same" (it is there already), "user" (it belongs to the user and
    stays as it is), "remove". size, old_size: bytes that it will have and has.
    """

    path: str
    action: str
    size: int
    old_size: int
    member: BootMember | None


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
) -> BootPlan:
    """
    Compare the boot partition with what a bundle brings. Changes nothing.

    directory: of the boot partition. prefix: "" or a directory below it with "/" at its end. limit: bytes
    that may be used in the directory, or None. Raises: Refused when a path cannot be used; lack of room is
    left to the caller, who has `peak` and `free`.
    """
    if not directory.is_dir():
        raise Refused(f"the boot directory {directory} does not exist; is the boot partition mounted?")
    changes = [_change(directory, prefix + member.path, member, user_files) for member in members]
    if prefix:
        coming = {change.path.casefold() for change in changes}
        for path in _files_below(directory, prefix):
            if path.casefold() not in coming and not path.endswith(SUFFIX) and not _is_users(path, user_files):
                changes.append(Change(path, "remove", 0, (directory / path).lstat().st_size, None))
    space = _room(directory, limit)
    return BootPlan(
        directory=directory,
        changes=tuple(changes),
        peak=_peak(directory, changes, space.cluster),
        free=space.free,
        undo_size=sum(change.old_size for change in changes if change.action in ("replace", "remove")),
    )


def apply_boot_files(plan: BootPlan, read: Callable[[BootMember], Iterator[bytes]], undo_directory: Path) -> None:
    """
    Carry out the plan, durably. When it fails, everything is put back, and the exception comes out.

    read: gives the bytes of a boot file. Raises: HupfastError, MediumError, MismatchError, and what `read`
    raises.
    """
    clean_leftovers(plan)
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
            write_chunks(directory / path, read_chunks(undo_directory / backup))
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


def clean_leftovers(plan: BootPlan) -> None:
    """Remove the unfinished files that a run which was cut off left beside ours."""
    for parent in {(plan.directory / change.path).parent for change in plan.changes}:
        if parent.is_dir():
            for path in parent.glob("*" + SUFFIX):
                remove_durably(path)


def _change(directory: Path, path: str, member: BootMember, user_files: Sequence[str]) -> Change:
    target = directory / path
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


def _is_users(path: str, user_files: Iterable[str]) -> bool:
    """Whether the user owns it; names are compared as FAT does, whatever their case."""
    name = path.casefold()
    for owned in user_files:
        folded = owned.casefold()
        if name == folded or (folded.endswith("/") and name.startswith(folded)):
            return True
    return False


def _files_below(directory: Path, prefix: str) -> Iterator[str]:
    for parent, _, names in os.walk(directory / prefix):
        for name in sorted(names):
            yield str((Path(parent) / name).relative_to(directory))


def _room(directory: Path, limit: int | None) -> Space:
    space = free_space(directory)
    if limit is None:
        return space
    used = sum(
        _rounded((Path(parent) / name).lstat().st_size, space.cluster)
        for parent, _, names in os.walk(directory)
        for name in names
        if not name.endswith(SUFFIX)
    )
    return Space(min(space.free, max(limit - used, 0)), space.cluster)


def _peak(directory: Path, changes: Sequence[Change], cluster: int) -> int:
    """Bytes needed at the worst moment: each new file is whole before the old one goes."""
    parents = {parent for change in changes for parent in (directory / change.path).parents}
    used = cluster * sum(1 for parent in parents if directory in parent.parents and not parent.exists())
    peak = used
    for change in changes:
        if change.action in ("write", "replace"):
            used += _rounded(change.size, cluster)
            peak = max(peak, used)
            used -= _rounded(change.old_size, cluster)
    return peak


def _rounded(size: int, cluster: int) -> int:
    return -(-size // cluster) * cluster


def _install(target: Path, member: BootMember, read: Callable[[BootMember], Iterator[bytes]]) -> None:
    make_directory(target.parent)
    write_chunks(target, read(member))
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
