r"""
Fingerprints: are the files of the running system still those that were shipped?

A fingerprint file is what sha256sum, md5sum (balena) or b2sum print: the hash of each file, whose length tells the
kind, and its path from the top of the tree.

    HEX  ./etc/fstab         two spaces, or a space and "*"
    HEX  /etc/fstab          balena: "/" is the top of the tree too, not of the system
    \HEX  ./a\nb             "\" first: \n, \r and \\ in the path are a newline, a carriage return, a backslash

    HEX       32 digits: MD5, 64: SHA-256, 128: BLAKE2b

Table [fingerprints] of a profile:
    root           the fingerprint file of the running system
    boot           the one of the boot directory
    ignore         files of the system that may change: paths without "/" in front; with "/" at the end, all below
    ignore_boot    the same for the boot directory

Files that no fingerprint names are not looked at, nor those below a directory of another filesystem: it is mounted
over what was shipped. The check only reads. It uses all processors, one block and one open file for each, and leaves
none of what it has read in the page cache.
"""

import os
import re
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.system import BLOCK, explained

if TYPE_CHECKING:
    from hashlib import _Hash

_LINE = re.compile(rb"(\\?)([0-9a-fA-F]+) [ *](.+)", re.DOTALL)
_LONGEST = 16 * 1024  # no path is longer than 4096 bytes
_ESCAPE = re.compile(rb"\\(.?)", re.DOTALL)
_ESCAPED = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}
_KINDS = {32: "md5", 64: "sha256", 128: "blake2b"}
_NAMED = 2  # paths in a sentence


@dataclass(frozen=True)
class Fingerprints:
    """The table [fingerprints]. root, boot: None when there is no such fingerprint file."""

    root: str | None = None
    boot: str | None = None
    ignore: tuple[str, ...] = ()
    ignore_boot: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """
    What is no longer as it was shipped, in the order of the fingerprint file.

    changed: other bytes, or no regular file any more; missing: no such file. files: how many were compared;
    hidden: how many were not, because another filesystem is mounted over them.
    """

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    files: int
    hidden: int = 0

    @property
    def sentence(self) -> str:
        """What differs, in one sentence; "" when nothing does."""
        parts = []
        if self.changed:
            parts.append(f"{'was' if len(self.changed) == 1 else 'were'} changed: {_listed(self.changed)}")
        if self.missing:
            count = f"{len(self.missing)} " if self.changed else ""
            parts.append(f"{count}{'is' if len(self.missing) == 1 else 'are'} missing: {_listed(self.missing)}")
        if not parts:
            return ""
        count = str(len(self.changed or self.missing))
        return f"{count} of {self.files} files of the shipped system {'; '.join(parts)}"


@dataclass(frozen=True)
class Entry:
    """One line of a fingerprint file. path: from the top of the tree. kind: the name that hashlib has for it."""

    path: str
    kind: str
    hash: bytes


class _Verdict(Enum):
    SAME = "same"
    CHANGED = "changed"
    MISSING = "missing"
    HIDDEN = "hidden"


def read_fingerprints(table: Table) -> Fingerprints:
    """Raises: Refused with the line."""
    fingerprints = Fingerprints(
        root=table.path("root") if table.has("root") else None,
        boot=table.path("boot") if table.has("boot") else None,
        ignore=table.texts("ignore", ()),
        ignore_boot=table.texts("ignore_boot", ()),
    )
    for key, paths in (("ignore", fingerprints.ignore), ("ignore_boot", fingerprints.ignore_boot)):
        for path in paths:
            if any(part in ("", ".", "..") for part in path.removesuffix("/").split("/")):
                raise table.fail(key, f"{path!r} is no path such as etc/hostname, or var/log/ for all that is below")
    table.finish()
    return fingerprints


def parse_line(line: bytes) -> Entry:
    """One line, without its newline. Raises: ValueError with what is wrong."""
    if len(line) >= _LONGEST:
        raise ValueError("it is longer than any path can be")
    match = _LINE.fullmatch(line)
    if not match or b"\0" in line or b"\n" in line:
        raise ValueError("it is not of the form HASH, two spaces, path")
    escaped, digits, name = match.groups()
    kind = _KINDS.get(len(digits))
    if kind is None:
        raise ValueError(f"a hash of {len(digits)} digits is none of MD5 (32), SHA-256 (64), BLAKE2b (128)")
    path = os.fsdecode(_ESCAPE.sub(_unescaped, name) if escaped else name)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"the path {path!r} leads out of the tree")
    if not parts or path.endswith("/"):
        raise ValueError(f"the path {path!r} names no file")
    return Entry("/".join(parts), kind, bytes.fromhex(digits.decode("ascii")))


