"""
Changing an ext4 filesystem without mounting it: tune2fs for label and UUID, debugfs for files.

Neither needs root for a slot that is a file. debugfs ends with status 0 whatever happened, and a command of
its that fails can leave debris, so: a script is made of commands that are known to apply (what is there is
asked first), any word on its standard error beyond its version line is a failure, and what was written is
read back. A script repeats each command after "debugfs: " before what it answers; that is where answers are cut.

The form of debugfs's `stat` that is read here:
```
Inode: 14   Type: regular    Mode:  0640   Flags: 0x80000
User:  1234   Group: 70000   Project:     0   Size: 368
 mtime: 0x59682f00:000004d2 -- Thu Sep 26 15:36:32 2289
Fast link dest: "/usr/x"             only for a symbolic link that needs no block
```
and of `ls -p`, inode, mode, owner, group, name and, but for a directory, size:
```
/12/040755/0/0/.//
/14/100644/0/0/a name/368/
```
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hupfast.errors import DataError, HupfastError, MismatchError, Refused
from hupfast.system import explained, read_small, run

_TIMEOUT = 600.0
FILE_LIMIT = 16 << 20
"""Bytes that a kept file may have."""
BATCH = 24
"""Files of one script: the answers of debugfs must fit into what run() returns."""

_STAT = re.compile(
    r"Inode: \d+ +Type: (?P<type>\w[\w ]*?) +Mode: +(?P<mode>[0-7]+).*?"
    r"User: +(?P<uid>\d+) +Group: +(?P<gid>\d+).*?Size: (?P<size>\d+).*?"
    r"\n ?mtime: 0x(?P<mtime>[0-9a-f]+)(?::(?P<extra>[0-9a-f]+))?",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"^  (\S.*?) \(\d+\)", re.MULTILINE)
_FAST_LINK = re.compile(r'^Fast link dest: "(.*)"$', re.MULTILINE | re.DOTALL)
_LISTED = re.compile(r"/\d+/\d+/\d+/\d+/([^/]+)/\d*/")
_MISSING = re.compile(r"File not found by ext2_lookup|Ext2 inode is not a directory")


@dataclass(frozen=True)
class Node:
    """
    A file or directory inside the filesystem.

    type: "regular", "symlink", "directory" or another word of debugfs. mtime and extra: seconds and the bits
    beyond them, as the inode has them. attributes: names of its extended attributes.
    """

    type: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    extra: int
    attributes: tuple[str, ...]


class Readable(Protocol):
    """Where kept files come from: Ext4, or the running system (hupfast.mounted). See Ext4 for the methods."""

    image: Path

    def find(self, path: str) -> Node | None:
        """What is at `path`, or None."""
        ...

    def names(self, path: str) -> list[str]:
        """The names in a directory; none when it is gone."""
        ...

    def link(self, path: str) -> str:
        """The target of a symbolic link."""
        ...

    def read(self, path: str, scratch: Path) -> bytes:
        """The bytes of a file or the target of a link."""
        ...

    def save_attribute(self, path: str, name: str, value: Path) -> None:
        """Write the value of an extended attribute into the file `value`."""
        ...


class Ext4:
    """The filesystem in `image`, a file or block device that is not mounted. Methods raise HupfastError."""

    def __init__(self, image: Path) -> None:
        self.image = image

    def set_label(self, label: str) -> None:
        """Set the label, 16 bytes at most, and read it back."""
        run(["tune2fs", "-L", label, str(self.image)], timeout=_TIMEOUT)
        if self.label() != label:
            raise MismatchError(f"the filesystem in {self.image} does not have the label {label!r} that was set")

    def label(self) -> str:
        """The label as the superblock has it."""
        with explained(f"cannot read {self.image}"), self.image.open("rb", buffering=0) as file:
            file.seek(1024 + 0x78)
            return file.read(16).split(b"\0", 1)[0].decode("utf-8", "replace")

    def check_magic(self) -> None:
        """Raises: DataError when there is no ext filesystem."""
        with explained(f"cannot read {self.image}"), self.image.open("rb", buffering=0) as file:
            file.seek(1024 + 0x38)
            if file.read(2) != b"\x53\xef":
                raise DataError(f"there is no ext4 filesystem in {self.image}, which the profile of the board asks for")

    def fresh_uuid(self) -> None:
        """
        Give the filesystem a new random UUID; checksums that hang on it are made again.

        tune2fs refuses that for a filesystem that was mounted since its last check, so it is checked then.
        """
        command = ["tune2fs", "-U", "random", str(self.image)]
        finished = run(command, timeout=_TIMEOUT, check=False)
        if finished.status != 0 and "freshly checked" in finished.output + finished.error:
            checked = run(["e2fsck", "-f", "-p", str(self.image)], timeout=_TIMEOUT, check=False)
            if checked.status not in (0, 1):
                raise DataError(f"the filesystem in {self.image} is damaged: e2fsck says: {checked.last_words}")
            finished = run(command, timeout=_TIMEOUT)
        if finished.status != 0:
            raise HupfastError(f"tune2fs cannot give {self.image} a new UUID: {finished.last_words}")

    def find(self, path: str) -> Node | None:
        """What is at `path`, without following a symbolic link at its end; None when nothing is."""
        return self.look([path])[0][0]

    def names(self, path: str) -> list[str]:
        """
        The names in a directory; none when it is gone. A character that is no UTF-8 becomes U+FFFD.

        Raises: Refused when a name has a line break, or there are too many.
        """
        answers = self.ask([f"ls -p {quoted(path)}"], may_be_missing=True)
        lines = [line for line in answers[0].split("\n") if line] if answers else [""]
        names = [match[1] for match in map(_LISTED.fullmatch, lines) if match]
        if len(names) < len(lines):
            raise Refused(f"{path} in {self.image} cannot be kept: it has too many names, or one with a line break")
        return [name for name in names if name not in (".", "..")]

    def link(self, path: str) -> str:
        """The target of a symbolic link."""
        node, fast = self.look([path])[0]
        if node is None or node.type != "symlink":
            raise HupfastError(f"{path} in {self.image} is no symbolic link")
        if fast is not None:
            return fast
        target = "".join(self.ask([f"cat {quoted(path)}"]) or ())
        return target.encode()[: node.size].decode("utf-8", "replace")

    def read(self, path: str, scratch: Path) -> bytes:
        """The bytes of a regular file (at most 16 MiB), or the target of a symbolic link."""
        scratch.unlink(missing_ok=True)
        node = self.find(path)
        if node is None or node.size > FILE_LIMIT:
            raise HupfastError(f"{path} in {self.image} is missing, or too large to be kept (16 MiB at most)")
        if node.type == "symlink":
            return self.link(path).encode()
        self.ask([f"dump {quoted(path)} {quoted(str(scratch))}"])
        data = read_small(scratch, FILE_LIMIT)
        scratch.unlink(missing_ok=True)
        if data is None or len(data) != node.size:
            raise HupfastError(f"{path} in {self.image} could not be read whole")
        return data

    def save_attribute(self, path: str, name: str, value: Path) -> None:
        """Write the value of an extended attribute into the file `value`."""
        self.ask([f"ea_get -f {quoted(str(value))} {quoted(path)} {quoted(name)}"])

    def look(self, paths: Sequence[str]) -> list[tuple[Node | None, str | None]]:
        """What is at the paths, as find() tells it, and the targets of links that need no block."""
        if len(paths) > BATCH:
            return self.look(paths[:BATCH]) + self.look(paths[BATCH:])
        script = [f"{verb} {quoted(path)}" for path in paths for verb in ("stat", "ea_list")]
        answers = self.ask(script, may_be_missing=True)
        if answers is not None:
            return [self._understood(path, *answers[2 * i : 2 * i + 2]) for i, path in enumerate(paths)]
        if len(paths) > 1:  # a long story of extents or attributes
            return [found for path in paths for found in self.look([path])]
        raise HupfastError(f"debugfs says too much about {paths[0]} in {self.image}")

    def _understood(self, path: str, status: str, attributes: str) -> tuple[Node | None, str | None]:
        if not status:
            return None, None
        match = _STAT.search(status)
        if match is None:
            raise HupfastError(f"debugfs described {path} in {self.image} in a way that is not understood")
        node = Node(
            type=match["type"],
            mode=int(match["mode"], 8),
            uid=int(match["uid"]),
            gid=int(match["gid"]),
            size=int(match["size"]),
            mtime=int(match["mtime"], 16),
            extra=int(match["extra"] or "0", 16),
            attributes=tuple(sorted(_ATTRIBUTE.findall(attributes))),
        )
        fast = _FAST_LINK.search(status) if node.type == "symlink" else None
        return node, fast[1] if fast else None

    def ask(self, script: Sequence[str], *, may_be_missing: bool = False) -> list[str] | None:
        """What debugfs answers to each command; None when it was so much that its beginning is lost."""
        if not script:
            return []
        finished = run(["debugfs", "-f", "-", str(self.image)], text="\n".join(script) + "\n", timeout=_TIMEOUT)
        complaint = _complaint(finished.error, may_be_missing=may_be_missing)
        if complaint:
            raise HupfastError(f"debugfs cannot {script[0].split()[0]} in {self.image}: {complaint}")
        rest, answers = finished.output, []
        for command in script:
            answer, echo, rest = rest.partition(f"debugfs: {command}\n")
            if not echo:
                return None
            answers.append(answer)
        return [*answers[1:], rest]

    def change(self, script: Sequence[str]) -> None:
        """Let debugfs carry out commands that write. Raises: HupfastError when it has anything to say."""
        if not script:
            return
        finished = run(["debugfs", "-w", "-f", "-", str(self.image)], text="\n".join(script) + "\n", timeout=_TIMEOUT)
        complaint = _complaint(finished.error)
        if complaint:
            raise HupfastError(f"debugfs cannot change {self.image}: {complaint}")


def fits_debugfs(word: str) -> bool:
    """Whether debugfs can be given a word: it knows double quotes, no escape inside them, and lines of 8 KiB."""
    return '"' not in word and word.isprintable() and "\ufffd" not in word


def quoted(word: str) -> str:
    """A word for debugfs."""
    if not fits_debugfs(word):
        raise HupfastError(f"{word!r} has a character that debugfs cannot be given")
    return f'"{word}"'


def owner_script(path: str, node: Node) -> list[str]:
    """Commands that give a file owner, mode and time."""
    kind = {"regular": 0o100000, "symlink": 0o120000, "directory": 0o040000}[node.type]
    fields = (
        ("mode", f"0{kind | node.mode:o}"),
        ("uid", f"{node.uid}"),
        ("gid", f"{node.gid}"),
        ("mtime", f"@{node.mtime}"),
        ("mtime_extra", f"{node.extra}"),
    )
    return [f"sif {quoted(path)} {name} {value}" for name, value in fields]


def _complaint(error: str, *, may_be_missing: bool = False) -> str:
    """What debugfs said beyond its version line, and beyond that something does not exist when it may be missing."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    lines = [line for line in lines if not (may_be_missing and _MISSING.search(line))]
    return "; ".join(line for line in lines if not re.match(r"debugfs \d+\.", line))[:300]
