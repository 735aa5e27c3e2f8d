"""
Kept files: what a profile wants copied from the running system into the newly written slot.

```
keep = [
    "/etc/hostname",                 a file or symbolic link
    "/var/lib/connman/",             a directory, with all that is below it
    "/old/seed:/var/lib/seed",       something that has another path in the new system
]
```
What the new system has in a kept directory beyond that stays. Mount points and special files in it are left
out; symbolic links are copied, never followed. What does not exist is skipped. Everything that debugfs could
not be given, and everything too large, is refused in the plan.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hupfast.errors import HupfastError, MismatchError, Refused
from hupfast.ext4 import BATCH, FILE_LIMIT, Ext4, Node, Readable, fits_debugfs, owner_script, quoted
from hupfast.profile import Table
from hupfast.system import explained, read_small

ENTRY_LIMIT = 1000
"""Files, links and directories that are kept, all together."""
SIZE_LIMIT = 64 << 20
"""Their bytes, all together."""
_PATH_LIMIT = 1024
"""Bytes of a path: debugfs takes lines of 8 KiB, with a path and the target of a link in them."""
_BATCH_BYTES = 1 << 20
"""With so many bytes a batch is written, because they wait in the scratch directory."""
_TRIES = 5
"""How often a file is read that changes meanwhile."""
_TYPES = ("regular", "symlink", "directory")


# ---- the profile ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keep:
    """One word of a profile. source, target: paths without "/" at the end, in the old and in the new system."""

    source: str
    target: str
    is_directory: bool = False


def read_keep(table: Table) -> tuple[Keep, ...]:
    """The key `keep`. Raises: Refused."""
    keeps: list[Keep] = []
    for word in table.texts("keep", ()):
        source, colon, target = word.partition(":")
        paths = [source, target] if colon else [source, source]
        if ":" in target or '"' in word:
            raise table.fail("keep", f"{word!r} cannot be kept: no quotes, and one colon, between old and new path")
        for path in paths:
            if not path.startswith("/") or ".." in path.split("/") or _plain(path) == "/":
                raise table.fail("keep", f"{path!r} in {word!r} is no absolute path without '..', or all of a system")
        if paths[0].endswith("/") != paths[1].endswith("/"):
            raise table.fail("keep", f"{word!r}: for a directory, both paths need a / at the end; else, none")
        keep = Keep(_plain(paths[0]), _plain(paths[1]), paths[0].endswith("/"))
        for other in keeps:
            first, second = sorted((f"{keep.target}/", f"{other.target}/"))
            if second.startswith(first):
                raise table.fail("keep", f"{word!r} goes to the same place as another one, or a part of it: {first}")
        keeps.append(keep)
    return tuple(keeps)


def _plain(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


# ---- the plan ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeptFile:
    """What the running system has and will be copied. type: see Node. size: bytes, 0 for a directory."""

    source: str
    target: str
    type: str
    size: int


def plan_keep(keeps: Sequence[Keep], old: Readable, profile: Path) -> tuple[KeptFile, ...]:
    """
    Every file, link and directory that is to be kept, a directory before what is in it. Changes nothing.

    Raises: Refused, with the name of the profile.
    """
    found: list[KeptFile] = []
    total = 0
    for keep in keeps:
        left = [(keep.source, keep.target)]
        while left:
            source, target = left.pop()
            _check_path(source, target, profile)
            node = old.find(source)
            if node is None:
                continue
            if source == keep.source:
                _check_type(keep, node, profile)
            elif node.type not in _TYPES:
                continue
            _check_words(source, node, old, profile)
            if node.type == "directory":
                names = sorted(old.names(source), reverse=True)
                left += [(f"{source}/{name}", f"{target}/{name}") for name in names]
            found.append(KeptFile(source, target, node.type, 0 if node.type == "directory" else node.size))
            total += found[-1].size
            _check_limits(found, total, profile)
    return tuple(found)


def describe(files: Sequence[KeptFile]) -> list[str]:
    """What is kept, for people: a directory is one item, with the number of files and links in it."""
    items: list[str] = []
    counts: list[int | None] = []
    top = None
    for file in files:
        if top is not None and file.target.startswith(f"{top}/"):
            counts[-1] = (counts[-1] or 0) + (file.type != "directory")
            continue
        is_directory = file.type == "directory"
        top = file.target if is_directory else None
        slash = "/" if is_directory else ""
        items.append(f"{file.source}{slash}" + (f" as {file.target}{slash}" if file.target != file.source else ""))
        counts.append(0 if is_directory else None)
    notes = ["" if count is None else f" ({count} file{'' if count == 1 else 's'})" for count in counts]
    return [item + note for item, note in zip(items, notes, strict=True)]


def _check_path(source: str, target: str, profile: Path) -> None:
    for path in (source, target):
        if not fits_debugfs(path):
            raise Refused(
                f"{profile} asks to keep {path!r}, and its name has a quote, an unprintable character or one that is"
                " no UTF-8, which debugfs cannot be given; rename it"
            )
        if len(path.encode()) > _PATH_LIMIT:
            raise Refused(f"{profile} asks to keep {path}, which is longer than {_PATH_LIMIT} bytes")


def _check_type(keep: Keep, node: Node, profile: Path) -> None:
    if (node.type == "directory") == keep.is_directory and node.type in _TYPES:
        return
    advice = "only files, symbolic links and directories can be kept"
    if node.type == "directory":
        advice = f'to keep all that is in it, write "{keep.source}/"'
    elif keep.is_directory:
        advice = "only a directory has a / at the end"
    raise Refused(f"{profile} asks to keep {keep.source}, which is a {node.type} in the running system; {advice}")


def _check_words(source: str, node: Node, old: Readable, profile: Path) -> None:
    """Refuse targets of links and names of attributes that would fail when the slot is written already."""
    words = [*node.attributes, old.link(source)] if node.type == "symlink" else node.attributes
    for word in words:
        if not fits_debugfs(word):
            raise Refused(
                f"{profile} asks to keep {source}, and {word!r}, its target or an attribute of it, has a character"
                " that debugfs cannot be given"
            )


def _check_limits(found: Sequence[KeptFile], total: int, profile: Path) -> None:
    last = found[-1]
    if last.size > FILE_LIMIT:
        raise Refused(f"{profile} asks to keep {last.source}, which has {last.size} bytes; {FILE_LIMIT} are allowed")
    if len(found) > ENTRY_LIMIT:
        raise Refused(
            f"{profile} asks to keep more than {ENTRY_LIMIT} files, links and directories, which is the limit;"
            f" {last.source} is number {len(found)}; keep less, or move it to a partition of its own"
        )
    if total > SIZE_LIMIT:
        raise Refused(
            f"{profile} asks to keep more than {SIZE_LIMIT} bytes, which is the limit; up to {last.source} there are"
            f" {total}; keep less, or move it to a partition of its own"
        )


# ---- the copy ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """
    What is on its way from one filesystem to another. Its bytes wait in the file `stem`, the values of its
    attributes in attribute_file(0) and so on.
    """

    target: str
    node: Node
    link: str
    stem: Path

    def attribute_file(self, number: int) -> Path:
        """Where the value of the attribute waits."""
        return self.stem.with_name(f"{self.stem.name}.{number}")

    def files(self) -> dict[Path, str]:
        """Every file that waits, and the name of the attribute in it; "" for the bytes."""
        files = {self.attribute_file(number): name for number, name in enumerate(self.node.attributes)}
        return {self.stem: "", **files} if self.node.type == "regular" else files


def copy_kept(new: Ext4, old: Readable, pairs: Iterable[tuple[str, str]], scratch: Path) -> None:
    """
    Put files, symbolic links and directories of one filesystem into another, in place of what is there.

    pairs: path in `old` and path in `new`; a directory before what is in it, which it does not bring along.
    Bytes, owner, mode, modification time and extended attributes are copied and read back; missing directories
    above are made like those of `old`. What is gone is left out. scratch: a directory for files in between.
    Raises: HupfastError, MismatchError.
    """
    directories: list[_Entry] = []
    batch: list[_Entry] = []
    for number, (source, target) in enumerate(pairs):
        entry = _fetch(old, source, target, scratch / f"kept{number}")
        if entry is None:
            continue
        batch.append(entry)
        if entry.node.type == "directory":
            directories.append(entry)
        if len(batch) >= BATCH or sum(entry.node.size for entry in batch) >= _BATCH_BYTES:
            _put(new, batch, old)
            batch = []
    _put(new, batch, old)
    for start in range(0, len(directories), BATCH):  # last, whatever the files in them have changed
        _settle(new, directories[start : start + BATCH])


def _put(new: Ext4, batch: Sequence[_Entry], old: Readable) -> None:
    """Write files and links; of directories, make those that are missing."""
    script = _parents(new, batch, old)
    for entry, (there, _) in zip(batch, new.look([entry.target for entry in batch]), strict=True):
        path = entry.target
        if there is not None and (there.type == "directory") != (entry.node.type == "directory"):
            raise HupfastError(
                f"{path} is a {there.type} in the new system and cannot be replaced by the kept {entry.node.type}"
            )
        if entry.node.type == "directory":
            script += [] if there else [f"mkdir {_new(path)}"]
            continue
        script += [f"rm {_new(path)}"] if there else []
        if entry.node.type == "symlink":
            script.append(f"symlink {_new(path)} {quoted(entry.link)}")
        else:
            script.append(f"write {quoted(str(entry.stem))} {_new(path)}")
        script += _dressed(entry)
    new.change(script)
    _compare(new, [entry for entry in batch if entry.node.type != "directory"])


def _settle(new: Ext4, directories: Sequence[_Entry]) -> None:
    """Give directories what they have besides their files."""
    script = []
    for entry, (there, _) in zip(directories, new.look([entry.target for entry in directories]), strict=True):
        extra = set(there.attributes if there else ()) - set(entry.node.attributes)
        script += [f"ea_rm {quoted(entry.target)} {quoted(name)}" for name in sorted(extra)]
        script += _dressed(entry)
    new.change(script)
    _compare(new, directories)


def _compare(new: Ext4, entries: Sequence[_Entry]) -> None:
    """Compare everything with what was to be written, and remove the files in between."""
    for entry, (node, fast) in zip(entries, new.look([entry.target for entry in entries]), strict=True):
        if node is None or _without_size(node) != entry.node:
            raise MismatchError(f"{entry.target} in {new.image} is not what was written there")
        if node.type == "symlink" and entry.link != (new.link(entry.target) if fast is None else fast):
            raise MismatchError(f"the symbolic link {entry.target} in {new.image} is not what was written there")
    script = []
    for entry in entries:
        for file, name in entry.files().items():
            place, path = quoted(str(_check_file(file))), quoted(entry.target)
            script.append(f"ea_get -f {place} {path} {quoted(name)}" if name else f"dump {path} {place}")
    new.ask(script)
    for entry in entries:
        for file, name in entry.files().items():
            written, found = (read_small(path, FILE_LIMIT) or b"" for path in (file, _check_file(file)))
            is_acl = name.startswith("system.posix_acl_")
            if written != found and not (is_acl and _acl(written) == _acl(found)):
                raise MismatchError(f"{entry.target} in {new.image} does not hold what was written there")
            file.unlink()
            _check_file(file).unlink()


def _acl(value: bytes) -> list[bytes]:
    """
    The entries of a POSIX ACL: after 4 bytes, tag and rights in 4 bytes and a number in 4. Only those for a user
    or group (tags 2 and 8) have one; for the others the kernel says -1, and debugfs 0.
    """
    entries = [value[:4], *(value[start : start + 8] for start in range(4, len(value), 8))]
    return [entry if entry[:1] in (b"\2", b"\x08") else entry[:4] for entry in entries]


def _parents(new: Ext4, batch: Sequence[_Entry], old: Readable) -> list[str]:
    """Commands that make the missing directories above the targets, but for those that are targets."""
    paths = {str(parent) for entry in batch for parent in PurePosixPath(entry.target).parents}
    parents = sorted(paths - {entry.target for entry in batch})  # a directory goes before those below it
    script: list[str] = []
    for parent, (there, _) in zip(parents, new.look(parents), strict=True):
        if there is None:
            script.append(f"mkdir {_new(parent)}")
            node = old.find(parent)
            if node is not None and node.type == "directory":
                script += owner_script(parent, node)
    return script


def _new(path: str) -> str:
    """A path that is made or removed: with "/." after its directory, debugfs follows a link there, as it else does."""
    parent, _, name = path.rpartition("/")
    return quoted(f"{parent}/./{name}")


def _fetch(old: Readable, source: str, target: str, stem: Path) -> _Entry | None:
    """
    Read an entry into files in between; None when it is gone. The running system may be writing to it: what
    is taken did not change meanwhile.
    """
    for _ in range(_TRIES):
        node = old.find(source)
        if node is None:
            return None
        if node.type not in _TYPES:
            raise HupfastError(f"{source} in {old.image} is a {node.type}, so it cannot be kept")
        link, data = "", b""
        try:
            if node.type == "symlink":
                link = old.link(source)
            elif node.type == "regular":
                data = old.read(source, stem)
                with explained(f"cannot write {stem}"):
                    stem.write_bytes(data)
            entry = _Entry(target, _without_size(node), link, stem)
            for number, name in enumerate(node.attributes):
                old.save_attribute(source, name, entry.attribute_file(number))
        except HupfastError:
            if old.find(source) == node:
                raise
            continue
        if old.find(source) == node and (node.type != "regular" or len(data) == node.size):
            return entry
    raise HupfastError(f"{source} in {old.image} cannot be kept: it changes all the time")


def _without_size(node: Node) -> Node:
    """A node without the size of a directory, which hangs on how its names came in."""
    return replace(node, size=0) if node.type == "directory" else node


def _check_file(file: Path) -> Path:
    """Where something is read back to."""
    return file.with_name(f"{file.name}.check")


def _dressed(entry: _Entry) -> list[str]:
    """Commands for owner, mode, time and attributes."""
    script = owner_script(entry.target, entry.node)
    for number, name in enumerate(entry.node.attributes):
        value = quoted(str(entry.attribute_file(number)))
        script.append(f"ea_set -f {value} {quoted(entry.target)} {quoted(name)}")
    return script
