"""Boot files that are a directory of the new root file system."""

import os
from pathlib import Path
from typing import Any

import pytest

from hupfast.bundling import create_bundle
from hupfast.errors import DataError, HupfastError, Refused
from hupfast.filesystem import make, put
from hupfast.image import pack

Board = Any
KERNEL = os.urandom(300_000)


def bundle_of(tmp_path: Path, files: dict[str, bytes], links: tuple[str, ...] = ()) -> Path:
    """A bundle of 2.0 without boot files; these are in /usr/lib/boot of its image."""
    tree = tmp_path / "tree"
    put(tree, "etc/os-release", b'ID=os\nVERSION_ID="2.0"\n')
    for name, data in files.items():
        put(tree, f"usr/lib/boot/{name}", data)
    for name in links:
        (tree / "usr/lib/boot" / name).symlink_to("/etc/os-release")
    make(tree, tmp_path / "image", 2 << 20)

    def packed(source: Path, out: Path) -> None:
        pack(source, out, level=1, chunk_size=1 << 16)

    create_bundle(
        tmp_path / "os.hup", name="os", version="2.0", boards=["virtual"], image=tmp_path / "image", pack=packed
    )
    return tmp_path / "os.hup"


@pytest.fixture
def board(board: Board) -> Board:
    """One whose profile looks for boot files in the new root file system."""
    board.profile(lambda text: text.replace("[boot]\n", '[boot]\nfrom_root = "/usr/lib/boot"\n'))
    return board


def test_boot_files_come_from_the_new_root(board: Board, tmp_path: Path) -> None:
    """Byte for byte, directories too, below the slot's prefix; what the slot had there before goes."""
    put(board.root, "boot/b/stale", b"of an older system")
    board.update(bundle_of(tmp_path, {"kernel": KERNEL, "dtb/long name.dtb": b"tree", "empty": b""}))
    boot = board.root / "boot/b"
    found = {str(path.relative_to(boot)): path.read_bytes() for path in boot.rglob("*") if path.is_file()}
    assert found == {"kernel": KERNEL, "dtb/long name.dtb": b"tree", "empty": b""}
    assert not list((board.root / "state/scratch").iterdir())
    assert board.boot().slot == "b"


def test_a_bundle_with_boot_files_of_its_own_is_refused(board: Board) -> None:
    """Two places cannot both be right."""
    with pytest.raises(Refused, match="without them"):
        board.update("2.0")


@pytest.mark.parametrize(
    ("files", "links", "words"),
    [({}, (), "no boot files"), ({"kernel": b""}, ("link",), "symlink"), ({"a": b"", "A": b""}, (), "A")],
)
def test_boot_files_that_no_boot_partition_can_hold(
    board: Board, tmp_path: Path, files: dict[str, bytes], links: tuple[str, ...], words: str
) -> None:
    """None at all, a link, two names that FAT takes for one: bad data, and the board boots as before."""
    with pytest.raises(DataError, match=words):
        board.update(bundle_of(tmp_path, files, links))
    assert board.boot().slot == "a"


def test_boot_files_that_do_not_fit_fail_after_the_image(board: Board, tmp_path: Path) -> None:
    """The room could not be known before: exit 1, not "refused before anything was written"."""
    board.profile(lambda text: text.replace('size = "256M"', 'size = "100K"\nfrom_root = "/usr/lib/boot"'))
    with pytest.raises(HupfastError, match="at the peak") as caught:
        board.update(bundle_of(tmp_path, {"kernel": KERNEL}))
    assert not isinstance(caught.value, Refused)
    assert board.boot().slot == "a"