def check_fingerprints(file: Path, tree: Path, ignore: Sequence[str] = ()) -> Difference:
    """
    Compare the files below `tree` with the fingerprint file. Symbolic links are not followed.

    ignore: paths that are left out; with "/" at the end, all that is below.
    Raises: HupfastError (a malformed line, something that cannot be read), MediumError.
    """
    from concurrent.futures import ThreadPoolExecutor

    threads = os.cpu_count() or 1
    with closing(_entries(file, ignore)) as entries, ThreadPoolExecutor(threads) as pool:
        check = _Check(entries, tree)
        try:
            for future in [pool.submit(check.work) for _ in range(threads)]:
                future.result()
        finally:
            check.ended = True
    return check.difference()


class _Check:
    """The state that the threads share. Each takes the next line when it is done with the one before."""

    def __init__(self, entries: Iterator[Entry], tree: Path) -> None:
        import threading
        from functools import lru_cache

        self.ended = False
        self._entries = enumerate(entries)
        self._taking = threading.Lock()
        self._tree = str(tree)
        with explained(f"cannot look into {tree}"):
            self._device = os.stat(tree).st_dev
        self._place = lru_cache(maxsize=1024)(self._look)  # most files have the directory of the one before
        self._found: list[tuple[int, str, _Verdict]] = []
        self._count = 0

    def work(self) -> None:
        """Compare files until there are no more, or another thread has failed."""
        buffer = memoryview(bytearray(BLOCK))
        try:
            while not self.ended:
                with self._taking:
                    number, entry = next(self._entries, (0, None))
                    if entry is None:
                        return
                    self._count += 1
                verdict = self._compare(entry, buffer)
                if verdict is not _Verdict.SAME:
                    self._found.append((number, entry.path, verdict))
        except BaseException:
            self.ended = True
            raise

    def difference(self) -> Difference:
        """What all threads have found."""
        found = sorted(self._found, key=lambda item: item[0])
        changed, missing, hidden = (
            tuple(path for _, path, verdict in found if verdict is wanted)
            for wanted in (_Verdict.CHANGED, _Verdict.MISSING, _Verdict.HIDDEN)
        )
        return Difference(changed, missing, self._count - len(hidden), len(hidden))

    def _compare(self, entry: Entry, buffer: memoryview) -> _Verdict:
        path = os.path.join(self._tree, entry.path)
        with explained(f"cannot check {_shown(path)}"):
            place = self._place(os.path.dirname(entry.path))
            if place is not _Verdict.SAME:
                return place
            try:
                # A device or a pipe is not even opened.
                if not stat.S_ISREG(os.lstat(path).st_mode):
                    return _Verdict.CHANGED
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                return _Verdict.MISSING
            try:
                same = _hashed(fd, entry.kind, buffer) == entry.hash
            finally:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)
        return _Verdict.SAME if same else _Verdict.CHANGED

    def _look(self, directory: str) -> _Verdict:
        """Whether a directory is where it was shipped. A link to another place is not."""
        path = self._tree
        for part in directory.split("/") if directory else ():
            path = os.path.join(path, part)
            try:
                facts = os.lstat(path)
            except FileNotFoundError:
                return _Verdict.MISSING
            if stat.S_ISLNK(facts.st_mode):
                return _Verdict.CHANGED
            if not stat.S_ISDIR(facts.st_mode):
                return _Verdict.MISSING
            if facts.st_dev != self._device:
                return _Verdict.HIDDEN
        return _Verdict.SAME


def _entries(file: Path, ignore: Sequence[str]) -> Generator[Entry, None, None]:
    """The lines of a fingerprint file, one at a time, but for those to be ignored."""
    paths = frozenset(ignore)
    directories = tuple(path for path in ignore if path.endswith("/"))
    with explained(f"cannot read the fingerprints {file}"), open(file, "rb") as lines:
        number = 0
        while line := lines.readline(_LONGEST):
            number += 1
            try:
                entry = parse_line(line.removesuffix(b"\n"))
            except ValueError as error:
                raise HupfastError(
                    f"{file}, line {number}: {error}; make the file anew with sha256sum, or take it out of the profile"
                ) from None
            if entry.path not in paths and not entry.path.startswith(directories):
                yield entry


def _hashed(fd: int, kind: str, buffer: memoryview) -> bytes:
    import hashlib

    state: _Hash = hashlib.new(kind, usedforsecurity=False)
    while count := os.readv(fd, [buffer]):
        state.update(buffer[:count])
    return state.digest()


def _unescaped(match: re.Match[bytes]) -> bytes:
    try:
        return _ESCAPED[match[1]]
    except KeyError:
        raise ValueError(f"{os.fsdecode(match[0])!r} is none of the escapes \\\\, \\n and \\r") from None


def _listed(paths: Sequence[str]) -> str:
    named = ", ".join(_shown(path) for path in paths[:_NAMED])
    return f"{named} and {len(paths) - _NAMED} more" if len(paths) > _NAMED else named


def _shown(path: str) -> str:
    return path if path.isprintable() else ascii(path)
