"""Health checks: all are run, and each problem is told in a few words."""

import time
from pathlib import Path

from hupfast.health import Check, find_checks, run_checks


def script(folder: Path, name: str, body: str, mode: int = 0o755) -> None:
    """A shell script."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(mode)


def checked(folder: Path, timeout: float = 10) -> list[Check]:
    """Run what is in a folder."""
    return run_checks(folder, timeout=timeout, root=Path("/system"), slot="b", version="2")


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
    script(tmp_path, "env", 'test "$HUPFAST_ROOT $HUPFAST_SLOT $HUPFAST_VERSION" = "/system b 2"')
    assert checked(tmp_path) == [Check("env", "")]


def test_a_check_that_hangs_is_ended(tmp_path: Path) -> None:
    """It counts as failed when its time is over."""
    script(tmp_path, "hang", "sleep 60")
    started = time.monotonic()

    assert checked(tmp_path, timeout=0.3) == [Check("hang", "took longer than 0.3 s")]
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
