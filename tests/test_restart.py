"""Rung after rung, until the board is down."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hupfast import restart
from hupfast.errors import HupfastError, Refused
from hupfast.profile import load_profile
from hupfast.restart import Restart, read_restart, reboot, watch


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system root whose kernel takes what is written to it, and a `chroot` that writes down what it was told."""
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/sysrq").write_text("0\n")
    (tmp_path / "proc/sysrq-trigger").write_text("")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/chroot"
    program.write_text(f'#!/bin/sh\nshift\necho "$*" >> {tmp_path}/calls\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def test_the_rungs_come_one_after_the_other(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the forced reboot, the kernel syncs, sets all read-only and resets."""
    done: list[str] = []
    write = Path.write_text
    # subprocess sleeps too, for parts of a second
    monkeypatch.setattr(time, "sleep", lambda seconds: done.append(f"{seconds} s") if seconds >= 1 else None)
    monkeypatch.setattr(restart, "_apart", lambda call: done.append("sync") if call is os.sync else call())
    monkeypatch.setattr(signal, "signal", lambda number, action: done.append(f"{number.name} {action.name}"))

    def traced(path: Path, text: str) -> int:
        done.append(f"{path.name} {text.strip()}")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", traced)
    watch(Restart(force_after=30, kernel_after=40), kernel)

    assert done == [
        "SIGTERM SIG_IGN", "SIGHUP SIG_IGN", "30 s", "40 s", "sync", "sysrq 1", "2 s",
        "sysrq-trigger s", "2 s", "sysrq-trigger u", "2 s", "sysrq-trigger b", "2 s",
    ]  # fmt: skip
    assert (kernel / "calls").read_text() == "reboot --force\n"


def test_the_watcher_outlives_sigterm(kernel: Path) -> None:
    """A shutdown begins with one; the rungs come all the same."""
    command = [sys.executable, "-m", "hupfast.restart", str(kernel), "1", "0", "reboot", "--force"]
    with subprocess.Popen(command) as process:
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert (kernel / "calls").read_text() == "reboot --force\n"


def test_the_bootloader_is_told_with_the_reboot(kernel: Path) -> None:
    """Its argument stands behind the command."""
    reboot(Restart(force_after=0, kernel_after=0), kernel, "0 tryboot")
    assert (kernel / "calls").read_text() == "reboot 0 tryboot\n"


def test_a_reboot_that_fails_is_an_error_and_watched(kernel: Path) -> None:
    """The watcher was started before."""
    (kernel / "bin/chroot").write_text(f'#!/bin/sh\nshift\necho "$*" >> {kernel}/calls\n[ "$2" = --force ]\n')
    with pytest.raises(HupfastError, match="reboot"):
        reboot(Restart(force_after=1, kernel_after=0), kernel)
    end = time.monotonic() + 30
    while "--force" not in (kernel / "calls").read_text() and time.monotonic() < end:
        time.sleep(0.1)
    assert (kernel / "calls").read_text() == "reboot\nreboot --force\n"


@pytest.mark.parametrize(("text", "seconds"), [("", 300), ('command = ["true"]', 0), ("force_after = 7", 7)])
def test_a_command_of_ones_own_has_no_rungs_behind_it(tmp_path: Path, text: str, seconds: int) -> None:
    """Unless they are asked for."""
    (tmp_path / "board.toml").write_text(f"[reboot]\n{text}\n")
    assert read_restart(load_profile(tmp_path / "board.toml").table("reboot")).force_after == seconds


def test_an_empty_command_is_refused(tmp_path: Path) -> None:
    """There is nothing to run."""
    (tmp_path / "board.toml").write_text("[reboot]\nforce = []\n")
    with pytest.raises(Refused, match="line 2"):
        read_restart(load_profile(tmp_path / "board.toml").table("reboot"))


def test_a_dead_medium_does_not_stop_the_kernel_s_rung(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs cannot be started, and /proc/sys is read-only: the kernel is told all the same."""
    (kernel / "proc/sys/kernel/sysrq").unlink()
    (kernel / "proc/sys/kernel/sysrq").mkdir()
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(signal, "signal", lambda number, action: None)
    monkeypatch.setattr(restart, "run", lambda *arguments, **options: os.execv("/nowhere", ["x"]))
    watch(Restart(force_after=1, kernel_after=1), kernel)
    assert (kernel / "proc/sysrq-trigger").read_text() == "b"


def test_with_systemd_a_unit_watches(kernel: Path) -> None:
    """One that a shutdown does not stop; its script does the same."""
    (kernel / "run/systemd/system").mkdir(parents=True)
    reboot(Restart(force_after=1, kernel_after=2), kernel)
    calls = (kernel / "calls").read_text()
    assert calls.startswith("systemd-run --quiet --collect --property=DefaultDependencies=no sh -c")
    assert calls.endswith("hupfast-reboot 1 2 reboot --force\nreboot\n")


def test_the_script_of_the_unit(tmp_path: Path) -> None:
    """sh runs it: the forced reboot comes after its time, and the kernel's rung is left out with 0."""
    command = ["sh", "-c", restart._SCRIPT, "hupfast-reboot", "1", "0", "touch", str(tmp_path / "forced")]
    subprocess.run(command, check=True)
    time.sleep(0.5)
    assert (tmp_path / "forced").exists()
