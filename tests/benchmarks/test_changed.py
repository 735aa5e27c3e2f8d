"""benchmarks/changed.py and deltas.py: the next version of an image, and what of it is new."""

import os
from pathlib import Path

import pytest

from benchmarks.changed import USUAL, Recipe, change, files, make
from benchmarks.deltas import share
from benchmarks.machine import missing

MIB = 1 << 20


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A hundred files, each unlike the others."""
    folder = tmp_path / "tree"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number}").write_bytes(f"{number} is what is here. ".encode() * 500)
    for path in (*folder.iterdir(), folder):
        os.utime(path, (2_000_000_000, 1))  # read in the future, so that reading it now does not change that
    return folder


@pytest.mark.parametrize("longer", [False, True])
def test_one_file_of_twenty_changes(tree: Path, longer: bool) -> None:
    """As many as were told, in content, and in length only where that is wanted."""
    before = {path: path.read_bytes() for path in files(tree)}

    assert change(tree, longer=longer) == 5

    other = [path for path in files(tree) if path.read_bytes() != before[path]]
    assert len(other) == 5
    assert all((path.stat().st_size > len(before[path])) == longer for path in other)


def test_a_file_that_is_the_same_from_behind(tmp_path: Path) -> None:
    """It changes nevertheless."""
    (tmp_path / "palindrome").write_bytes(b"abba")

    change(tmp_path, longer=False)

    assert (tmp_path / "palindrome").read_bytes() != b"abba"


def test_fixed_ids_make_the_same_image(tree: Path, tmp_path: Path) -> None:
    """With ids and time fixed two images of one tree are equal; as it comes they are not."""
    absent = missing("mkfs.ext4")
    if absent:
        pytest.skip(absent)
    fixed = Recipe("", ids=True, time=True)
    images = []
    for name, recipe in (("one", fixed), ("two", fixed), ("three", USUAL), ("four", USUAL)):
        make(tree, tmp_path / name, 16 * MIB, recipe)
        images.append((tmp_path / name).read_bytes())

    assert images[0] == images[1]
    assert images[2] != images[3]


def test_the_share_that_is_fetched(tmp_path: Path) -> None:
    """One chunk of four differs, and it is as large as the others."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"".join(bytes([number]) * 1000 for number in range(4)))
    new.write_bytes(b"".join(bytes([number]) * 1000 for number in (0, 9, 2, 3)))

    found = share(old, new, 1000, 3)

    assert found.chunks == 1
    assert found.ratio == pytest.approx(0.25, abs=0.02)
