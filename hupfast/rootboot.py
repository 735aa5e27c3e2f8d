"""
Boot files out of the new root file system: `[boot] from_root` of a profile names the directory of it that holds them.

Some systems ship their kernel and device trees inside of the root file system, so that one image is all there is.
What a bundle's boot files are elsewhere, the files below that directory are here: they are read with debugfs once the
image is in the slot (nothing is mounted), wait on the state partition, and go the same way from there: planned, with
undo, with the user's files and edits kept.

The image is written by then. When the boot files cannot be used after all, the update fails, and the board boots as
before.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from hupfast.durable import make_directory
from hupfast.errors import DataError, HupfastError
from hupfast.ext4 import Ext4, quoted
from hupfast.manifest import BootMember, check_distinct, check_member_name
from hupfast.spool import empty_spool
from hupfast.system import digest, explained, free_space, read_chunks

_RESERVE = 1 << 20
_COUNT_LIMIT = 4096


def root_boot_files(
    new: Ext4, directory: str, spool: Path
) -> tuple[list[BootMember], Callable[[BootMember], Iterator[bytes]]]:
    """
    The files below a directory of the new system, and what gives the bytes of each.

    spool: where they wait. Raises: DataError when there are none, or one that no boot partition can hold;
    HupfastError when there is no room for them to wait.
    """
    sizes = dict(sorted(_files(new, directory.rstrip("/"))))
    if not sizes:
        raise DataError(f"the new system has no boot files in {directory}, where the board's profile looks for them")
    check_distinct([_member_name(path, directory) for path in sizes])
    empty_spool(spool)
    make_directory(spool)
    room = free_space(spool).free - _RESERVE
    if sum(sizes.values()) > room:
        raise HupfastError(
            f"the boot files in {directory} of the new system need {sum(sizes.values())} bytes in {spool} for a while,"
            f" and {room} can be used; make room there, and run the update again"
        )
    waiting: dict[str, Path] = {}
    members = []
    for number, (path, size) in enumerate(sizes.items()):
        copy = spool / f"{number}"
        new.ask([f"dump {quoted(path)} {quoted(str(copy))}"])
        with explained(f"cannot read the copy of {path}"):
            if copy.stat().st_size != size:
                raise HupfastError(f"{path} in {new.image} could not be read whole")
        member = BootMember(_member_name(path, directory), size, digest(read_chunks(copy)))
        waiting[member.name] = copy
        members.append(member)
    return members, lambda member: read_chunks(waiting[member.name])


def _member_name(path: str, directory: str) -> str:
    return check_member_name("boot/" + path.removeprefix(directory.rstrip("/") + "/"))


def _files(new: Ext4, directory: str) -> Iterator[tuple[str, int]]:
    """Path and size of each file below a directory."""
    seen, todo = 0, [directory]
    while todo:
        parent = todo.pop()
        paths = [f"{parent}/{name}" for name in new.names(parent)]
        seen += len(paths)
        if seen > _COUNT_LIMIT:
            raise DataError(f"there are more than {_COUNT_LIMIT} files in {directory} of the new system")
        for path, (node, _) in zip(paths, new.look(paths), strict=True):
            kind = node.type if node is not None else "gone"
            if kind == "directory":
                todo.append(path)
            elif kind == "regular" and node is not None:
                yield path, node.size
            elif path != f"{directory}/lost+found":
                raise DataError(
                    f"the boot file {path} of the new system is a {kind}; a boot partition holds files only"
                )
