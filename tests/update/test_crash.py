"""
Cut off at any moment: what boots is complete, and the same command again ends right.

One test stops a process at each durable step in turn (every fsync, rename, removal, program and image write,
before and after), as os._exit would: no exception handler runs. The other sends real signals at random
moments.
"""

import os
import pkgutil
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hupfast.errors import HupfastError

Board = Any
GONE = 99


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be: hundreds of boards are made here, and no medium is to be tested."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < 256 << 20:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def no_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A process that dies loses nothing that it gave to the kernel, so Python's flushes only cost time here.
    """
    monkeypatch.setattr(os, "fsync", lambda fd: None)


class Death:
    """
    Ends the process at the n-th durable step, before or after it; counts them when n is beyond the last.
    """

    def __init__(self, moment: int) -> None:
        self.moment = moment
        self.steps = 0

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, with two moments to die at."""

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.step()
            result = call(*arguments, **options)
            self.step()
            return result

        return wrapped

    def step(self) -> None:
        """One moment."""
        if self.steps == self.moment:
            os._exit(GONE)
        self.steps += 1

    def arm(self) -> None:
        """From now on in this process."""
        os.fsync = self.wrap(os.fsync)
        os.rename = self.wrap(os.rename)
        os.unlink = self.wrap(os.unlink)
        Path.unlink = self.wrap(Path.unlink)  # type: ignore[method-assign]
        for name in ("hupfast.ext4.run", "hupfast.install.write_image"):
            pytest.MonkeyPatch().setattr(name, self.wrap(pkgutil.resolve_name(name)))


