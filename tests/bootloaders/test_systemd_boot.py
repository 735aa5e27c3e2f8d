"""systemd-boot's entries: the one that bootctl puts first is the one that we say boots."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hupfast.bootloaders import BootState
from hupfast.bootloaders import systemd_boot as module
from hupfast.bootloaders.systemd_boot import SystemdBoot
from hupfast.errors import HupfastError
from hupfast.slots import Places

OTHER = "title rescue\nsort-key zzz\nversion 999\nlinux /rescue\n"


class Esp:
    """An EFI system partition with an entry for each slot and one of somebody else."""

    def __init__(self, root: Path, places: Places) -> None:
        self.root = root
        self.entries = root / "loader/entries"
        self.entries.mkdir(parents=True)
        for slot, version in (("a", "6.1.0"), ("b", "5")):
            (root / slot).mkdir()
            (root / slot / "linux").touch()
            text = f"title hup {slot}\n# mine\nversion {version}\nsort-key hup\nlinux /{slot}/linux\n"
            (self.entries / f"hup-{slot}.conf").write_text(text)
        (root / "rescue").touch()
        (self.entries / "rescue.conf").write_text(OTHER)
        names = {"a": "hup-a", "b": "hup-b"}
        self.bootloader = SystemdBoot(root, lambda: places, directory="/loader/entries", tries=3, names=names)

    @property
    def names(self) -> list[str]:
        """The files."""
        return sorted(path.name for path in self.entries.iterdir())

    def first(self) -> str:
        """What bootctl puts first: "a" or "b"."""
        environment = {**os.environ, "SYSTEMD_RELAX_ESP_CHECKS": "1"}
        command = ["bootctl", "list", f"--esp-path={self.root}", "--json=short"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        first, _ = json.JSONDecoder().raw_decode(done.stdout.lstrip("["))
        return str(first["id"]).removeprefix("hup-").removesuffix(".conf")

    def boots(self, times: int) -> None:
        """What the loader does before a boot: it counts in the name of the entry that it takes."""
        for _ in range(times):
            for path in self.entries.glob(f"hup-{self.first()}+*.conf"):
                left, done = map(int, re.findall(r"\d+", path.name))
                path.rename(path.with_name(re.sub(r"\+.*", f"+{left - 1}-{done + 1}.conf", path.name)))


@pytest.fixture
def esp(tmp_path: Path, places: Places) -> Iterator[Esp]:
    """A filesystem of its own, since bootctl wants one."""
    if os.geteuid() != 0 or not shutil.which("bootctl"):
        pytest.skip("needs root (mount) and bootctl of the package systemd-boot")
    (tmp_path / "esp").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "esp"], check=True)
    try:
        yield Esp(tmp_path / "esp", places)
    finally:
        subprocess.run(["umount", tmp_path / "esp"], check=True)


def test_a_switch_puts_a_counted_entry_in_front(esp: Esp) -> None:
    """A new version and a counter; the rest of the entry and the entries of others stay."""
    assert esp.first() == esp.bootloader.state().next == "a"
    esp.bootloader.switch("b")

    assert esp.first() == esp.bootloader.state().next == "b"
    assert esp.bootloader.state() == BootState("a", "b", 3, None)
    assert esp.names == ["hup-a.conf", "hup-b+3-0.conf", "rescue.conf"]
    text = (esp.entries / "hup-b+3-0.conf").read_text()
    assert text == "title hup b\n# mine\nversion 7\nsort-key hup\nlinux /b/linux\n"
    assert (esp.entries / "rescue.conf").read_text() == OTHER


def test_a_used_up_trial_falls_back_by_itself(esp: Esp) -> None:
    """Three boots of the new system, then the old one; the state tells which slot failed."""
    esp.bootloader.switch("b")
    for left in (2, 1):
        esp.boots(1)
        assert esp.first() == "b"
        assert esp.bootloader.state() == BootState("a", "b", left, None)
    esp.boots(1)

    assert esp.first() == "a"
    assert esp.bootloader.state() == BootState("a", None, 0, "b")


def test_the_last_try_can_still_be_confirmed(esp: Esp, places: Places) -> None:
    """While the new system runs with no tries left, the trial is on."""
    esp.bootloader.switch("b")
    esp.boots(3)
    running_b = Places("b", places.places)
    bootloader = SystemdBoot(
        esp.root, lambda: running_b, directory="/loader/entries", tries=3, names={"a": "hup-a", "b": "hup-b"}
    )
    assert bootloader.state() == BootState("a", "b", 0, None)
    bootloader.confirm()

    assert esp.names == ["hup-a.conf", "hup-b.conf", "rescue.conf"]
    assert esp.first() == "b"


def test_switching_there_and_back_many_times(esp: Esp) -> None:
    """Versions go up; bootctl and we agree each time."""
    for slot in "babaab":
        esp.bootloader.switch(slot)
        assert esp.first() == esp.bootloader.state().next == slot
        esp.bootloader.confirm()
        assert esp.first() == esp.bootloader.state().default == slot
    esp.bootloader.switch("a", trial=False)
    assert esp.first() == "a"
    with pytest.raises(HupfastError, match="no trial"):
        esp.bootloader.confirm()


def test_a_failed_trial_is_switched_again(esp: Esp) -> None:
    """The entry with no tries left is replaced, and leaves no second file."""
    esp.bootloader.switch("b")
    esp.boots(3)
    esp.bootloader.switch("b")

    assert esp.names == ["hup-a.conf", "hup-b+3-0.conf", "rescue.conf"]
    assert esp.bootloader.state() == BootState("a", "b", 3, None)
    assert esp.first() == "b"


@pytest.mark.parametrize("moment", ["before", "behind"])
def test_a_cut_around_the_rename_leaves_one_clear_answer(
    esp: Esp, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before it the old slot, behind it (with the stale file still there) the new one."""
    real = module.replace_file

    def cut(path: Path, data: bytes) -> None:
        if moment == "behind":
            real(path, data)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "replace_file", cut)
    with pytest.raises(KeyboardInterrupt):
        esp.bootloader.switch("b")

    assert esp.first() == esp.bootloader.state().next == ("a" if moment == "before" else "b")


