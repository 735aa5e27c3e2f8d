"""
Memory control groups, version 1 and 2: a fresh one for each run counts what the run makes the kernel hold.

The kernel charges a page to the group that touched it first, so a file that was in the page cache before
costs a run nothing, and one that it has to read itself does.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Charged:
    """What a group holds at one moment, in bytes: anonymous memory, page cache, everything."""

    anonymous: int
    cache: int
    total: int


def _fields(path: Path) -> dict[str, int]:
    """A file of "name number" lines."""
    pairs = (line.split() for line in path.read_text().splitlines())
    return {name: int(number) for name, number in pairs}


@dataclass(frozen=True)
class MemoryGroup:
    """One existing group; `version` is that of its hierarchy."""

    path: Path
    version: int

    @property
    def procs(self) -> Path:
        """A process enters by writing its pid here."""
        return self.path / "cgroup.procs"

    def pids(self) -> list[int]:
        """The processes in the group now."""
        return [int(line) for line in self.procs.read_text().split()]

    def limit(self, size: int) -> None:
        """Hold everything that is charged here, page cache too, below `size` bytes."""
        if self.version == 1:
            (self.path / "memory.limit_in_bytes").write_text(str(size))
            return
        (self.path / "memory.max").write_text(str(size))
        swap = self.path / "memory.swap.max"
        if swap.exists():
            swap.write_text("0")

    def charged(self) -> Charged:
        """What the group holds now."""
        stat = _fields(self.path / "memory.stat")
        if self.version == 1:
            anonymous, cache, usage = stat["rss"], stat["cache"], "memory.usage_in_bytes"
        else:
            anonymous, cache, usage = stat["anon"], stat["file"], "memory.current"
        shared = stat.get("shmem", 0)  # belongs to no file, but is counted as page cache
        return Charged(anonymous + shared, cache - shared, int((self.path / usage).read_text()))

    def peak(self) -> int | None:
        """The most that the group ever held, or None where the kernel does not keep that."""
        path = self.path / ("memory.max_usage_in_bytes" if self.version == 1 else "memory.peak")
        return int(path.read_text()) if path.exists() else None

    def limit_hits(self) -> int:
        """How often a charge met the limit."""
        if self.version == 1:
            return int((self.path / "memory.failcnt").read_text())
        return _fields(self.path / "memory.events")["max"]

    def oom_kills(self) -> int:
        """How many processes the kernel killed for want of memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return _fields(self.path / name).get("oom_kill", 0)


@dataclass(frozen=True)
class Hierarchy:
    """Where groups can be made."""

    parent: Path
    version: int

    @contextmanager
    def group(self, limit: int | None = None) -> Iterator[MemoryGroup]:
        """A fresh group, taken away again at the end; every process must have left it by then."""
        path = self.parent / f"hupfast-bench-{os.getpid()}"
        path.mkdir()
        try:
            group = MemoryGroup(path, self.version)
            if limit is not None:
                group.limit(limit)
            yield group
        finally:
            _remove(path)


def _remove(path: Path) -> None:
    """rmdir of a group, which is busy for a moment after its last process has ended."""
    for _ in range(100):
        try:
            path.rmdir()
            return
        except OSError:
            time.sleep(0.02)
    path.rmdir()


def _usable(parent: Path, version: int) -> bool:
    """Whether a group below parent has a memory controller that can be limited."""
    try:
        if version == 2:
            (parent / "cgroup.subtree_control").write_text("+memory")
        with Hierarchy(parent, version).group(64 << 20) as group:
            group.charged()
    except (OSError, KeyError, ValueError):
        return False
    return True


def find(mounts: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Hierarchy | str:
    """The memory hierarchy of this machine, or the reason why there is none that can be used."""
    mine = {}
    for line in own.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        mine[controllers] = path.lstrip("/")
    candidates = [
        (mounts / "memory", 1),
        (mounts / "memory" / mine.get("memory", ""), 1),
        (mounts, 2),
        (mounts / mine.get("", ""), 2),
    ]
    for parent, version in candidates:
        if parent.is_dir() and _usable(parent, version):
            return Hierarchy(parent, version)
    return f"no memory cgroup can be made below {mounts} (that needs root and a writable cgroup file system)"
