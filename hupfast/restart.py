"""
Reboot, whatever the board is like.

The profile's reboot command asks for a clean one. A service that does not stop, or a filesystem that cannot be
unmounted, holds that up for ever, on a board that nobody walks up to. So a process of its own (a transient unit where
systemd runs, which no shutdown stops) watches, and goes on from rung to rung as long as it is alive:

    [reboot] command        reboot                            a clean reboot, at once
    force_after = 300 s     reboot --force                    without the services; sync is part of it
    kernel_after = 300 s    /proc/sysrq-trigger: s, u, b      the kernel syncs, sets all read-only, resets

0 leaves a rung out.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hupfast.errors import HupfastError
from hupfast.hold import on_host, runs_systemd
from hupfast.profile import Table
from hupfast.system import run, under

_WAIT_SECONDS = 60

_SCRIPT = """
force=$1 kernel=$2; shift 2
if [ "$force" -gt 0 ]; then sleep "$force"; "$@" & fi
[ "$kernel" -gt 0 ] || exit 0
sleep "$kernel"; sync & sleep 60
echo 1 > /proc/sys/kernel/sysrq
for key in s u b; do echo $key > /proc/sysrq-trigger; sleep 2; done
"""
"""The same as watch(), for a unit of the system, which may not be the one that hupfast runs in."""


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
    """The rungs after the first. Returns only when all were in vain. Nothing of them may hang on the medium."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if restart.force_after:
        time.sleep(restart.force_after)
        _apart(lambda: run(on_host(root, restart.force), check=False))
    if restart.kernel_after:
        time.sleep(restart.kernel_after)
        _apart(os.sync)
        for file, text in (("sys/kernel/sysrq", "1"), *(("sysrq-trigger", key) for key in "sub")):
            with suppress(OSError):
                under(root, f"/proc/{file}").write_text(text)
            time.sleep(2)


def _apart(call: Callable[[], object]) -> None:
    """In a process of its own, which is waited for a while: on a medium that hangs, neither sync nor a program ends."""
    child = os.fork()
    if child == 0:
        try:
            call()
        finally:
            os._exit(0)
    for _ in range(_WAIT_SECONDS):
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return
        time.sleep(1)


def _start_watcher(restart: Restart, root: Path, words: Sequence[str]) -> None:
    """Where nothing of a shutdown stops it: in a unit of its own, or, without systemd, in a session of its own."""
    rungs = (str(restart.force_after), str(restart.kernel_after), *restart.force, *words)
    if runs_systemd(root):
        unit = ["systemd-run", "--quiet", "--collect", "--property=DefaultDependencies=no"]
        with suppress(HupfastError):  # the reboot itself is what was asked for
            run(on_host(root, [*unit, "sh", "-c", _SCRIPT, "hupfast-reboot", *rungs]))
        return
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "hupfast.restart", str(root.absolute()), *rungs],
        {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)],
        setsid=True,
    )


def _main(arguments: Sequence[str]) -> None:
    root, force_after, kernel_after, *force = arguments
    watch(Restart(force=tuple(force), force_after=int(force_after), kernel_after=int(kernel_after)), Path(root))


if __name__ == "__main__":
    _main(sys.argv[1:])
