"""Where it is measured: nothing is left in a folder, and what cannot be used is refused."""

import os

import pytest

from hupfast.bench import place
from hupfast.bench.place import check_place, placed
from hupfast.errors import TargetError

MIB, GIB = 2**20, 2**30


def test_folder(tmp_path):
    """In a folder a file of the size is made that nobody sees, and that is gone afterwards."""
    with placed(str(tmp_path), 8 * MIB) as found:
        assert os.stat(found.path).st_size == 8 * MIB
        assert found.name == str(tmp_path)
        assert os.listdir(tmp_path) == []
    assert not os.path.exists(found.path)


def test_folder_without_nameless_files(tmp_path, monkeypatch):
    """On a filesystem that knows no files without a name, as FAT, the name goes at once."""
    monkeypatch.setattr(place.os, "O_TMPFILE", os.O_DIRECTORY)  # as an old kernel takes it: EISDIR
    with placed(str(tmp_path), 8 * MIB) as found:
        assert os.stat(found.path).st_size == 8 * MIB
        assert os.listdir(tmp_path) == []


def test_default_size(tmp_path):
    """A file is used up to 256 MiB, in whole steps of 4 MiB."""
    (tmp_path / "file").write_bytes(b"")
    os.truncate(tmp_path / "file", 300 * MIB)
    assert check_place(str(tmp_path / "file"), None) == (256 * MIB, 300 * MIB)
    os.truncate(tmp_path / "file", 10 * MIB)
    assert check_place(str(tmp_path / "file"), None) == (8 * MIB, 10 * MIB)


def test_full_size(tmp_path):
    """A mode that wants more takes a quarter of a large target, and of a small one as much as others do."""
    for size, used in ((64 * GIB, 4 * GIB), (8 * GIB, 2 * GIB), (300 * MIB, 256 * MIB), (10 * MIB, 8 * MIB)):
        with open(tmp_path / "file", "wb") as file:
            file.truncate(size)
        assert check_place(str(tmp_path / "file"), None, 4 * GIB) == (used, size)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("none", None, "does not exist"),
        ("file", 12 * MIB, "has room for 10485760 bytes"),
        ("file", MIB, "too few"),
        ("small", None, "too few"),
        (".", 2**60, "choose a smaller --size"),
    ],
)
def test_refused(tmp_path, name, size, words):
    """What is not there, too small, or smaller than asked for is refused."""
    (tmp_path / "file").write_bytes(bytes(10 * MIB))
    (tmp_path / "small").write_bytes(bytes(1000))
    with pytest.raises(TargetError, match=words):
        check_place(str(tmp_path / name), size)
