"""extlinux.conf with an entry for each slot: DEFAULT is switched, all else stays byte for byte."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bootloaders import BootState
from hupfast.bootloaders.extlinux import Extlinux, factory
from hupfast.errors import HupfastError, Refused
from hupfast.profile import Table
from hupfast.slots import Place, Places, Slot

TEXT = """TIMEOUT 30
DEFAULT hup-a
LABEL hup-a
      LINUX /a/Image
      APPEND root=/dev/mmcblk0p2
LABEL hup-b
      LINUX /b/Image
      APPEND root=/dev/mmcblk0p3
"""


@pytest.fixture
def board(tmp_path: Path, places: Places) -> Extlinux:
    """It boots slot a."""
    (tmp_path / "extlinux.conf").write_text(TEXT)
    return Extlinux(tmp_path, lambda: places, file="/extlinux.conf", labels={"a": "hup-a", "b": "hup-b"})


def test_a_trial_and_its_end(board: Extlinux, tmp_path: Path) -> None:
    """A trial is the label and a mark; confirm leaves the label; going back leaves the file as it was."""
    file = tmp_path / "extlinux.conf"
    assert board.state() == BootState("a", None, 0, None)
    board.switch("b")
    assert board.state() == BootState("a", "b", 1, None)
    assert file.read_text() == "# hupfast.trial b\n" + TEXT.replace("DEFAULT hup-a", "DEFAULT hup-b")
    board.switch("b")
    board.confirm()
    assert board.state() == BootState("b", None, 0, None)
    board.switch("a", trial=False)
    assert file.read_text() == TEXT
    with pytest.raises(HupfastError, match="no trial"):
        board.confirm()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("DEFAULT hup-a", "DEFAULT rescue", "nothing to switch"),
        ("DEFAULT hup-a\n", "", "nothing to switch"),
        ("LABEL hup-b", "LABEL hup-c", "0 entries LABEL hup-b"),
        ("LABEL hup-b", "LABEL hup-b\nLABEL hup-b", "2 entries LABEL hup-b"),
        ("TIMEOUT 30", "ONTIMEOUT hup-b", "ONTIMEOUT"),
        ("LINUX /b", "MENU DEFAULT\n LINUX /b", "MENU DEFAULT"),
    ],
)
def test_what_does_not_decide_is_an_error(board: Extlinux, tmp_path: Path, old: str, new: str, words: str) -> None:
    """Nothing is written then, and a switch that finds nothing is never a success."""
    text = TEXT.replace(old, new)
    (tmp_path / "extlinux.conf").write_text(text)
    for call in (board.state, lambda: board.switch("b")):
        with pytest.raises(HupfastError, match=words):
            call()
    assert (tmp_path / "extlinux.conf").read_text() == text


@given(
    st.lists(st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n\x85"), max_size=20), max_size=5)
)
def test_other_lines_stay(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    """Comments and settings of the user, whatever bytes they have."""
    folder = tmp_path_factory.mktemp("extlinux")
    kept = "".join(f"# {line}\n" for line in lines)
    data = (kept + TEXT).encode("latin-1")
    (folder / "extlinux.conf").write_bytes(data)
    places = Places("a", {name: Place(name, f"/dev/x{name}", 2, "", "") for name in "ab"})
    board = Extlinux(folder, lambda: places, file="/extlinux.conf", labels={"a": "hup-a", "b": "hup-b"})
    board.switch("b")
    board.switch("a", trial=False)
    assert (folder / "extlinux.conf").read_bytes() == data


def test_two_slots_with_one_label_are_refused(bootloader_table: Callable[[str], Table]) -> None:
    """The profile is wrong, and the line is told."""
    slots = tuple(Slot(name, "", number, "", "", "/") for number, name in enumerate("ab", 2))
    with pytest.raises(Refused, match=re.escape("board.toml")):
        factory(bootloader_table('[bootloader.labels]\na = "x"\nb = "x"\n'), slots)
