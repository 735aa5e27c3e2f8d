"""One update at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hupfast.errors import Busy, HupfastError
from hupfast.lock import exclusive


def test_a_second_holder_is_refused_with_the_process_of_the_first(tmp_path: Path) -> None:
    """Busy, exit 9, at once; afterwards the lock is free again."""
    with exclusive(tmp_path), pytest.raises(Busy, match=f"process {os.getpid()}") as caught, exclusive(tmp_path):
        pass

    assert caught.value.exit_code == 9
    with exclusive(tmp_path):
        pass


def test_the_lock_goes_with_the_process(tmp_path: Path) -> None:
    """A holder that is killed leaves no lock, though it leaves the file."""
    script = (
        "import os, sys, pathlib; from hupfast.lock import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)

    assert ended.returncode == -9
    assert (tmp_path / "lock").exists()
    with exclusive(tmp_path):
        pass


def test_an_exception_inside_lets_go(tmp_path: Path) -> None:
    """Ctrl-C while the lock is held does not keep it."""
    with pytest.raises(KeyboardInterrupt), exclusive(tmp_path / "state"):
        raise KeyboardInterrupt
    with exclusive(tmp_path / "state"):
        pass


def test_a_program_that_is_started_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """A child that outlives the holder does not hold the lock."""
    with exclusive(tmp_path):
        child = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        with exclusive(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in its place is an error with the path."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(HupfastError, match=str(tmp_path / "file")), exclusive(tmp_path / "file"):
        pass
