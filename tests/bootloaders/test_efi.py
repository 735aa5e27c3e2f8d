"""UEFI's boot manager: the entry that the firmware takes is the one that we say boots; efibootmgr reads the same."""

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bootloaders import BootState
from hupfast.bootloaders.efi import EfiBoot, factory
from hupfast.efivars import GLOBAL, EfiVariables
from hupfast.errors import HupfastError, Refused
from hupfast.journal import State, Transaction
from hupfast.profile import Table
from hupfast.situation import judge
from hupfast.slots import Place, Places, Slot

A, B, OTHER = 1, 0x1A, 0
NAMES = {"a": "hup-a", "b": "Hup B"}


class Firmware:
    """A boot manager with an entry for each slot and one of somebody else."""

    def __init__(self, root: Path, places: Places, order: tuple[int, ...] = (A, OTHER, B)) -> None:
        self.directory = root / "efivars"
        self.directory.mkdir()
        self.places = places
        for number, description in ((A, NAMES["a"]), (B, NAMES["b"]), (OTHER, "Linux")):
            self.make(number, description)
        self.put("BootOrder", struct.pack(f"<{len(order)}H", *order))
        self.put("BootCurrent", struct.pack("<H", A))
        self.bootloader = EfiBoot(root, lambda: self.places, directory="/efivars", names=NAMES)

    def path(self, name: str) -> Path:
        """The file of a variable."""
        return self.directory / f"{name}-{GLOBAL}"

    def put(self, name: str, data: bytes) -> None:
        """Set a variable."""
        self.path(name).write_bytes(b"\7\0\0\0" + data)

    def make(self, number: int, description: str, attributes: int = 1) -> None:
        """Make an entry."""
        text = f"{description}\0".encode("utf-16-le")
        self.put(f"Boot{number:04X}", struct.pack("<IH", attributes, 4) + text + b"\x7f\xff\x04\x00")

    def numbers(self, name: str) -> tuple[int, ...]:
        """The numbers in a variable."""
        data = self.path(name).read_bytes()[4:] if self.path(name).exists() else b""
        return struct.unpack(f"<{len(data) // 2}H", data)

    @property
    def order(self) -> tuple[int, ...]:
        """BootOrder."""
        return self.numbers("BootOrder")

    def boot(self) -> str:
        """What the firmware does: BootNext is deleted and tried first, then comes BootOrder. The slot that runs."""
        number = (*self.numbers("BootNext"), *self.order)[0]
        self.path("BootNext").unlink(missing_ok=True)
        self.put("BootCurrent", struct.pack("<H", number))
        self.places = Places({A: "a", B: "b"}[number], self.places.places)
        return self.places.running

    def printed(self) -> dict[str, str]:
        """What efibootmgr prints: "BootOrder" and, if it is there, "BootNext"."""
        environment = {**os.environ, "EFIVARFS_PATH": f"{self.directory}/"}
        done = subprocess.run(["efibootmgr"], env=environment, capture_output=True, text=True, check=True)
        return dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)


@pytest.fixture
def firmware(tmp_path: Path, places: Places) -> Firmware:
    """It has booted slot a."""
    return Firmware(tmp_path, places)


def test_a_trial_is_one_write_of_bootnext(firmware: Firmware) -> None:
    """The order stays byte for byte; the firmware tries the slot once, and goes back."""
    before = firmware.path("BootOrder").read_bytes()
    firmware.bootloader.switch("b")

    assert firmware.bootloader.state() == BootState("a", "b", 1, None)
    assert firmware.numbers("BootNext") == (B,)
    assert firmware.path("BootOrder").read_bytes() == before
    assert firmware.boot() == firmware.bootloader.current() == "b"
    assert firmware.bootloader.state() == BootState("a", "b", 0, None)
    assert firmware.boot() == "a"
    assert firmware.bootloader.state() == BootState("a", None, 0, None)


def test_confirm_puts_the_slot_in_front(firmware: Firmware) -> None:
    """The other entry keeps its place; a second confirm has nothing to do."""
    firmware.bootloader.switch("b")
    firmware.boot()
    firmware.bootloader.confirm()

    assert firmware.order == (B, OTHER, A)
    assert firmware.bootloader.state() == BootState("b", None, 0, None)
    assert firmware.boot() == "b"
    with pytest.raises(HupfastError, match=r"no trial in .*efivars that could be confirmed"):
        firmware.bootloader.confirm()


def test_a_trial_is_called_off_before_the_reboot(firmware: Firmware) -> None:
    """BootNext is deleted."""
    firmware.bootloader.switch("b")
    firmware.bootloader.switch("a", trial=False)

    assert firmware.bootloader.state() == BootState("a", None, 0, None)
    assert not firmware.path("BootNext").exists()
    assert firmware.boot() == "a"


