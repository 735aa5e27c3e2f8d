"""Two slots of one card, of which a runs, for all bootloaders."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hupfast.profile import Table, load_profile
from hupfast.slots import Place, Places


@pytest.fixture
def places() -> Places:
    """Partition 2 and partition 10, so that decimal and hex differ."""
    first = Place("a", "/dev/mmcblk0p2", 2, "1234abcd-02", "resin-rootA")
    return Places("a", {"a": first, "b": Place("b", "/dev/mmcblk0p10", 10, "1234abcd-0a", "resin-rootB")})


@pytest.fixture
def bootloader_table(tmp_path: Path) -> Callable[[str], Table]:
    """What reads the [bootloader] of a profile with these lines."""

    def read(lines: str) -> Table:
        (tmp_path / "board.toml").write_text(f"[bootloader]\n{lines}")
        return load_profile(tmp_path / "board.toml").table("bootloader")

    return read
