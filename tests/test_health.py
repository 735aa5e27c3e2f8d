"""Health checks: all are run, and each problem is told in a few words."""

import socket
import time
from pathlib import Path

import pytest

from hupfast.health import Check, Health, find_checks, run_checks


def script(folder: Path, name: str, body: str, mode: int = 0o755) -> None:
    """A shell script."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(mode)


def checked(folder: Path, timeout: int = 10) -> list[Check]:
    """Run what is in a folder."""
    return run_checks(Health(f"/{folder.name}", timeout), root=folder.parent, slot="b", version="2")


def test_all_checks_run_in_order_of_their_names(tmp_path: Path) -> None:
    """Also those behind one that fails."""
    script(tmp_path, "20-b", "exit 3")
    script(tmp_path, "10-a", "exit 0")
    script(tmp_path, "30-c", "echo no route >&2; exit 1")

    assert checked(tmp_path) == [
        Check("10-a", ""),
        Check("20-b", "ended with status 3"),
        Check("30-c", "ended with status 1: no route"),
    ]


def test_checks_know_what_they_check(tmp_path: Path) -> None:
    """Root, slot and version are in the environment."""
    script(tmp_path, "env", f'test "$HUPFAST_ROOT $HUPFAST_SLOT $HUPFAST_VERSION" = "{tmp_path.parent} b 2"')
    assert checked(tmp_path) == [Check("env", "")]


def test_a_check_that_hangs_is_ended(tmp_path: Path) -> None:
    """It counts as failed when its time is over."""
    script(tmp_path, "hang", "sleep 60")
    started = time.monotonic()

    assert checked(tmp_path, timeout=1) == [Check("hang", "took longer than 1 s")]
    assert time.monotonic() - started < 20


def test_a_check_that_dies_or_cannot_start_has_failed(tmp_path: Path) -> None:
    """A signal and a missing interpreter are problems, not tracebacks."""
    script(tmp_path, "1-dies", "kill -9 $$")
    (tmp_path / "2-broken").write_text("#!/no/such/interpreter\n")
    (tmp_path / "2-broken").chmod(0o755)
    dies, broken = checked(tmp_path)

    assert dies.problem == "died by signal 9"
    assert "cannot run" in broken.problem


def test_what_is_no_check_is_left_out(tmp_path: Path) -> None:
    """Not executable, hidden, a backup copy, a directory; and no directory at all."""
    script(tmp_path, "README", "", mode=0o644)
    script(tmp_path, ".hidden", "exit 1")
    script(tmp_path, "check~", "exit 1")
    (tmp_path / "folder").mkdir()

    assert find_checks(tmp_path) == []
    assert find_checks(tmp_path / "none") == []


def test_checks_are_repeated_until_they_pass(tmp_path: Path) -> None:
    """A service that needs a while is no reason to fall back; the pauses are those of the profile."""
    script(tmp_path, "count", f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) -ge 3")
    pauses: list[float] = []
    health = Health(f"/{tmp_path.name}", attempts=5, interval=7)
    checks = run_checks(health, root=tmp_path.parent, slot="b", version="2", pause=pauses.append)

    assert checks == [Check("count", "")]
    assert pauses == [7, 7]


def test_attempts_and_deadline_end_it(tmp_path: Path) -> None:
    """After the last attempt there is no pause, and no pause goes over the deadline."""
    script(tmp_path, "never", "exit 1")
    pauses: list[float] = []
    for health, count in ((Health("/", attempts=3), 2), (Health("/", attempts=9, interval=5, deadline=4), 0)):
        pauses.clear()
        checks = run_checks(health, root=tmp_path, slot="b", version="2", pause=pauses.append)
        assert checks == [Check("never", "ended with status 1")]
        assert len(pauses) == count


def test_an_open_port_passes_and_a_closed_one_does_not(tmp_path: Path) -> None:
    """A real connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        health = Health("/none", ports=(("127.0.0.1", port),))
        assert run_checks(health, root=tmp_path, slot="b", version="2") == [Check(f"port 127.0.0.1:{port}", "")]
    closed = run_checks(health, root=tmp_path, slot="b", version="2")
    assert "takes no connection" in closed[0].problem


@pytest.mark.parametrize(
    ("output", "problem"),
    [("", ""), ("dev.mount loaded failed failed x\nb.service loaded failed failed y", "failed: dev.mount, b.service")],
)
def test_failed_units_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, problem: str) -> None:
    """As `systemctl list-units --failed --plain --no-legend` prints them."""
    script(tmp_path, "systemctl", f"printf '{output}'")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert run_checks(Health("/none", units=True), root=tmp_path, slot="b", version="2") == [
        Check("systemd units", problem)
    ]


def test_a_host_that_does_not_answer_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ping says is the reason; its status decides."""
    script(tmp_path, "ping", 'test "$5" = here || { echo "$5: Name not known"; exit 2; }')
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = run_checks(Health("/none", hosts=("here", "gone")), root=tmp_path, slot="b", version="2")

    assert checks == [Check("host here", ""), Check("host gone", "gone: Name not known")]