def test_a_trial_that_was_left_is_over_at_once(firmware: Firmware) -> None:
    """Or a shutdown that keeps a running trial would boot the new system again."""
    firmware.bootloader.switch("b")
    firmware.boot()
    firmware.bootloader.switch("a", trial=False)

    assert firmware.bootloader.state() == BootState("a", None, 0, None)
    assert firmware.order == (A, OTHER, B)
    assert firmware.boot() == "a"
    assert firmware.bootloader.state() == BootState("a", None, 0, None)


def test_a_running_trial_gets_its_try_again(firmware: Firmware) -> None:
    """As at a clean shutdown."""
    firmware.bootloader.switch("b")
    firmware.boot()
    firmware.bootloader.switch("b")

    assert firmware.bootloader.state() == BootState("a", "b", 1, None)
    assert firmware.boot() == "b"
    assert firmware.boot() == "a"


def test_a_trial_of_the_default_makes_the_other_slot_the_default(firmware: Firmware) -> None:
    """It is what the trial falls back to."""
    firmware.bootloader.switch("b", trial=False)
    assert firmware.order == (B, OTHER, A)
    firmware.bootloader.switch("b")

    assert firmware.order == (A, OTHER, B)
    assert firmware.bootloader.state() == BootState("a", "b", 1, None)


def test_a_fallback_comes_out_of_the_journal(firmware: Firmware) -> None:
    """The variables do not tell it, but the journal knows of the switch and of the reboot."""
    state = State(transaction=Transaction("os", "2", "11", "b", "a", "switched", "one", ""))
    kinds = []
    firmware.bootloader.switch("b")
    for boot_id in ("one", "two", "three"):
        kinds.append(judge(state, firmware.bootloader.state(), firmware.bootloader.current(), boot_id).kind)
        firmware.boot()

    assert kinds == ["pending", "trial", "fell back"]


def test_bootnext_of_somebody_else_is_no_trial(firmware: Firmware) -> None:
    """What it boots is none of the slots."""
    firmware.put("BootNext", struct.pack("<H", OTHER))
    assert firmware.bootloader.state() == BootState("a", None, 0, None)
    firmware.places = Places("b", firmware.places.places)
    firmware.put("BootCurrent", struct.pack("<H", OTHER))
    assert firmware.bootloader.state() == BootState("a", "b", 0, None)


def test_an_entry_outside_of_the_order_is_tried_and_confirmed(tmp_path: Path, places: Places) -> None:
    """`efibootmgr --create-only` leaves it out."""
    firmware = Firmware(tmp_path, places, (OTHER, A))
    firmware.bootloader.switch("b")
    assert firmware.order == (OTHER, A)
    firmware.boot()
    firmware.bootloader.confirm()
    assert firmware.numbers("BootOrder") == (OTHER, B, A)


@pytest.mark.skipif(not shutil.which("efibootmgr"), reason="efibootmgr is not installed")
def test_efibootmgr_reads_the_same(firmware: Firmware) -> None:
    """Before, with a trial, after it was confirmed, and after the way back."""
    assert (firmware.printed()["BootOrder"], firmware.printed().get("BootNext")) == ("0001,0000,001A", None)
    firmware.bootloader.switch("b")
    assert (firmware.printed()["BootOrder"], firmware.printed()["BootNext"]) == ("0001,0000,001A", "001A")
    firmware.boot()
    firmware.bootloader.confirm()
    assert (firmware.printed()["BootOrder"], firmware.printed().get("BootNext")) == ("001A,0000,0001", None)
    firmware.bootloader.switch("a", trial=False)
    assert (firmware.printed()["BootOrder"], firmware.printed()["BootNext"]) == ("0001,0000,001A", "0001")


