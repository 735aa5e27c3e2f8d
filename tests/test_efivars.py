"""EFI variables in a plain directory: what efibootmgr makes is read, and what is written is what it reads."""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.efivars import (
    GLOBAL,
    EfiVariables,
    LoadOption,
    in_front,
    parse_load_option,
    parse_number,
    parse_numbers,
    serialize_numbers,
)
from hupfast.errors import HupfastError, MismatchError

NUMBERS = st.integers(0, 0xFFFF)


@pytest.fixture
def variables(tmp_path: Path) -> EfiVariables:
    """An empty directory of variables."""
    return EfiVariables(tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A loop device with an EFI system partition, as efibootmgr wants one for a new entry."""
    if os.geteuid() != 0 or not shutil.which("sfdisk") or not shutil.which("efibootmgr"):
        pytest.skip("needs root (loop devices), sfdisk and efibootmgr")
    with open(tmp_path / "disk", "wb") as file:
        file.truncate(10 << 20)
    subprocess.run(["sfdisk", "-q", tmp_path / "disk"], input=b"label: gpt\nstart=2048,type=uefi\n", check=True)
    made = subprocess.run(["losetup", "-f", "--show", tmp_path / "disk"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device here: {made.stderr.strip()}")
    yield made.stdout.strip()
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def efibootmgr(directory: Path, *arguments: str) -> str:
    """What it prints about the variables there."""
    environment = {**os.environ, "EFIVARFS_PATH": f"{directory}/", "LC_ALL": "C.UTF-8"}
    command = ["efibootmgr", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def option(description: bytes, *, path: bytes = b"\x7f\xff\x04\x00", attributes: int = 1) -> bytes:
    """The data of an entry."""
    return struct.pack("<IH", attributes, len(path)) + description + b"\0\0" + path


def test_entries_that_efibootmgr_makes_are_read(disk: str, tmp_path: Path) -> None:
    """Numbers, descriptions of any letters, and whether they are active; the order that it sets."""
    folder = tmp_path / "efivars"
    folder.mkdir()
    for label in ("hup-a", "Übung 2"):
        efibootmgr(folder, "-c", "-d", disk, "-p", "1", "-L", label, "-l", r"\EFI\hup\linux.efi", "-u", "root=x quiet")
    efibootmgr(folder, "-b", "0001", "-A")
    variables = EfiVariables(folder)

    assert variables.entries() == [LoadOption(0, "hup-a", True), LoadOption(1, "Übung 2", False)]
    assert variables.order() == (1, 0)
    assert variables.number("BootNext") is None
    efibootmgr(folder, "-n", "0000")
    assert variables.number("BootNext") == 0


@pytest.mark.skipif(not shutil.which("efibootmgr"), reason="efibootmgr is not installed")
def test_efibootmgr_reads_what_is_written(variables: EfiVariables) -> None:
    """BootOrder and BootNext, and BootNext is gone after it was deleted."""
    variables.write("Boot000A", option("x".encode("utf-16-le")))
    variables.write("BootOrder", serialize_numbers([10, 2, 0xABCD]))
    variables.write("BootNext", serialize_numbers([10]))
    lines = efibootmgr(variables.directory).splitlines()

    assert lines[:2] == ["BootNext: 000A", "BootOrder: 000A,0002,ABCD"]
    assert lines[2].split() == ["Boot000A*", "x"]
    variables.delete("BootNext")
    assert "BootNext" not in efibootmgr(variables.directory)


def test_a_write_is_one_call_with_the_attributes(variables: EfiVariables, monkeypatch: pytest.MonkeyPatch) -> None:
    """The firmware gets the variable whole; no other file is made."""
    real, calls = os.write, []

    def write(fd: int, data: bytes) -> int:
        calls.append(data)
        return real(fd, data)

    monkeypatch.setattr("hupfast.efivars.os.write", write)
    variables.write("BootNext", b"\2\0")

    assert calls == [b"\7\0\0\0\2\0"]
    assert [path.name for path in variables.directory.iterdir()] == [f"BootNext-{GLOBAL}"]
    assert variables.path("BootNext").read_bytes() == b"\7\0\0\0\2\0"


def test_the_same_value_is_not_written_again(variables: EfiVariables, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flash memory wears out."""
    variables.write("BootNext", b"\2\0")
    monkeypatch.setattr("hupfast.efivars.os.write", lambda fd, data: pytest.fail("it was written"))
    variables.write("BootNext", b"\2\0")


def test_what_the_firmware_does_not_take_is_an_error(variables: EfiVariables, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write and a removal that change nothing are no successes."""
    variables.write("BootNext", b"\2\0")
    monkeypatch.setattr("hupfast.efivars.os.write", lambda fd, data: len(data))
    monkeypatch.setattr("hupfast.efivars.os.unlink", lambda path: None)
    with pytest.raises(MismatchError, match=r"BootNext-\S+ does not hold what was written"):
        variables.write("BootNext", b"\3\0")
    with pytest.raises(MismatchError, match="still there"):
        variables.delete("BootNext")


def test_a_failing_write_names_the_variable(variables: EfiVariables, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's reason, such as a full variable store."""

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hupfast.efivars.os.write", full)
    with pytest.raises(HupfastError, match=r"cannot write the EFI variable \S+BootNext-\S+: No space"):
        variables.write("BootNext", b"\3\0")


def test_immutable_files_are_written_and_deleted(variables: EfiVariables) -> None:
    """The flag that efivarfs sets by default is cleared before."""
    variables.write("BootNext", b"\2\0")
    path = variables.path("BootNext")
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", path], check=False).returncode:
        pytest.skip("no immutable files here (chattr +i)")
    try:
        with pytest.raises(PermissionError):
            path.write_bytes(b"")
        variables.write("BootNext", b"\3\0")
        assert variables.read("BootNext") == b"\3\0"
        subprocess.run(["chattr", "+i", path], check=True)
        variables.delete("BootNext")
        assert not path.exists()
    finally:
        if path.exists():
            subprocess.run(["chattr", "-i", path], check=True)


def test_a_filesystem_without_flags_will_do(variables: EfiVariables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ENOTTY is no error; every other errno is."""
    variables.write("BootNext", b"\2\0")
    number = 25

    def refuse(fd: int, request: int, argument: bytes) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("hupfast.efivars.fcntl.ioctl", refuse)
    variables.write("BootNext", b"\3\0")
    number = 1
    with pytest.raises(HupfastError, match=r"cannot delete the EFI variable .*: Operation not permitted"):
        variables.delete("BootNext")


def test_what_is_missing_is_none(variables: EfiVariables) -> None:
    """To read and to delete it is no error, and neither is the empty file that a failed write can leave."""
    assert (variables.order(), variables.number("BootNext"), variables.entries()) == (None, None, [])
    variables.delete("BootNext")
    variables.path("BootNext").touch()
    assert variables.number("BootNext") is None
    variables.write("BootNext", b"\2\0")
    assert variables.number("BootNext") == 2


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("BootOrder", b"\7\0\0", "3 bytes, too few"),
        ("BootOrder", b"\7\0\0\0\1\0\2", r"BootOrder-\S+ makes no sense: it has 3 bytes"),
        ("BootNext", b"\7\0\0\0", r"BootNext-\S+ makes no sense: it has 0 bytes"),
        ("BootNext", b"\7\0\0\0\1\0\2\0", "makes no sense: it has 4 bytes"),
    ],
)
def test_a_malformed_variable_is_named(variables: EfiVariables, name: str, raw: bytes, reason: str) -> None:
    """Its file and what is wrong with it."""
    variables.path(name).write_bytes(raw)
    with pytest.raises(HupfastError, match=reason):
        _ = variables.order() if name == "BootOrder" else variables.number(name)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "too few"),
        (b"\1\0\0\0\0", "too few"),
        (b"\1\0\0\0\0\0", "no end"),
        (b"\1\0\0\0\0\0a\0b", "no end"),
        (b"\1\0\0\0\0\0a\0\0b", "no end"),
        (option(b"a\0")[:-1], "cut short"),
    ],
)
def test_a_malformed_entry_is_told(variables: EfiVariables, data: bytes, reason: str) -> None:
    """Among the others it is left out."""
    with pytest.raises(ValueError, match=reason):
        parse_load_option(1, data)
    variables.write("Boot0001", data)
    variables.write("Boot00FF", option(b"a\0"))
    assert variables.entries() == [LoadOption(255, "a", True)]


@pytest.mark.parametrize("name", ["Boot001-" + GLOBAL, "Boot0001-" + "0" * 36, "BootOptionSupport-" + GLOBAL])
def test_only_entries_of_the_firmware_are_entries(variables: EfiVariables, name: str) -> None:
    """Other names and other GUIDs are not."""
    (variables.directory / name).write_bytes(b"\7\0\0\0" + option(b"a\0"))
    assert variables.entries() == []


@given(NUMBERS, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.booleans(), st.binary())
def test_any_description_is_read(number: int, text: str, active: bool, path: bytes) -> None:
    """Whatever file path list comes behind it."""
    data = option(text.encode("utf-16-le"), path=path, attributes=active | 0x100)
    assert parse_load_option(number, data + b"optional data") == LoadOption(number, text, active)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_parsers(data: bytes) -> None:
    """A value, or a ValueError."""
    for parse in (parse_numbers, parse_number, lambda data: parse_load_option(1, data)):
        try:
            parse(data)
        except ValueError:
            continue


@given(st.lists(NUMBERS))
def test_an_order_comes_back(order: list[int]) -> None:
    """Numbers to bytes and back."""
    assert parse_numbers(serialize_numbers(order)) == tuple(order)


@given(st.lists(NUMBERS, unique=True, min_size=2), st.data())
def test_in_front_leaves_all_others_in_their_places(order: list[int], data: st.DataObject) -> None:
    """The two change places when they must, and change back."""
    first, second = data.draw(st.permutations(order))[:2]
    new = in_front(order, first, second)

    assert new.index(first) < new.index(second)
    assert sorted(new) == sorted(order)
    assert all(new[place] == number for place, number in enumerate(order) if number not in (first, second))
    assert in_front(new, first, second) == new
    if new != tuple(order):
        assert in_front(new, second, first) == tuple(order)


@given(st.lists(NUMBERS, unique=True, min_size=1), NUMBERS, st.data())
def test_in_front_of_what_is_there_alone(order: list[int], number: int, data: st.DataObject) -> None:
    """A missing entry comes right before the other one; one that is alone stays."""
    there = data.draw(st.sampled_from(order))
    order = [there, *(other for other in order if other not in (there, number))]
    if number == there:
        return
    new = in_front(order, number, there)

    assert new[:2] == (number, there)
    assert new[1:] == tuple(order)
    assert in_front(order, there, number) == tuple(order)
