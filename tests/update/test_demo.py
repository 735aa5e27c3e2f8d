"""The demo shows what it claims, or fails; and it leaves nothing behind."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hupfast.demo import Demo, Talk, demo_folder
from hupfast.errors import HupfastError, Refused, UsageError
from hupfast.fetch import fetch_image
from hupfast.filesystem import missing_tools

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason="e2fsprogs is not installed")

SIZE = 32 << 20


@contextmanager
def no_bar() -> Iterator[None]:
    """Progress is shown elsewhere."""
    yield None


def quiet(lines: list[str]) -> Talk:
    """Collect what is told."""
    return Talk(say=lines.append, command=lines.append, told=lines.append, bar=no_bar)


def test_the_whole_demo(tmp_path: Path) -> None:
    """All claims hold, and every command of it is one that exists."""
    from hupfast.cli import main

    lines: list[str] = []
    demo = Demo(tmp_path, SIZE, quiet(lines))
    demo.run()

    assert len(demo.checks) == 18
    commands = {line.split()[1] for line in lines if line.startswith("hupfast ")}
    assert commands == {"keygen", "bundle", "update", "status", "confirm"}
    for command in commands:
        assert main.get_command(None, command) is not None  # type: ignore[arg-type]  # no context is needed


def test_a_wrong_slot_fails_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the slot does not hold the image, it says so and ends in 1."""

    def damages(source: Any, image: Any, target: Path, **options: Any) -> object:
        report = fetch_image(source, image, target, **options)
        with open(target, "r+b") as file:
            file.seek(1 << 20)
            byte = file.read(1)
            file.seek(1 << 20)
            file.write(bytes([byte[0] ^ 1]))
        return report

    monkeypatch.setattr("hupfast.install.fetch_image", damages)
    with pytest.raises(HupfastError, match="does not hold that slot b equals the image"):
        Demo(tmp_path, SIZE, quiet([])).run()


def test_what_the_machine_lacks_is_told_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room and tools are checked before anything is made."""
    with pytest.raises(Refused, match="smaller --size"):
        Demo(tmp_path, 1 << 60, quiet([])).run()
    monkeypatch.setattr("hupfast.filesystem.missing_tools", lambda: ["mkfs.ext4"])
    with pytest.raises(Refused, match="install e2fsprogs"):
        Demo(tmp_path, SIZE, quiet([])).run()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_the_folder_is_as_before(tmp_path: Path, keep: bool, exists: bool) -> None:
    """What was made is removed, unless it is to be kept; a folder that was there stays."""
    folder = tmp_path / "demo"
    if exists:
        folder.mkdir()

    def interrupted() -> None:
        with demo_folder(folder, keep=keep) as place:
            (place / "sub").mkdir()
            (place / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert folder.exists() == (keep or exists)
    assert not keep or (folder / "file").exists()
    assert keep or not exists or os.listdir(folder) == []


def test_a_folder_with_something_in_it_is_not_used(tmp_path: Path) -> None:
    """Nothing of the user's is removed afterwards."""
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="not an empty folder"), demo_folder(tmp_path, keep=False):
        pass
    with pytest.raises(UsageError, match="not an empty folder"), demo_folder(tmp_path / "mine", keep=False):
        pass
    with pytest.raises(UsageError, match="cannot be made"), demo_folder(tmp_path / "mine/x", keep=False):
        pass
    assert os.listdir(tmp_path) == ["mine"]


def test_the_usual_folder_goes_away(tmp_path: Path) -> None:
    """Without --dir it is a new one in a place for large files."""
    with demo_folder(None, keep=False) as place:
        assert place.name.startswith("hupfast-demo-")
        shutil.copytree(tmp_path, place / "x")
    assert not place.exists()
