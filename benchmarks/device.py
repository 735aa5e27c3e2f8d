"""
The two devices that images are written onto: loop devices with direct I/O, so that nothing hides a write.

    fast device    file, every block allocated ── loop device
    card           file ── nbdkit with its rate filter ── nbdfuse ── file in a FUSE mount ── loop device

On the card, asking for zeroes takes as long as writing data does (`zeroes="data"`), because the kernel of a
board writes zeroes as data to an SD card. nbdkit alone lets them pass for nothing (`zeroes="free"`).
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from benchmarks.direct import digest, write_all
from benchmarks.machine import BenchmarkError, missing, run, serving

BLKFLSBUF = 0x1261
"""ioctl: write out and forget what the page cache holds of a block device."""

SECTOR = 512
"""The unit of /sys/block/*/stat, whatever the device's own is."""


@dataclass(frozen=True)
class Counters:
    """What a device has done so far: bytes, and numbers of requests."""

    read: int
    written: int
    discarded: int
    writes: int
    flushes: int

    def since(self, before: "Counters") -> "Counters":
        """What was done after `before` was taken."""
        return Counters(
            self.read - before.read,
            self.written - before.written,
            self.discarded - before.discarded,
            self.writes - before.writes,
            self.flushes - before.flushes,
        )


class Target(Protocol):
    """What is written to: a device, or the slots of a board. name: of the table that its rows are in."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    def counters(self) -> Counters: ...
    def refill(self) -> None: ...
    def digest(self, ranges: tuple[tuple[int, int], ...]) -> str: ...


@dataclass(frozen=True)
class Device:
    """
    A loop device to write to.

    path: the device. backing: the file that holds its bytes in the end. name: "fast", "card", or what it is used for.
    rate: bytes a second that it was made for, None for as fast as it goes.
    """

    name: str
    path: Path
    backing: Path
    size: int
    rate: int | None = None

    def counters(self) -> Counters:
        """Its counters in the kernel. `written` counts zeroes that were asked for without data, too."""
        field = list(map(int, Path(f"/sys/block/{self.path.name}/stat").read_text().split()))
        flushes = field[15] if len(field) > 15 else 0
        return Counters(field[2] * SECTOR, field[6] * SECTOR, field[13] * SECTOR, field[4], flushes)

    def forget(self) -> None:
        """Write out and forget what the page cache holds of the device."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, BLKFLSBUF, 0)
        finally:
            os.close(fd)

    def refill(self) -> None:
        """Bring it to the state before every run: all allocated, all old content, nothing cached."""
        self.forget()
        write_all(self.backing, self.size, block=4 << 20, depth=2)
        self.forget()

    def digest(self, ranges: tuple[tuple[int, int], ...]) -> str:
        """SHA-256 of the (offset, length) ranges that the device holds, past every cache."""
        self.forget()
        return digest(self.backing, ranges)


def _allocate(path: Path, size: int) -> None:
    """A file of `size` bytes of old content with every block allocated and written."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)
    try:
        write_all(path, size, block=4 << 20, depth=2)
    except OSError as error:
        why = f"{path} takes no direct I/O ({error.strerror}): choose another --dir"
        raise BenchmarkError(why) from error


@contextmanager
def _loop(path: Path) -> Iterator[Path]:
    """A loop device over path, with direct I/O."""
    device = Path(run(["losetup", "--find", "--show", "--direct-io=on", path]).strip())
    try:
        if Path(f"/sys/block/{device.name}/loop/dio").read_text().strip() != "1":
            raise BenchmarkError(f"{device} over {path} has no direct I/O: choose another --dir")
        yield device
    finally:
        run(["losetup", "--detach", device])


@contextmanager
def fast(directory: Path, size: int, name: str = "fast") -> Iterator[Device]:
    """The fast device: as fast as the disk below `directory`. name: of the table that its rows are in."""
    backing = directory / "fast.bin"
    with ExitStack() as stack:
        stack.callback(backing.unlink, missing_ok=True)
        _allocate(backing, size)
        yield Device(name, stack.enter_context(_loop(backing)), backing, size)


def _until(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    """Wait until condition() is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise BenchmarkError(f"{what} did not come up in {seconds:g} s")
        time.sleep(0.02)


def _unmount(mount: Path) -> None:
    """Take the FUSE mount away; the kernel lets go of the loop device a moment after it is detached."""
    for _ in range(50):
        try:
            run(["fusermount3", "-u", mount])
            return
        except BenchmarkError:
            time.sleep(0.1)
    run(["fusermount3", "-u", mount])


def _nbdkit(backing: Path, rate: int, zeroes: str) -> list[str]:
    """Filters, plugin and options of the server that holds the bytes and keeps the rate."""
    filters = ["--filter=rate"]
    options = [f"rate={rate * 8}", "burstiness=0.25"]  # bits a second; seconds of credit after a rest
    if zeroes == "data":
        # Emulated below nbdkit's front, split first: the rate filter is exact for small requests only.
        filters = ["--filter=blocksize", "--filter=nozero", *filters]
        options += ["zeromode=emulate", "maxdata=1M"]
    return [*filters, "file", str(backing), "cache=none", *options]


def card_missing() -> str | None:
    """Why there can be no card here, or None."""
    if not Path("/dev/fuse").exists():
        return "/dev/fuse is missing (load the kernel module fuse)"
    return missing("nbdkit", "nbdfuse", "fusermount3")


@contextmanager
def card(directory: Path, size: int, rate: int, zeroes: str) -> Iterator[Device]:
    """A card that writes `rate` bytes a second and reads as many. zeroes: "data" or "free", see above."""
    with fuse_card(directory, "card", size, partial(_nbdkit, rate=rate, zeroes=zeroes)) as (path, backing):
        yield Device("card", path, backing, size, rate)


@contextmanager
def fuse_card(
    directory: Path, name: str, size: int, nbdkit: Callable[[Path], list[str]]
) -> Iterator[tuple[Path, Path]]:
    """
    A loop device over what an nbdkit serves, and the file of `size` bytes that is behind it.

    name: of the files in `directory`. nbdkit: its plugin and options, given that file.
    """
    backing, mount, socket = directory / f"{name}.bin", directory / name, directory / f"{name}.socket"
    disk = mount / "disk"
    with ExitStack() as stack:
        stack.callback(backing.unlink, missing_ok=True)
        _allocate(backing, size)
        socket.unlink(missing_ok=True)
        stack.callback(socket.unlink, missing_ok=True)
        mount.mkdir(exist_ok=True)
        stack.callback(mount.rmdir)
        server = ["nbdkit", "--foreground", "--exit-with-parent", "--unix", str(socket)]
        stack.enter_context(serving([*server, *nbdkit(backing)]))
        _until(socket.exists, "nbdkit")
        stack.enter_context(serving(["nbdfuse", str(disk), "--unix", str(socket)]))
        stack.callback(_unmount, mount)
        _until(disk.exists, "nbdfuse")
        yield stack.enter_context(_loop(disk)), backing
