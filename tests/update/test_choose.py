"""Of several bundles, the newest that this board could take."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from update.conftest import VirtualBoard as Board

from hupfast.choose import choose_bundle
from hupfast.errors import DataError, HupfastError, NothingToDo, Refused, SourceError, UsageError


@pytest.fixture
def stick(shelf: Any, tmp_path: Path) -> Path:
    """A folder as on a USB stick: three versions for this board, a newer one for another, and no bundle."""
    folder = tmp_path / "media"
    folder.mkdir()
    for version in ("1.9", "1.10", "1.2"):
        shutil.copy(shelf.bundle(version), folder / f"{version}.hup")
    shutil.copy(shelf.bundle("3.0", board="toaster"), folder / "3.0.hup")
    (folder / "4.0.hup").write_bytes(b"no bundle")
    (folder / "notes.txt").write_bytes(b"")
    return folder


@pytest.mark.parametrize("name", ["", "*.hup", "[13]*.hup"])
def test_the_newest_that_fits(board: Board, stick: Path, name: str) -> None:
    """By the order of versions, from a folder or a pattern; what is not taken is told with the reason."""
    choice = choose_bundle([str(stick / name) if name else str(stick)], root=board.root, allow_unsigned=True)
    assert choice.source == str(stick / "1.10.hup")
    assert any("3.0.hup: os 3.0 is for the board toaster" in sentence for sentence in choice.others)
    assert any("1.9.hup: its version 1.9 is not newer" in sentence for sentence in choice.others)


def test_several_names(board: Board, stick: Path) -> None:
    """As a shell gives them when it expands the pattern itself."""
    names = [str(stick / "1.2.hup"), str(stick / "1.9.hup")]
    assert choose_bundle(names, root=board.root, allow_unsigned=True).source == names[1]


def test_the_newest_that_can_be_installed_now(board: Board, shelf: Any, tmp_path: Path) -> None:
    """A step in between comes first, and an image that is larger than the slot does not count."""
    between, last = shelf.bundle("2.0"), shelf.bundle("3.0", minimum_versions={"system": "2.0"})
    choice = choose_bundle([str(last), str(between)], root=board.root, allow_unsigned=True)
    assert choice.source == str(between)
    assert "needs system 2.0 or later" in choice.others[0]


def test_all_of_them_fail_alike(board: Board, shelf: Any, tmp_path: Path) -> None:
    """What one alone would end in, several do too."""
    (tmp_path / "a.hup").write_bytes(b"a")
    (tmp_path / "b.hup").write_bytes(b"b")
    cases: list[tuple[list[object], type[HupfastError]]] = [
        ([tmp_path / "a.hup", tmp_path / "b.hup"], DataError),
        (["/no/a.hup", "/no/b.hup"], SourceError),
        (["http://u:p@localhost/a", "http://u:p@localhost/b"], UsageError),
        ([shelf.bundle("1.0"), shelf.bundle("1.0")], NothingToDo),
        ([shelf.bundle("1.0"), tmp_path / "a.hup"], NothingToDo),
        ([shelf.bundle("0.9"), tmp_path / "a.hup"], Refused),
        (["-", shelf.bundle("2.0")], UsageError),
    ]
    for names, kind in cases:
        with pytest.raises(kind) as caught:
            choose_bundle([str(name) for name in names], root=board.root, allow_unsigned=True)
        assert type(caught.value) is kind, names


def test_who_stands_alone_is_not_looked_at(board: Board) -> None:
    """Whether it can be opened, the update finds out."""
    assert choose_bundle(["/no/such.hup"], root=board.root).source == "/no/such.hup"
    assert choose_bundle(["-"], root=board.root).source == "-"


def test_nobody_fits(board: Board, stick: Path) -> None:
    """Unsigned ones are not taken without --allow-unsigned, and the reasons are told."""
    with pytest.raises(Refused, match=r"none of 5 bundles.*1\.9\.hup: the bundle is not signed"):
        choose_bundle([str(stick)], root=board.root)


@pytest.mark.parametrize("name", ["empty", "empty/*.hup"])
def test_nothing_is_there(board: Board, tmp_path: Path, name: str) -> None:
    """An empty stick is wrong usage."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty"):
        choose_bundle([str(tmp_path / name)], root=board.root)


def test_an_update_from_a_stick(board: Board, stick: Path) -> None:
    """`hupfast update FOLDER/*.hup` installs it."""
    from click.testing import CliRunner

    from hupfast.cli.update import update

    done = CliRunner().invoke(
        update, [str(stick / "*.hup"), "--root", str(board.root), "--allow-unsigned"], standalone_mode=False
    )
    assert done.return_value == 10
    assert "taking" in done.stderr
    assert board.status().update == "os 1.10"
