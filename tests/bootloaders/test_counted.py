"""U-Boot's environment, GRUB's block and balena's bootenv: what their real tools read and write is what we mean."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hupfast.bootloaders import BootState
from hupfast.bootloaders.counted import Counted, Names
from hupfast.bootloaders.grub import Grub
from hupfast.bootloaders.uboot import UBoot
from hupfast.errors import HupfastError
from hupfast.slots import Places
from hupfast.uboot_env import serialize

NAMES = {"slot": "part", "available": "upgrade_available", "count": "bootcount"}
NEEDED = ("fw_printenv", "fw_setenv", "grub-editenv")

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, NEEDED)), reason=f"{', '.join(NEEDED)} of libubootenv-tool and grub-common not installed"
)


class Case:
    """A bootloader, and its real tool."""

    def __init__(self, bootloader: Counted, tool: list[str], slots: tuple[str, str]) -> None:
        self.bootloader, self.tool, self.slots = bootloader, tool, slots

    def set(self, **variables: str) -> None:
        """By the tool."""
        for name, value in variables.items():
            word = [name, value] if "fw_printenv" in self.tool[0] else ["set", f"{name}={value}"]
            command = [*self.tool[:-1], *word]
            command[0] = command[0].replace("printenv", "setenv")
            subprocess.run(command, check=True, capture_output=True)

    def told(self) -> dict[str, str]:
        """What the tool prints."""
        command = self.tool[:-1] if "fw_printenv" in self.tool[0] else self.tool
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.fixture(params=["uboot", "uboot-redundant", "grub", "grub-hex", "bootenv"])
def case(request: pytest.FixtureRequest, tmp_path: Path, places: Places) -> Case:
    """A board that runs slot a for good, and has a variable of its own."""
    spelling = {"bootenv": "letter", "grub-hex": "hex"}.get(request.param, "decimal")
    names = Names(**NAMES, spelling=spelling, limit=3)
    slots = {"letter": ("A", "B"), "hex": ("2", "a"), "decimal": ("2", "10")}[spelling]

    def find() -> Places:
        return places

    made: Counted
    if request.param.startswith("uboot"):
        copies = 2 if "redundant" in request.param else 1
        config = "".join(f"/env{number} 0 0x800\n" for number in range(copies))
        (tmp_path / "fw_env.config").write_text(config)
        (tmp_path / "real.config").write_text(config.replace("/env", f"{tmp_path}/env"))
        for number in range(copies):
            data = serialize({"own": "x", "part": slots[0]}, number if copies == 2 else None, 0x800)
            (tmp_path / f"env{number}").write_bytes(data)
        made = UBoot(tmp_path, find, names, config="/fw_env.config")
        return Case(made, ["fw_printenv", "-c", f"{tmp_path}/real.config", "list"], slots)
    made = Grub(tmp_path, find, names, file="/grubenv")
    case = Case(made, ["grub-editenv", f"{tmp_path}/grubenv", "list"], slots)
    subprocess.run(["grub-editenv", tmp_path / "grubenv", "create"], check=True)
    case.set(own="x", part=slots[0])
    return case


def test_a_switch_only_tries(case: Case) -> None:
    """The tool sees slot, trial and a count of 0, and the board's own variable as before."""
    case.bootloader.switch("b")

    assert case.told() == {"own": "x", "part": case.slots[1], "upgrade_available": "1", "bootcount": "0"}
    assert case.bootloader.state() == BootState("a", "b", 3, None)
    assert case.bootloader.current() == "a"


def test_confirm_makes_the_trial_the_default(case: Case) -> None:
    """Once; a second confirm has nothing to do."""
    case.bootloader.switch("b")
    case.set(bootcount="1")
    case.bootloader.confirm()

    assert case.told() == {"own": "x", "part": case.slots[1], "upgrade_available": "0", "bootcount": "0"}
    assert case.bootloader.state() == BootState("b", None, 0, None)
    with pytest.raises(HupfastError, match="no trial"):
        case.bootloader.confirm()


@pytest.mark.parametrize(
    ("variables", "state"),
    [
        ({}, BootState("a", None, 0, None)),
        ({"upgrade_available": "0", "bootcount": "9"}, BootState("a", None, 0, None)),
        ({"upgrade_available": "1", "bootcount": "0"}, BootState("b", "a", 3, None)),
        ({"upgrade_available": "1", "bootcount": "3"}, BootState("b", "a", 0, None)),
        ({"upgrade_available": "1", "bootcount": "4"}, BootState("b", None, 0, "a")),
        ({"upgrade_available": "1"}, BootState("b", "a", 3, None)),
        ({"upgrade_available": "1", "bootcount": "1", "bootlimit": "1"}, BootState("b", "a", 0, None)),
        ({"upgrade_available": "1", "bootcount": "2", "bootlimit": "1"}, BootState("b", None, 0, "a")),
    ],
)
def test_states_that_the_tool_has_set(case: Case, variables: dict[str, str], state: BootState) -> None:
    """The count of the boots so far, below, at and above the limit, which the board may have of its own."""
    case.set(**variables)
    assert case.bootloader.state() == state


def test_a_failed_trial_is_forgotten_by_the_next_switch(case: Case) -> None:
    """Whichever way it goes."""
    case.bootloader.switch("b")
    case.set(bootcount="4")
    assert case.bootloader.state().failed == "b"
    case.bootloader.switch("a", trial=False)

    assert case.bootloader.state() == BootState("a", None, 0, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"part": "7"}, "part=7, which is neither of the slots"),
        ({"upgrade_available": "1", "bootcount": "many"}, "bootcount=many, which is no number"),
        ({"upgrade_available": "1", "bootcount": "9" * 400}, "bootcount=9{40}, which is no number"),
        ({"upgrade_available": "1", "bootlimit": "0"}, "bootlimit=0, which is no number"),
    ],
)
def test_variables_that_make_no_sense_are_errors(case: Case, change: dict[str, str], reason: str) -> None:
    """They are never taken for a state."""
    case.set(**change)
    with pytest.raises(HupfastError, match=reason):
        case.bootloader.state()


def test_an_unknown_slot_is_never_written(case: Case) -> None:
    """The variables stay as they were."""
    before = case.told()
    with pytest.raises(HupfastError, match="no slot 'c'"):
        case.bootloader.switch("c")
    assert case.told() == before


def test_a_switch_without_the_variable_is_an_error(case: Case, tmp_path: Path, places: Places) -> None:
    """What the bootloader does not read must not be written: nothing would happen, and look like a success."""
    make: Callable[..., Counted] = type(case.bootloader)
    names = Names(**{**NAMES, "slot": "other"}, spelling="decimal", limit=3)
    place = {"config": "/fw_env.config"} if make is UBoot else {"file": "/grubenv"}
    before = case.told()
    with pytest.raises(HupfastError, match="has no variable other"):
        make(tmp_path, lambda: places, names, **place).switch("b")
    assert case.told() == before


def test_a_missing_or_broken_store_is_an_error(case: Case, tmp_path: Path) -> None:
    """With its path."""
    for name in ("grubenv", "env0", "env1"):
        if (tmp_path / name).exists():
            (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(HupfastError, match=str(tmp_path)):
        case.bootloader.switch("b")
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(HupfastError, match="missing"):
        case.bootloader.state()
