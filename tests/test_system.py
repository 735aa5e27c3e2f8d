"""The operating system's side: durable files, programs, facts."""

import os
import time
from pathlib import Path

import pytest

from hupfast import system
from hupfast.errors import HupfastError
from hupfast.system import (
    boot_id,
    digest,
    free_space,
    parse_os_release,
    read_chunks,
    read_small,
    run,
    system_version,
    under,
)


def test_absolute_paths_go_below_the_root() -> None:
    """A profile's /boot is <root>/boot."""
    assert under(Path("/host"), "/boot/a") == Path("/host/boot/a")
    assert under(Path("/"), "/boot") == Path("/boot")


def test_read_small_tells_missing_from_unreadable(tmp_path: Path) -> None:
    """None for a missing file; an error for a directory, a file in the way and one that is too large."""
    (tmp_path / "large").write_bytes(bytes(11))

    assert read_small(tmp_path / "no") is None
    assert read_small(tmp_path / "large" / "below") is None
    assert read_small(tmp_path / "large", 11) == bytes(11)
    with pytest.raises(HupfastError, match="larger than 10 bytes"):
        read_small(tmp_path / "large", 10)
    with pytest.raises(HupfastError, match="directory"):
        read_small(tmp_path)


def test_read_chunks_gives_the_whole_file(tmp_path: Path) -> None:
    """The pieces together are the file, cached or not."""
    data = os.urandom(700_000)
    (tmp_path / "file").write_bytes(data)

    assert b"".join(read_chunks(tmp_path / "file")) == data
    assert b"".join(read_chunks(tmp_path / "file", past_cache=True)) == data
    assert digest(read_chunks(tmp_path / "file")).hex() == run(["sha256sum", str(tmp_path / "file")]).output.split()[0]


def test_run_returns_what_a_program_prints() -> None:
    """Status, both streams and standard input; no shell looks at the arguments."""
    finished = run(["sh", "-c", "cat; echo $1 >&2; exit 3", "sh", "$HOME"], text="in", check=False)

    assert (finished.status, finished.output, finished.error) == (3, "in", "$HOME\n")


def test_a_failing_program_is_quoted() -> None:
    """The error has the command, the status and the last line it printed."""
    with pytest.raises(HupfastError, match=r"^sh -c .* ended with status 4: second line$"):
        run(["sh", "-c", "echo first line; echo second line; exit 4"])


def test_a_missing_program_is_named() -> None:
    """No traceback, and the name of what is missing."""
    with pytest.raises(HupfastError, match="the program no-such-program is not installed"):
        run(["no-such-program"])


def test_a_program_that_takes_too_long_is_killed_with_its_children() -> None:
    """The time limit holds though a child keeps the output open."""
    started = time.monotonic()
    finished = run(["sh", "-c", "sleep 30 & sleep 30"], timeout=0.3, check=False)

    assert finished.status is None
    assert time.monotonic() - started < 10


def test_programs_in_sbin_are_found_with_a_bare_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's PATH without /usr/sbin does not hide the tools there."""
    monkeypatch.setenv("PATH", "/nowhere")

    assert system.find_program("sh") is not None
    assert system.find_program("no-such-program") is None
    assert system.find_program("/no/such/program") is None


def test_free_space_asks_the_nearest_directory_that_exists(tmp_path: Path) -> None:
    """A directory that is still to be made lives where its parent does."""
    facts = os.statvfs(tmp_path)
    space = free_space(tmp_path / "not" / "yet")

    assert space.cluster == facts.f_frsize
    assert space.free > 0


def test_facts_of_the_running_system(tmp_path: Path) -> None:
    """boot_id and the version come from below the root; missing files are not an error."""
    assert boot_id(tmp_path) == ""
    assert system_version(tmp_path) is None

    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("1234\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("NAME=x\n# VERSION_ID=0\nVERSION_ID='1.2'\nnonsense\n")
    assert boot_id(tmp_path) == "1234"
    assert system_version(tmp_path) == "1.2"


def test_os_release_with_bytes_that_are_no_text() -> None:
    """What cannot be decoded does not hide the rest."""
    assert parse_os_release(b'\xff\xfe=1\nID="debian"\n')["ID"] == "debian"
