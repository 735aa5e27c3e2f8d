"""The virtual bootloader's file and its four methods."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bootloaders import BootState
from hupfast.bootloaders.virtual import VirtualBootloader, parse, serialize
from hupfast.errors import HupfastError, Refused

SLOTS = ("a", "b")


@pytest.fixture
def bootloader(tmp_path: Path) -> VirtualBootloader:
    """A board that runs slot a for good."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text("quiet hupfast.slot=a root=LABEL=x\n")
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/env").write_text("default=a\n")
    return VirtualBootloader(tmp_path, file="/boot/env", tries=3, slots=SLOTS)


def test_a_switch_only_tries(bootloader: VirtualBootloader) -> None:
    """The default stays; the trial has the tries of the profile."""
    bootloader.switch("b")

    assert bootloader.state() == BootState("a", "b", 3, None)
    assert bootloader.state().next == "b"
    assert bootloader.current() == "a"


def test_confirm_makes_the_trial_the_default(bootloader: VirtualBootloader) -> None:
    """Afterwards there is no trial any more, and a second confirm has nothing to do."""
    bootloader.switch("b")
    bootloader.confirm()

    assert bootloader.state() == BootState("b", None, 0, None)
    with pytest.raises(HupfastError, match="no trial"):
        bootloader.confirm()


def test_a_switch_for_good_ends_a_trial(bootloader: VirtualBootloader) -> None:
    """trial=False names the default and forgets trial and failure."""
    bootloader.switch("b")
    bootloader.switch("a", trial=False)

    assert bootloader.state() == BootState("a", None, 0, None)


def test_an_unknown_slot_is_never_written(bootloader: VirtualBootloader) -> None:
    """The file stays as it was."""
    with pytest.raises(HupfastError, match="no slot 'c'"):
        bootloader.switch("c")
    assert bootloader.state() == BootState("a", None, 0, None)


def test_a_used_up_trial_boots_the_default() -> None:
    """With no tries left, the next boot is the default's."""
    assert BootState("a", "b", 0, None).next == "a"
    assert BootState("a", "b", 1, None).next == "b"


@pytest.mark.parametrize("cmdline", ["", "quiet", "hupfast.slot=c", "hupfast.slot=a hupfast.slot=b"])
def test_a_running_slot_that_is_not_clear_is_refused(
    bootloader: VirtualBootloader, tmp_path: Path, cmdline: str
) -> None:
    """No slot, an unknown one and two of them are all refused: which is the inactive one cannot be known."""
    (tmp_path / "proc/cmdline").write_text(cmdline)
    with pytest.raises(Refused, match="cannot tell which slot is running"):
        bootloader.current()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"default=c\n",
        b"default=a\ndefault=b\n",
        b"default=a\ntries=12\n",
        b"default=a\ntries=x\n",
        b"default=a\ntrial=\n",
        b"default=a\nsurprise=1\n",
        b"default\n",
        b"\xff\xfe",
        b"trial=b\ntries=2\n",
    ],
)
def test_a_file_that_makes_no_sense_is_an_error(bootloader: VirtualBootloader, tmp_path: Path, data: bytes) -> None:
    """It is never taken for a state, and the path is in the message."""
    (tmp_path / "boot/env").write_bytes(data)
    with pytest.raises(HupfastError, match=str(tmp_path / "boot/env")):
        bootloader.state()


def test_a_missing_file_is_an_error(bootloader: VirtualBootloader, tmp_path: Path) -> None:
    """A switch that finds nothing to replace is an error, never a success."""
    (tmp_path / "boot/env").unlink()
    with pytest.raises(HupfastError, match="missing"):
        bootloader.switch("b")


slots = st.sampled_from(SLOTS)
states = st.builds(BootState, slots, slots, st.integers(0, 9), st.none() | slots) | st.builds(
    BootState, slots, st.none(), st.just(0), st.none() | slots
)


@given(states)
def test_what_is_written_comes_back(state: BootState) -> None:
    """parse undoes serialize for every state."""
    assert parse(serialize(state), SLOTS) == state


@given(st.binary(max_size=60))
def test_garbage_is_value_error(data: bytes) -> None:
    """Nothing but ValueError comes out of bytes that are no state."""
    try:
        state = parse(data, SLOTS)
    except ValueError:
        return
    assert state.default in SLOTS