def test_a_missing_entry_is_an_error(esp: Esp) -> None:
    """A switch that finds nothing to replace is never a success."""
    (esp.entries / "hup-b.conf").unlink()
    with pytest.raises(HupfastError, match=r"no entry hup-b.conf for slot b"):
        esp.bootloader.switch("b")
    with pytest.raises(HupfastError, match="no slot 'c'"):
        esp.bootloader.switch("c")


@pytest.mark.parametrize(
    ("path", "old", "new", "reason"),
    [
        ("loader/entries/hup-b.conf", "sort-key hup", "sort-key other", "not the same sort-key"),
        ("loader/entries/hup-b.conf", "sort-key hup\n", "", "not the same sort-key"),
        ("loader/entries/hup-b.conf", "title", "machine-id 1\ntitle", "not the same sort-key"),
        ("loader/loader.conf", "", "default hup-a*\n", "sets a default"),
    ],
)
def test_what_makes_the_versions_not_decide_is_refused(esp: Esp, path: str, old: str, new: str, reason: str) -> None:
    """Before anything is written."""
    file = esp.root / path
    before = file.read_text() if file.exists() else ""
    file.write_text(before.replace(old, new, 1) if before else new)
    names = esp.names
    with pytest.raises(HupfastError, match=reason):
        esp.bootloader.switch("b")
    assert esp.names == names


def test_an_empty_entry_is_passed_over_and_removed(tmp_path: Path, places: Places) -> None:
    """A cut can leave one under a new name; the next switch of either kind works, and cleans up."""
    for number, (slot, trial) in enumerate((("b", True), ("a", False))):
        esp = Esp(tmp_path / f"{number}", places)
        (esp.entries / "hup-b.conf").rename(esp.entries / "hup-b+0-3.conf")
        (esp.entries / "hup-b+3-0.conf").touch()
        (esp.entries / "hup-a+2-1.conf").touch()
        assert esp.bootloader.state().next == "a"
        esp.bootloader.switch(slot, trial)
        assert esp.bootloader.state().next == slot
        assert not (esp.entries / f"hup-{slot}+2-1.conf").exists()
        esp.bootloader.switch("b")
        esp.bootloader.confirm()
        esp.bootloader.switch("a", trial=False)
        assert esp.names == ["hup-a.conf", "hup-b.conf", "rescue.conf"]


def test_a_version_that_is_no_number_of_a_version_is_an_error(tmp_path: Path, places: Places) -> None:
    """Thousands of digits."""
    esp = Esp(tmp_path, places)
    (esp.entries / "hup-b.conf").write_text(f"title b\nversion {'9' * 5000}\nsort-key hup\n")
    with pytest.raises(HupfastError, match="18 digits"):
        esp.bootloader.state()
