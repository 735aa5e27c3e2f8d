"""Run one command or pipeline, and count what it cost. Sizes are bytes, times seconds."""

import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cgroup import Hierarchy, MemoryGroup
from benchmarks.machine import BenchmarkError, cpu_seconds

LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Usage:
    """
    What one run cost.

    wall: from before the first process started until the last one had ended.
    user, system: CPU of all its processes. machine: CPU of the whole machine meanwhile, kernel threads too.
    resident: peak resident memory of the largest process; tree: of all processes at one moment, as polled.
    anonymous, cache: peaks of its memory group (without one: None, and how much all of the page cache grew).
    charged: peak of everything that was charged to the group.
    statuses: exit status of each process of the pipeline, negative for a signal.
    """

    wall: float
    user: float
    system: float
    machine: float
    resident: int
    tree: int
    anonymous: int | None
    cache: int | None
    charged: int | None
    limit_hits: int
    oom_kills: int
    statuses: tuple[int, ...]
    stdout: str
    stderr: str

    @property
    def cpu(self) -> float:
        return self.user + self.system


class Watch:
    """Peaks of memory, polled while the processes run."""

    def __init__(self, group: MemoryGroup | None, launcher: int) -> None:
        self.group = group
        self.launcher = launcher
        self.resident = self.tree = self.anonymous = self.cache = self.charged = 0
        self.cache_before = 0 if group else page_cache()

    def look(self) -> None:
        """Take one sample."""
        pids = self.group.pids() if self.group else descendants(self.launcher)
        sizes = [memory(pid) for pid in pids]
        self.tree = max(self.tree, sum(now for now, _ in sizes))
        self.resident = max(self.resident, *(peak for _, peak in sizes), 0)
        if self.group:
            charged = self.group.charged()
            self.anonymous = max(self.anonymous, charged.anonymous)
            self.cache = max(self.cache, charged.cache)
            self.charged = max(self.charged, charged.total)
        else:
            self.cache = max(self.cache, page_cache() - self.cache_before)


def memory(pid: int) -> tuple[int, int]:
    """Resident memory of a process, now and at its peak; zeroes when it has ended."""
    now = peak = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak = int(line.split()[1]) * 1024
            elif line.startswith("VmRSS:"):
                now = int(line.split()[1]) * 1024
    except OSError:
        return 0, 0
    return now, peak


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs, without itself."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:
        return found
    return found + [below for child in found for below in descendants(child)]


def page_cache() -> int:
    """Bytes of page cache of the whole machine."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(fields[name].split()[0]) * 1024 for name in ("Cached", "Buffers"))


def _wait(process: "subprocess.Popen[bytes]", watch: Watch, interval: float, timeout: float) -> None:
    """Sample every `interval` seconds until the launcher has ended; end all of it after `timeout`."""
    fd = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        samples = 0
        while not poll.poll(interval * 1000):
            watch.look()
            samples += 1
            if samples * interval > timeout:
                raise BenchmarkError(f"a run did not end in {timeout:g} s")
    finally:
        os.close(fd)
        if process.poll() is None:
            # The launcher leads a session and a process group of its own: nothing else is in it.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def measure(
    stages: list[list[str]],
    *,
    groups: Hierarchy | None,
    limit: int | None = None,
    interval: float = 0.05,
    timeout: float = 900,
    discard_output: bool = False,
) -> Usage:
    """
    Run the pipeline `stages`, and say what it cost.

    limit: bytes of memory for all of it, page cache included; needs `groups`.
    interval: seconds between two looks at its memory. discard_output: its standard output is /dev/null.
    """
    with tempfile.TemporaryDirectory(prefix="hupfast-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        group = stack.enter_context(groups.group(limit)) if groups else None
        words = stages[0] + [word for stage in stages[1:] for word in ("|", *stage)]
        stdout = Path(os.devnull) if discard_output else folder / "stdout"
        procs = str(group.procs) if group else ""
        files = [str(folder / "result"), procs, str(stdout), str(folder / "stderr")]
        machine = cpu_seconds()
        argv = [sys.executable, "-I", "-S", str(LAUNCHER), *files, "--", *words]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        watch = Watch(group, process.pid)
        _wait(process, watch, interval, timeout)
        machine = cpu_seconds() - machine
        if process.returncode:
            raise BenchmarkError(f"launch.py ended with {process.returncode}")
        wall, floor, rows = _result((folder / "result").read_text())
        exact = [row["maxrss"] for row in rows if row["maxrss"] > floor]
        return Usage(
            wall=wall,
            user=sum(row["user"] for row in rows),
            system=sum(row["system"] for row in rows),
            machine=machine,
            resident=int(max(watch.resident, *(peak * 1024 for peak in exact), 0)),
            tree=watch.tree,
            anonymous=watch.anonymous if group else None,
            cache=watch.cache,
            charged=max(watch.charged, group.peak() or 0) if group else None,
            limit_hits=group.limit_hits() if group else 0,
            oom_kills=group.oom_kills() if group else 0,
            statuses=tuple(int(row["exit"]) for row in rows),
            stdout="" if discard_output else stdout.read_text(errors="replace"),
            stderr=(folder / "stderr").read_text(errors="replace")[-2000:],
        )


def _result(text: str) -> tuple[float, float, list[dict[str, float]]]:
    """What launch.py wrote: seconds of wall clock, its own peak in KiB, and the numbers of each process."""
    head, *lines = text.splitlines()
    words = head.split()
    rows = []
    for line in lines:
        fields = line.split()
        rows.append({name: float(value) for name, value in zip(fields[::2], fields[1::2], strict=True)})
    return int(words[1]) / 1e9, float(words[3]), rows
