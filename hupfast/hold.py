"""
How the rest of the system is treated while a board is updated: services that stop, shutdowns and reboots that wait.

Table [update] of a profile:
    stop      systemd units that stop for an update, and start again when it ends without a reboot
    locks     files, with * and ?, that an application makes so that the board does not reboot under it
              (balena: /tmp/balena-supervisor/services/*/*/updates.lock)
    lock_wait seconds that a reboot waits for the locks, 0; after that the reboot is left to somebody else
    inhibit   "yes": from the first boot file to the switch, nobody else shuts the board down (systemd-inhibit);
              where systemd does not run, nothing can be held
    custom_modules  what loaded kernel modules that are not of the running system are: "warn", "refuse", "ignore"
"""

import glob
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.system import run, under

_LOCK_POLL = 5.0
_WHY = "an operating system update is at its boot files"


@dataclass(frozen=True)
class Hold:
    """The table [update]."""

    stop: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    lock_wait: int = 0
    inhibit: bool = True
    custom_modules: str = "warn"


def read_hold(table: Table) -> Hold:
    """Raises: Refused with the line."""
    hold = Hold(
        stop=table.texts("stop", ()),
        locks=table.paths("locks", ()),
        lock_wait=table.number("lock_wait", 0, least=0, most=30 * 86400),
        inhibit=table.choice("inhibit", ("yes", "no"), "yes") == "yes",
        custom_modules=table.choice("custom_modules", ("warn", "refuse", "ignore"), "warn"),
    )
    for unit in hold.stop:
        if unit.startswith("-") or "." not in unit:
            raise table.fail("stop", f"{unit!r} is no name of a systemd unit, such as app.service")
    table.finish()
    return hold


def on_host(root: Path, argv: Sequence[str]) -> list[str]:
    """The command for the system below `root`, from inside a container too."""
    return list(argv) if root == Path("/") else ["chroot", str(root), *argv]


def runs_systemd(root: Path) -> bool:
    """Whether systemd is the init of the system, as sd_booted(3) tells it."""
    return under(root, "/run/systemd/system").is_dir()


class Stopped:
    """Units that were active and have been stopped."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.units: list[str] = []

    def stop(self, units: Sequence[str]) -> None:
        """Stop those that are active. Raises: HupfastError when one does not stop; start() is for that one too."""
        for unit in units:
            if run(on_host(self._root, ["systemctl", "is-active", "--quiet", unit]), check=False).status == 0:
                self.units.append(unit)
                run(on_host(self._root, ["systemctl", "stop", unit]))

    def start(self) -> None:
        """Start them again, the last one first. Raises: HupfastError, when all have been tried."""
        problem = None
        while self.units:
            try:
                run(on_host(self._root, ["systemctl", "start", self.units.pop()]))
            except HupfastError as error:
                problem = error
        if problem is not None:
            raise problem


@contextmanager
def stopped(units: Sequence[str], root: Path) -> Iterator[Stopped]:
    """Stop units where systemd runs, and start them again when the block is left with an exception."""
    services = Stopped(root)
    try:
        services.stop(units if runs_systemd(root) else ())
        yield services
    except BaseException:
        with suppress(HupfastError):  # why the update ended is what has to be seen
            services.start()
        raise


@contextmanager
def inhibited(root: Path, *, wanted: bool) -> Iterator[None]:
    """
    Hold shutdown and sleep off, until the block ends or this process does.

    Where that cannot be had, the block runs without it: a reboot in it costs a repeated update, not the board.
    """
    if not wanted or not runs_systemd(root):
        yield
        return
    import subprocess

    command = ["systemd-inhibit", "--what=shutdown:sleep", "--who=hupfast", f"--why={_WHY}", "--mode=block", "cat"]
    try:
        # `cat` ends with its input, which ends with this process, however that ends.
        holder = subprocess.Popen(
            on_host(root, command), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        yield
        return
    try:
        yield
    finally:
        if holder.stdin is not None:
            holder.stdin.close()
        try:
            holder.wait(timeout=10)
        except subprocess.TimeoutExpired:
            holder.kill()
            holder.wait()


def held_locks(hold: Hold, root: Path) -> tuple[Path, ...]:
    """The lock files that are still there when the wait is over."""
    end = time.monotonic() + hold.lock_wait
    while True:
        found = tuple(Path(name) for pattern in hold.locks for name in sorted(glob.glob(str(under(root, pattern)))))
        rest = end - time.monotonic()
        if not found or rest <= 0:
            return found
        time.sleep(min(_LOCK_POLL, rest))
