"""
Reboot, whatever the board is like.

The profile's reboot command asks for a clean one. A service that does not stop, or a filesystem that cannot be
unmounted, holds that up for ever, on a board that nobody walks up to. So a process of its own watches, and goes
on from rung to rung as long as it is alive:

    [reboot] command        reboot                            a clean reboot, at once
    force_after = 300 s     reboot --force                    without the services; sync is part of it
    kernel_after = 300 s    /proc/sysrq-trigger: s, u, b      the kernel syncs, sets all read-only, resets

0 leaves a rung out. The watcher ignores SIGTERM, with which a shutdown begins.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hupfast.errors import HupfastError
from hupfast.hold import on_host
from hupfast.profile import Table
from hupfast.system import run, under

_SYNC_SECONDS = 60


@dataclass(frozen=True)
class Restart:
    """The table [reboot]. force_after, kernel_after: seconds, each counted from the rung before; 0: never."""

    command: tuple[str, ...] = ("reboot",)
    force: tuple[str, ...] = ("reboot", "--force")
    force_after: int = 300
    kernel_after: int = 300


def read_restart(table: Table) -> Restart:
    """Raises: Refused with the line."""
    default = Restart()
    command = table.texts("command", default.command)
    # Who brings a command of their own has a board that is not rebooted like a Linux machine.
    seconds = 0 if table.has("command") else default.force_after
    restart = Restart(
        command=command,
        force=table.texts("force", default.force),
        force_after=table.number("force_after", seconds, least=0, most=86400),
        kernel_after=table.number("kernel_after", seconds, least=0, most=86400),
    )
    for key in ("command", "force"):
        if not getattr(restart, key):
            raise table.fail(key, "it is empty")
    table.finish()
    return restart


def reboot(restart: Restart, root: Path, argument: str | None = None) -> None:
    """
    Start the watcher, then ask for the reboot. Returns while the system shuts down.

    argument: what the bootloader wants to be told ("0 tryboot"). Raises: HupfastError when the command fails; the
    watcher goes on then, since the new system waits to be tried.
    """
    values = {"{root}": str(root.absolute()), "{python}": sys.executable}
    command = [values.get(word, word) for word in restart.command]
    if "{root}" not in restart.command:
        command = on_host(root, command)
    words = [argument] if argument else []
    if restart.force_after or restart.kernel_after:
        _start_watcher(restart, root, words)
    run([*command, *words])


def watch(restart: Restart, root: Path) -> None:
    """The rungs after the first. Returns only when all were in vain."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if restart.force_after:
        time.sleep(restart.force_after)
        with suppress(HupfastError):  # the next rung needs no program
            run(on_host(root, restart.force), check=False)
    if restart.kernel_after:
        time.sleep(restart.kernel_after)
        _sync()
        under(root, "/proc/sys/kernel/sysrq").write_text("1\n")
        for key in "sub":
            under(root, "/proc/sysrq-trigger").write_text(key)
            time.sleep(2)


def _sync() -> None:
    """In a process of its own: on a medium that hangs, sync never returns."""
    child = subprocess.Popen([sys.executable, "-c", "import os; os.sync()"])
    try:
        child.wait(timeout=_SYNC_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def _start_watcher(restart: Restart, root: Path, words: Sequence[str]) -> None:
    """In a session of its own, with nothing of this process's: nobody waits for it."""
    numbers = [str(restart.force_after), str(restart.kernel_after)]
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "hupfast.restart", str(root.absolute()), *numbers, *restart.force, *words],
        {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)],
        setsid=True,
    )


def _main(arguments: Sequence[str]) -> None:
    root, force_after, kernel_after, *force = arguments
    watch(Restart(force=tuple(force), force_after=int(force_after), kernel_after=int(kernel_after)), Path(root))


if __name__ == "__main__":
    _main(sys.argv[1:])