def dies_in(call: Callable[[], object], moment: int) -> int | None:
    """
    Run `call` in a forked process that dies at a moment. Returns the number of moments when it came to its
    end, else None.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        death = Death(moment)
        try:
            death.arm()
            call()
            os.write(writer, b"%d" % death.steps)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        steps = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (0, GONE)
    return int(steps) if steps else None


def boots_complete(board: Board, old: str, new: str) -> str:
    """One power cycle; what runs is one version as a whole, kernel and root. Returns it."""
    booted = board.boot()
    assert booted.version in (old, new)
    board.check_whole(booted.slot, booted.version)
    return str(booted.version)


def moments(call: Callable[[], object], board: Board) -> int:
    """How many moments there are to die at."""
    steps = dies_in(call, 10**9)
    assert steps is not None
    return steps


def sampled(steps: int, many: int) -> list[int]:
    """All moments, or that many of them, the first and last ones included."""
    return (
        sorted({round(index * (steps - 1) / (many - 1)) for index in range(many)})
        if steps > many
        else list(range(steps))
    )


# Every moment with HUPFAST_EVERY_MOMENT=1 (a few minutes); a spread of them otherwise.
MANY = 10**6 if os.environ.get("HUPFAST_EVERY_MOMENT") else 20


def test_an_update_cut_off_at_each_step(new_board: Callable[[str], Board]) -> None:
    """
    The board boots the old or the new system, whole; the same command again installs the new one; it boots.

    The board is rebooted right after the cut when the moment is odd, else the command is repeated at once.
    """
    probe = new_board("probe")
    probe.shelf.bundle("2.0")
    steps = moments(lambda: probe.update("2.0"), probe)
    assert steps > 60
    for moment in sampled(steps, MANY):
        board = new_board(f"at{moment}")
        assert dies_in(partial(board.update, "2.0"), moment) is None
        if moment % 2 and boots_complete(board, "1.0", "2.0") == "2.0":
            board.confirm()
        else:
            assert board.update("2.0").outcome in ("installed", "pending"), moment
            assert board.boot().version == "2.0"
            board.confirm()
        board.check_whole("b", "2.0")
        board.check_whole("a", "1.0")
        status = board.status()
        assert (status.situation, status.version, status.last.result) == ("idle", "2.0", "confirmed")
        subprocess.run(["rm", "-r", board.root], check=True)


def test_an_update_over_a_used_slot_cut_off_at_each_step(new_board: Callable[[str], Board]) -> None:
    """
    The same for the way back, from b to a, with another update after the cut: nothing of the first is left
    over.
    """
    first = new_board("first")
    first.installed("2.0")
    first.shelf.bundle("3.0")
    first.shelf.bundle("4.0")
    probe = copied_board(first, "probe")
    steps = moments(lambda: probe.update("3.0"), probe)
    for moment in sampled(steps, MANY // 2):
        board = copied_board(first, f"at{moment}")
        assert dies_in(partial(board.update, "3.0"), moment) is None
        board.check_whole("b", "2.0")
        assert board.update("4.0").outcome == "installed", moment
        assert boots_complete(board, "4.0", "4.0") == "4.0"
        board.confirm()
        assert board.status().last.result == "confirmed"
        assert sorted(path.name for path in (board.root / "boot/a").rglob("*")) == ["board.dtb", "dtb", "kernel"]
        subprocess.run(["rm", "-r", board.root], check=True)


@pytest.mark.parametrize("command", ["confirm", "rollback"])
def test_confirm_and_rollback_cut_off_at_each_step(new_board: Callable[[str], Board], command: str) -> None:
    """On trial, each can be cut off anywhere and repeated; the board boots, and ends where it was to end."""
    first = new_board("first")
    first.update("2.0")
    first.boot()
    probe = copied_board(first, "probe")
    steps = moments(getattr(probe, command), probe)
    for moment in range(steps):
        board = copied_board(first, f"at{moment}")
        assert dies_in(getattr(board, command), moment) is None
        boots_complete(copied_board(board, f"side{moment}"), "1.0", "2.0")
        getattr(board, command)()
        version = boots_complete(board, "1.0", "2.0")
        assert version == ("2.0" if command == "confirm" else "1.0")
        status = board.status()
        assert status.situation == "idle", moment
        assert status.last.result == ("confirmed" if command == "confirm" else "rolled back")


def test_killed_at_random_moments(new_board: Callable[[str], Board]) -> None:
    """Real processes, real SIGKILL, several times in a row; then the same command to its end."""
    board = new_board("board")
    bundle = board.shelf.bundle("2.0")
    command = [sys.executable, "-m", "hupfast", "update", bundle, "--root", board.root, "--allow-unsigned", "-q"]
    started = time.monotonic()
    reference = new_board("reference")
    assert subprocess.run([*command[:5], "--root", reference.root, *command[7:]], check=False).returncode == 10
    whole = time.monotonic() - started
    chance = random.Random(1)
    for _ in range(10):
        with subprocess.Popen(command) as process:
            time.sleep(chance.uniform(0.3, 1.0) * whole)
            process.send_signal(signal.SIGKILL)
        board.check_whole("a", "1.0")
        if chance.random() < 0.5 and boots_complete(board, "1.0", "2.0") == "2.0":
            break
    else:
        assert subprocess.run(command, check=False).returncode == 10
        assert board.boot().version == "2.0"
    board.confirm()
    board.check_whole("b", "2.0")
    assert board.status().last.result == "confirmed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_signal_ends_in_1_and_is_on_record(board: Board, number: signal.Signals) -> None:
    """No traceback; the old system stays, and the lock is free."""
    fifo = board.root / "stream"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "hupfast", "update", "-", "--root", board.root, "--allow-unsigned", "-q"]
    data = board.shelf.bundle("2.0").read_bytes()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=False) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(data[: len(data) // 2])
        process.stdin.flush()
        while board.status().situation != "interrupted":
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(number)
        error = process.stderr.read().decode()
        process.stdin.close()
    assert process.returncode == 1
    assert error.count("\n") == 1
    assert error.startswith("hupfast: interrupted")
    assert board.status().last.result == "cancelled"
    board.update("2.0")
    board.check_whole("b", "2.0")


def copied_board(source: Board, name: str) -> Board:
    """The same board once more."""
    target = source.root.parent / name
    subprocess.run(["cp", "-a", "--sparse=always", source.root, target], check=True)
    return type(source)(target, source.shelf)


def test_the_death_of_these_tests_is_real(board: Board) -> None:
    """
    A process that is to die at its first step changes nothing; a step that fails is not taken for death.
    """
    assert dies_in(lambda: board.update("2.0"), 0) is None
    assert board.status().situation == "idle"

    def fails() -> None:
        raise HupfastError("not dead")

    assert dies_in(fails, 5) is None
