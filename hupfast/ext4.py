"""
Changing an ext4 filesystem without mounting it: tune2fs for label and UUID, debugfs for single files.

Neither needs root for a slot that is a file. debugfs ends with status 0 whatever happened, and a command of
its that fails can leave debris, so: a script is made of commands that are known to apply (what is there is
asked first), any word on its standard error beyond its version line is a failure, and what was written is
read back.

The form of debugfs's `stat` that is read here:
```
Inode: 14   Type: regular    Mode:  0640   Flags: 0x80000
User:  1234   Group: 70000   Project:     0   Size: 368
 mtime: 0x59682f00:000004d2 -- Thu Sep 26 15:36:32 2289
Fast link dest: "/usr/x"             only for a symbolic link that needs no block
```
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from hupfast.errors import DataError, HupfastError, MismatchError
from hupfast.system import explained, read_small, run

_TIMEOUT = 600.0
FILE_LIMIT = 16 << 20
"""Bytes that a kept file may have."""

_STAT = re.compile(
    r"Inode: \d+ +Type: (?P<type>\w+) +Mode: +(?P<mode>[0-7]+).*?"
    r"User: +(?P<uid>\d+) +Group: +(?P<gid>\d+).*?Size: (?P<size>\d+).*?"
    r"\n ?mtime: 0x(?P<mtime>[0-9a-f]+)(?::(?P<extra>[0-9a-f]+))?",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"^  (\S+) \(\d+\)", re.MULTILINE)
_FAST_LINK = re.compile(r'^Fast link dest: "(.*)"$', re.MULTILINE)
_MISSING = re.compile(r"File not found by ext2_lookup")


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
        output = self._ask(f"stat {_quoted(path)}", may_be_missing=True)
        if output is None:
            return None
        match = _STAT.search(output)
        if match is None:
            raise HupfastError(f"debugfs described {path} in {self.image} in a way that is not understood")
        attributes = self._ask(f"ea_list {_quoted(path)}") or ""
        return Node(
            type=match["type"],
            mode=int(match["mode"], 8),
            uid=int(match["uid"]),
            gid=int(match["gid"]),
            size=int(match["size"]),
            mtime=int(match["mtime"], 16),
            extra=int(match["extra"] or "0", 16),
            attributes=tuple(sorted(_ATTRIBUTE.findall(attributes))),
        )

    def read(self, path: str, scratch: Path) -> bytes:
        """The bytes of a regular file (at most 16 MiB), or the target of a symbolic link."""
        scratch.unlink(missing_ok=True)
        node = self.find(path)
        if node is None or node.size > FILE_LIMIT:
            raise HupfastError(f"{path} in {self.image} is missing, or too large to be kept (16 MiB at most)")
        if node.type == "symlink":
            fast = _FAST_LINK.search(self._ask(f"stat {_quoted(path)}") or "")
            target = fast[1] if fast else self._ask(f"cat {_quoted(path)}") or ""
            return target.encode()[: node.size]
        self._ask(f"dump {_quoted(path)} {_quoted(str(scratch))}")
        data = read_small(scratch, FILE_LIMIT)
        scratch.unlink(missing_ok=True)
        if data is None or len(data) != node.size:
            raise HupfastError(f"{path} in {self.image} could not be read whole")
        return data

    def save_attribute(self, path: str, name: str, value: Path) -> None:
        """Write the value of an extended attribute into the file `value`."""
        self._ask(f"ea_get -f {_quoted(str(value))} {_quoted(path)} {_quoted(name)}")

    def copy_from(self, other: Readable, path: str, scratch: Path) -> None:
        """
        Put the file or symbolic link `path` of another filesystem in here, in place of what is there.

        Bytes, owner, mode, modification time and extended attributes come along; missing directories above it
        are made like those of the other filesystem. scratch: a directory for files in between.
        """
        node = other.find(path)
        if node is None or node.type not in ("regular", "symlink"):
            raise HupfastError(f"{path} in {other.image} is no file or symbolic link, so it cannot be kept")
        data = other.read(path, scratch / "kept")
        script = self._directories(other, path)
        old = self.find(path)
        if old is not None:
            if old.type == "directory":
                raise HupfastError(f"{path} is a directory in the new system and cannot be replaced by the kept file")
            script.append(f"rm {_quoted(path)}")
        if node.type == "symlink":
            script.append(f"symlink {_quoted(path)} {_quoted(data.decode())}")
        else:
            with explained(f"cannot write below {scratch}"):
                (scratch / "kept").write_bytes(data)
            script.append(f"write {_quoted(str(scratch / 'kept'))} {_quoted(path)}")
        script += _owner(path, node)
        for number, name in enumerate(node.attributes):
            value = scratch / f"attribute{number}"
            other.save_attribute(path, name, value)
            script.append(f"ea_set -f {_quoted(str(value))} {_quoted(path)} {_quoted(name)}")
        self._change(script)
        self._check(path, node, data, scratch)

    def _check(self, path: str, node: Node, data: bytes, scratch: Path) -> None:
        if self.find(path) != node or self.read(path, scratch / "check") != data:
            raise MismatchError(f"{path} in {self.image} is not what was written there")

    def _directories(self, other: Readable, path: str) -> list[str]:
        """Commands that make the missing directories above `path`."""
        script: list[str] = []
        for parent in reversed(PurePosixPath(path).parents):
            if self.find(str(parent)) is None:
                script.append(f"mkdir {_quoted(str(parent))}")
                node = other.find(str(parent))
                if node is not None and node.type == "directory":
                    script += _owner(str(parent), node)
        return script

    def _ask(self, command: str, *, may_be_missing: bool = False) -> str | None:
        finished = run(["debugfs", "-R", command, str(self.image)], timeout=_TIMEOUT)
        complaint = _complaint(finished.error)
        if complaint and may_be_missing and _MISSING.search(complaint):
            return None
        if complaint:
            raise HupfastError(f"debugfs cannot {command.split()[0]} in {self.image}: {complaint}")
        return finished.output

    def _change(self, script: Sequence[str]) -> None:
        finished = run(["debugfs", "-w", "-f", "-", str(self.image)], text="\n".join(script) + "\n", timeout=_TIMEOUT)
        complaint = _complaint(finished.error)
        if complaint:
            raise HupfastError(f"debugfs cannot change {self.image}: {complaint}")


def _owner(path: str, node: Node) -> list[str]:
    kind = {"regular": 0o100000, "symlink": 0o120000, "directory": 0o040000}[node.type]
    fields = (
        ("mode", f"0{kind | node.mode:o}"),
        ("uid", f"{node.uid}"),
        ("gid", f"{node.gid}"),
        ("mtime", f"@{node.mtime}"),
        ("mtime_extra", f"{node.extra}"),
    )
    return [f"sif {_quoted(path)} {name} {value}" for name, value in fields]


def _quoted(word: str) -> str:
    """A word for debugfs, which knows double quotes and no escape inside them."""
    if '"' in word or not word.isprintable():
        raise HupfastError(f"{word!r} has a character that debugfs cannot be given")
    return f'"{word}"'


def _complaint(error: str) -> str:
    """What debugfs said beyond its version line."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return "; ".join(line for line in lines if not re.match(r"debugfs \d+\.", line))[:300]
