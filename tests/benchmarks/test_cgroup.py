"""benchmarks/cgroup.py: the same numbers from both versions of the kernel's files."""

from pathlib import Path

import pytest

from benchmarks.cgroup import Charged, MemoryGroup, find

VERSION_1 = {
    "memory.stat": "cache 5000\nrss 3000\nshmem 1000\nmapped_file 10\n",
    "memory.usage_in_bytes": "9000\n",
    "memory.max_usage_in_bytes": "9500\n",
    "memory.failcnt": "7\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "memory.limit_in_bytes": "",
    "cgroup.procs": "12\n34\n",
}
VERSION_2 = {
    "memory.stat": "anon 3000\nfile 5000\nshmem 1000\nslab 5\n",
    "memory.current": "9000\n",
    "memory.peak": "9500\n",
    "memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\n",
    "memory.max": "max\n",
    "memory.swap.max": "max\n",
    "cgroup.procs": "12\n34\n",
}


@pytest.fixture(params=[1, 2])
def group(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryGroup:
    """A group that is a folder of ordinary files."""
    for name, text in (VERSION_1 if request.param == 1 else VERSION_2).items():
        (tmp_path / name).write_text(text)
    return MemoryGroup(tmp_path, request.param)


def test_what_is_charged(group: MemoryGroup) -> None:
    """Shared memory without a file is memory that was allocated, and no page cache."""
    assert group.charged() == Charged(anonymous=4000, cache=4000, total=9000)


def test_counters(group: MemoryGroup) -> None:
    """Peak, hits of the limit, kills and members."""
    assert (group.peak(), group.limit_hits(), group.oom_kills(), group.pids()) == (9500, 7, 2, [12, 34])


def test_limit(group: MemoryGroup) -> None:
    """The limit is written, and swap is no way around it."""
    group.limit(4096)

    name = "memory.limit_in_bytes" if group.version == 1 else "memory.max"

    assert (group.path / name).read_text() == "4096"
    assert group.version == 1 or (group.path / "memory.swap.max").read_text() == "0"


def test_old_kernels_keep_no_peak(tmp_path: Path) -> None:
    """Version 2 before Linux 5.19: unknown, and not zero."""
    assert MemoryGroup(tmp_path, 2).peak() is None


def test_no_hierarchy_is_told(tmp_path: Path) -> None:
    """Without a memory controller there is a sentence, and nothing is left behind."""
    own = tmp_path / "own"
    own.write_text("0::/\n")

    found = find(tmp_path / "mounts", own)

    assert isinstance(found, str)
    assert "memory cgroup" in found