@pytest.mark.parametrize("slot", ["a", "b"])
@pytest.mark.parametrize("trial", [True, False])
@pytest.mark.parametrize("order", [(A, OTHER, B), (B, OTHER, A)])
@pytest.mark.parametrize("following", [None, A, B])
def test_a_power_cut_between_two_writes_boots_the_old_or_the_new(
    firmware: Firmware,
    monkeypatch: pytest.MonkeyPatch,
    slot: str,
    trial: bool,
    order: tuple[int, ...],
    following: int | None,
) -> None:
    """Behind the first variable that is written, the next boot takes what it took before, or what was asked for."""
    firmware.put("BootOrder", struct.pack("<3H", *order))
    if following is not None:
        firmware.put("BootNext", struct.pack("<H", following))
    before = firmware.bootloader.state().next
    real = EfiVariables.write

    def cut(variables: EfiVariables, name: str, data: bytes) -> None:
        real(variables, name, data)
        raise KeyboardInterrupt

    monkeypatch.setattr(EfiVariables, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        firmware.bootloader.switch(slot, trial)

    assert firmware.bootloader.state().next in (before, slot)
    assert firmware.boot() in (before, slot)


@pytest.mark.parametrize("slot", ["a", "b"])
@pytest.mark.parametrize("trial", [True, False])
@pytest.mark.parametrize("running", ["a", "b"])
def test_a_switch_is_what_the_state_tells(firmware: Firmware, slot: str, trial: bool, running: str) -> None:
    """From wherever it starts."""
    firmware.places = Places(running, firmware.places.places)
    firmware.path("BootCurrent").unlink()
    firmware.bootloader.switch(slot, trial)
    other = firmware.places.other(slot)
    expected = BootState(other, slot, 1, None) if trial else BootState(slot, None, 0, None)
    assert firmware.bootloader.state() == expected


@given(st.permutations([A, B, OTHER, *range(100, 105)]), st.lists(st.tuples(st.sampled_from("ab"), st.booleans())))
def test_entries_of_others_never_move(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], steps: list[tuple[str, bool]]
) -> None:
    """Through any switches and boots, confirmed or not."""
    places = Places("a", {"a": Place("a", "/dev/x2", 2), "b": Place("b", "/dev/x3", 3)})
    firmware = Firmware(tmp_path_factory.mktemp("efi"), places, tuple(order))
    for slot, confirmed in steps:
        firmware.bootloader.switch(slot)
        assert firmware.boot() == slot
        if confirmed:
            firmware.bootloader.confirm()
        assert all(new == old for new, old in zip(firmware.order, order, strict=True) if old not in (A, B))


def test_what_is_missing_is_told_with_the_way_to_make_it(firmware: Firmware) -> None:
    """The entry, BootOrder, an entry in it; nothing is written."""
    firmware.put("BootOrder", struct.pack("<H", OTHER))
    with pytest.raises(HupfastError, match=r"no slot's entry is in .*BootOrder-\S+, .*: efibootmgr -o 0001,0000"):
        firmware.bootloader.switch("b")
    firmware.path("BootOrder").unlink()
    with pytest.raises(HupfastError, match=r"no EFI variable .*BootOrder-\S+, so .*: efibootmgr -o 0001"):
        firmware.bootloader.switch("b")
    firmware.path(f"Boot{B:04X}").unlink()
    with pytest.raises(HupfastError, match=r"no EFI boot entry 'Hup B' for slot b in .*--label 'Hup B'"):
        firmware.bootloader.switch("b")
    with pytest.raises(HupfastError, match="no slot 'c'"):
        firmware.bootloader.switch("c")
    assert not firmware.path("BootNext").exists()


def test_a_board_without_uefi_is_told(firmware: Firmware) -> None:
    """An empty directory is what a board has where efivarfs is not mounted."""
    for path in firmware.directory.iterdir():
        path.unlink()
    with pytest.raises(HupfastError, match=r"no EFI boot entries in .*mount -t efivarfs"):
        firmware.bootloader.state()
    firmware.directory.rmdir()
    with pytest.raises(HupfastError, match="booted by UEFI firmware"):
        firmware.bootloader.state()


def test_two_entries_with_one_description_are_an_error(firmware: Firmware) -> None:
    """Both are named."""
    firmware.make(0x2B, "Hup B")
    with pytest.raises(HupfastError, match=r"2 EFI boot entries .*\(Boot001A, Boot002B\).*efibootmgr -B -b"):
        firmware.bootloader.switch("b")


def test_an_entry_that_is_not_active_is_an_error(firmware: Firmware) -> None:
    """The firmware would leave it out, and boot another one."""
    firmware.make(B, "Hup B", attributes=0)
    with pytest.raises(HupfastError, match=r"Boot001A .*not active.*efibootmgr -a -b 001A"):
        firmware.bootloader.switch("b")


def test_entries_that_boot_the_other_ones_slot_are_an_error(firmware: Firmware) -> None:
    """With the descriptions mixed up in the profile, a trial would be the default."""
    firmware.put("BootCurrent", struct.pack("<H", B))
    with pytest.raises(HupfastError, match="booted the entry 'Hup B' of slot b, and slot a runs"):
        firmware.bootloader.switch("b")


def test_a_profile_names_the_entries(tmp_path: Path, bootloader_table: Callable[[str], Table]) -> None:
    """The directory is that of efivarfs, below the system root."""
    slots = (Slot("a", "", 2, "", ""), Slot("b", "", 3, "", ""))
    table = bootloader_table('[bootloader.entries]\na = "hup-a"\nb = "Hup B"\n')
    bootloader = factory(table, slots)(tmp_path)
    table.finish()
    with pytest.raises(HupfastError, match=rf"in {tmp_path}/sys/firmware/efi/efivars, so"):
        bootloader.state()
    with pytest.raises(Refused, match=r"bootloader.entries: both slots have the same entry"):
        factory(bootloader_table('[bootloader.entries]\na = "x"\nb = "x"\n'), slots)
    with pytest.raises(Refused, match=r"bootloader.entries.b: this key is missing"):
        factory(bootloader_table('[bootloader.entries]\na = "x"\n'), slots)
