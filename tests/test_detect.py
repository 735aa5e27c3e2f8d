"""Which board this is: each kind of sign, layouts before machines, and ties that are refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.detect import Deny, Facts, Signs, best_match, read_facts
from hupfast.errors import Refused


def put(root: Path, path: str, data: bytes) -> None:
    """One file of the running system."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    """A Raspberry Pi 4 with balenaOS."""
    put(tmp_path, "proc/device-tree/compatible", b"raspberrypi,4-model-b\0brcm,bcm2711\0")
    put(tmp_path, "proc/device-tree/model", b"Raspberry Pi 4 Model B Rev 1.4\0")
    put(tmp_path, "mnt/boot/config.json", json.dumps({"deviceType": "raspberrypi4-64"}).encode())
    put(tmp_path, "etc/os-release", b'ID="balena-os"\nVERSION="2.83.10+rev1"\n')
    return tmp_path


def test_facts_are_read_as_the_kernel_writes_them(pi: Path) -> None:
    """Zero-ended texts of the device tree, JSON of config.json, lines of os-release."""
    facts = read_facts(pi)

    assert facts.device_tree == ("raspberrypi,4-model-b", "brcm,bcm2711")
    assert facts.model == "Raspberry Pi 4 Model B Rev 1.4"
    assert facts.device_type == "raspberrypi4-64"
    assert "ID=balena-os" in facts.os_release


def test_a_pc_has_its_model_from_dmi(tmp_path: Path) -> None:
    """The product's name goes before that of the main board."""
    put(tmp_path, "sys/class/dmi/id/product_name", b"NUC7i3BNH\n")
    put(tmp_path, "sys/class/dmi/id/board_name", b"NUC7i3BNB\n")

    assert read_facts(tmp_path).model == "NUC7i3BNH"
    assert read_facts(tmp_path).dmi == ("NUC7i3BNH", "NUC7i3BNB")


@pytest.mark.parametrize(
    "signs",
    [
        Signs(("raspberrypi,4-*",), (), (), ()),
        Signs((), (), ("raspberrypi4-64",), ()),
        Signs(("other", "brcm,bcm2711"), ("NUC*",), (), ()),
    ],
)
def test_one_sign_of_the_machine_is_enough(pi: Path, signs: Signs) -> None:
    """Device tree, DMI or deviceType."""
    assert best_match({"pi": signs}, read_facts(pi)) == "pi"


def test_the_layout_goes_before_the_machine(pi: Path) -> None:
    """Of two profiles for one machine, the one for the system that runs is taken."""
    machine = ("raspberrypi,4-model-b",)
    signs = {"plain": Signs(machine, (), (), ()), "balena": Signs(machine, (), (), ("ID=balena-os",))}

    assert best_match(signs, read_facts(pi)) == "balena"
    (pi / "etc/os-release").write_text("ID=debian\n")
    assert best_match(signs, read_facts(pi)) == "plain"


def test_a_tie_is_refused(pi: Path) -> None:
    """hupfast does not choose for the user."""
    signs = Signs(("raspberrypi,4-model-b",), (), (), ())
    with pytest.raises(Refused, match=r"several profiles \(one, two\).*--board"):
        best_match({"one": signs, "two": signs}, read_facts(pi))


def test_nothing_fits_nothing(tmp_path: Path) -> None:
    """An empty system, and a profile without signs."""
    assert best_match({"virtual": Signs((), (), (), ())}, read_facts(tmp_path)) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"deviceType": 4}', b"[" * 100_000, b"\xff"])
def test_a_damaged_config_json_tells_nothing(tmp_path: Path, data: bytes) -> None:
    """It must not stop the detection by other signs."""
    put(tmp_path, "mnt/boot/config.json", data)
    assert read_facts(tmp_path).device_type == ""


def test_deny_rules_are_patterns() -> None:
    """Model and version must both fit."""
    rule = Deny("Raspberry Pi 4 Model B Rev 1.4", "2.83.10*", "its EEPROM")

    assert rule.forbids("Raspberry Pi 4 Model B Rev 1.4", "2.83.10+rev1")
    assert not rule.forbids("Raspberry Pi 4 Model B Rev 1.4", "2.83.11")
    assert not rule.forbids("Raspberry Pi 4 Model B Rev 1.1", "2.83.10+rev1")


@given(st.lists(st.text(max_size=5), max_size=4), st.text(max_size=5))
def test_an_empty_fact_never_fits_an_exact_sign(tree: list[str], kind: str) -> None:
    """A system that tells nothing is no board."""
    signs = Signs(tuple(f"x{word}" for word in tree), (), (f"x{kind}",), ())
    assert signs.fit(Facts((), "", (), "", ())) == 0
