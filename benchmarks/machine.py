"""What machine this is, which programs it has, and the one way to run them, to their end or beside us."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PACKAGES = {
    "bmaptool": "bmap-tools",
    "dbus-run-session": "dbus",
    "dbus-send": "dbus",
    "fusermount3": "fuse3",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mksquashfs": "squashfs-tools",
    "nbdfuse": "libnbd-bin",
    "nbdkit": "nbdkit",
    "nginx": "nginx-light",
    "zstd": "zstd",
}
"""Programs that the benchmarks call, and the Debian package of each."""


class BenchmarkError(Exception):
    """The benchmark itself cannot go on. The message says what failed and what to do."""


def missing(*programs: str) -> str | None:
    """A sentence on the programs that are not installed, or None when all are."""
    absent = [name for name in programs if shutil.which(name) is None]
    if not absent:
        return None
    packages = " ".join(sorted({PACKAGES.get(name, name) for name in absent}))
    return f"{', '.join(absent)} not installed (Debian: apt-get install {packages})"


def run(
    argv: Sequence[str | os.PathLike[str]], *, env: Mapping[str, str] | None = None, given: str | None = None
) -> str:
    """Run a program to its end and return what it printed. given: its input. BenchmarkError when it fails."""
    words = [os.fspath(word) for word in argv]
    environment = {**os.environ, **(env or {})}
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, input=given)
    except OSError as error:
        raise BenchmarkError(f"{words[0]} cannot be started: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise BenchmarkError(f"{' '.join(words)} ended with {done.returncode}: {said[-1][:300]}")
    return done.stdout


@contextmanager
def serving(argv: Sequence[str | os.PathLike[str]]) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that runs until the block ends; it is killed when it does not end within 10 s."""
    nothing = subprocess.DEVNULL
    with subprocess.Popen(argv, stdin=nothing, stdout=nothing, stderr=nothing) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _value(path: str, key: str) -> str:
    """The value of the first "key : value" line of a file of /proc."""
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def load() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def facts() -> dict[str, object]:
    """What somebody who compares two results must know. Memory in bytes."""
    return {
        "cpu": _value("/proc/cpuinfo", "model name") or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory": int(_value("/proc/meminfo", "MemTotal").split()[0]) * 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_at_start": load(),
        "zstd": run(["zstd", "--version"]).strip() if shutil.which("zstd") else "",
    }


def cpu_seconds() -> float:
    """Seconds of CPU that the whole machine has used since it started, kernel threads included."""
    user, nice, system, _idle, _wait, irq, softirq = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
