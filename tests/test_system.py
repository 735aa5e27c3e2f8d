"""The operating system's side: durable files, programs, facts."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hupfast import system
from hupfast.errors import HupfastError, MediumError
from hupfast.system import (
    SUFFIX,
    boot_id,
    digest,
    free_space,
    make_directory,
    parse_os_release,
    read_chunks,
    read_small,
    remove_durably,
    run,
    system_version,
    under,
    write_atomic,
    write_chunks,
)


def test_absolute_paths_go_below_the_root() -> None:
    """A profile's /boot is <root>/boot."""
    assert under(Path("/host"), "/boot/a") == Path("/host/boot/a")
    assert under(Path("/"), "/boot") == Path("/boot")


def test_write_atomic_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """The file has the new bytes, and there is no leftover."""
    path = tmp_path / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")

    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failing_writer_changes_nothing(tmp_path: Path) -> None:
    """When the bytes stop coming, the old file stays and the leftover goes."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise HupfastError("the bundle ends")

    with pytest.raises(HupfastError, match="the bundle ends"):
        write_chunks(path, broken())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_file_and_directory_are_flushed_around_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of the data comes before the rename, fsync of the directory after it."""
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def traced_fsync(fd: int) -> None:
        calls.append("directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")
        fsync(fd)

    def traced_rename(source: Path, target: Path) -> None:
        calls.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "rename", traced_rename)
    write_atomic(tmp_path / "file", b"data")

    assert calls == ["file", "rename", "directory"]


@pytest.mark.parametrize(("number", "kind"), [(5, MediumError), (28, HupfastError), (30, HupfastError)])
def test_errors_of_the_medium_are_told_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[HupfastError]
) -> None:
    """EIO ends in exit 6, ENOSPC and EROFS in exit 1, each with its errno and the path."""

    def fails(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(HupfastError, match=str(tmp_path / "file")) as caught:
        write_atomic(tmp_path / "file", b"data")

    assert type(caught.value) is kind
    assert caught.value.errno == number
    assert os.listdir(tmp_path) == []


def test_a_link_in_the_way_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link under the temporary name does not lead the bytes elsewhere."""
    (tmp_path / ("file" + SUFFIX)).symlink_to(tmp_path / "victim")

    with pytest.raises(HupfastError, match="symbolic link"):
        write_atomic(tmp_path / "file", b"data")
    assert not (tmp_path / "victim").exists()


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes three bytes at a time still brings all of them."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    write_atomic(tmp_path / "file", b"ten bytes.")

    assert (tmp_path / "file").read_bytes() == b"ten bytes."


def test_directories_are_made_with_their_parents(tmp_path: Path) -> None:
    """Every missing parent is made; an existing directory is fine, a file in the way is not."""
    make_directory(tmp_path / "a" / "b" / "c")
    make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()

    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(HupfastError, match="cannot make the directory"):
        make_directory(tmp_path / "file" / "below")


def test_removing_what_is_missing_is_fine(tmp_path: Path) -> None:
    """remove_durably may be repeated."""
    (tmp_path / "file").write_bytes(b"")
    remove_durably(tmp_path / "file")
    remove_durably(tmp_path / "file")
    remove_durably(tmp_path / "no" / "such" / "file")
    assert not (tmp_path / "file").exists()


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
