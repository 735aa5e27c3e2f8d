"""
A board to update: hupfast's virtual one (hupfast/virtual.py), with slots that are files of the image's size.

Slot a runs. Where an update is timed it holds a small system and old content behind it, so that looking for chunks
in it reads what a board would read, and finds none. The board's profile is the one that comes along, but it leaves
the image in a slot as it is, so that the slot can be compared with the image; `stamps` takes the real one.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.device import Counters
from benchmarks.direct import digest, write_all
from benchmarks.machine import run
from hupfast import filesystem, virtual

FACTORY = 8 << 20
"""Bytes of the system that it leaves the factory with."""

_PROFILE = Path(virtual.__file__).parent / "boards" / "virtual.toml"
_STAMPS = (
    'kind = "ext4"\nuuid = "fresh"\nkeep = ["/etc/hostname", "/etc/machine-id", "/etc/localtime"]\n',
    'label = "hup-root-a"\n',
    'label = "hup-root-b"\n',
)
_SMALL = ("boot", "state", "etc", "proc")


@dataclass(frozen=True)
class Board:
    """One board. path: its root. size: bytes of each slot."""

    name: str
    path: Path
    size: int

    def slot(self, name: str) -> Path:
        """The file of a slot."""
        return self.path / "slots" / f"{name}.img"

    def counters(self) -> Counters:
        """Nothing: files have no counters of their own."""
        return Counters(0, 0, 0, 0, 0)

    def refill(self) -> None:
        """As it left the factory, with old content in slot b."""
        for name in _SMALL:
            shutil.rmtree(self.path / name, ignore_errors=True)
            shutil.copytree(self._template / name, self.path / name)
        self._old_content("b")

    def digest(self, ranges: tuple[tuple[int, int], ...], slot: str = "b") -> str:
        """SHA-256 of the (offset, length) ranges of a slot, past every cache."""
        return digest(self.slot(slot), ranges)

    def stamps(self, wanted: bool) -> None:
        """Take the profile that comes along, or the one that leaves the image as it is."""
        text = _PROFILE.read_text()
        if not wanted:
            for words in _STAMPS:
                if words not in text:
                    raise ValueError(f"{_PROFILE} has no {words!r}")
                text = text.replace(words, 'kind = "none"\n' if words.startswith("kind") else "")
        filesystem.put(self.path, "etc/hupfast/boards/virtual.toml", text.encode())

    def boot(self) -> None:
        """One power cycle."""
        virtual.boot(self.path)

    def copy_slot(self, source: str, target: str) -> None:
        """Make one slot the same as another."""
        run(["cp", "--sparse=never", self.slot(source), self.slot(target)])
        self.forget()

    def forget(self) -> None:
        """Have nothing of the slots in the page cache."""
        for name in ("a", "b"):
            fd = os.open(self.slot(name), os.O_RDONLY)
            try:
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)

    @property
    def _template(self) -> Path:
        return self.path.with_name(f"{self.path.name}-template")

    def _old_content(self, slot: str) -> None:
        path = self.slot(slot)
        if not path.exists() or path.stat().st_blocks * 512 < self.size:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(fd, 0, self.size)
            finally:
                os.close(fd)
        write_all(path, self.size, block=4 << 20, depth=2)
        self.forget()

    def create(self) -> None:
        """As it leaves the factory; `refill` makes it so again."""
        tree = self.path.with_name(f"{self.path.name}-factory")
        image = tree.with_suffix(".img")
        filesystem.put(tree, "etc/os-release", b'ID=bench-os\nVERSION_ID="0.1"\n')
        filesystem.put(tree, "etc/hostname", b"bench\n")
        try:
            filesystem.make(tree, image, FACTORY)
            kernel = {virtual.KERNEL: b"the kernel of 0.1\n"}
            virtual.create(
                self.path, image=image, boot_files=kernel, name="bench-os", version="0.1", slot_size=self.size
            )
            self._old_content("a")
            run(["dd", f"if={image}", f"of={self.slot('a')}", "bs=1M", "conv=notrunc,fsync", "status=none"])
        finally:
            shutil.rmtree(tree)
            image.unlink(missing_ok=True)
        self.stamps(False)
        for name in _SMALL:
            shutil.copytree(self.path / name, self._template / name)
        self.refill()


@contextmanager
def board(directory: Path, size: int, name: str = "board") -> Iterator[Board]:
    """A board with slots of `size` bytes, in a folder of its own."""
    made = Board(name, directory / "board", size)
    try:
        made.create()
        yield made
    finally:
        for path in (made.path, made._template):
            shutil.rmtree(path, ignore_errors=True)
