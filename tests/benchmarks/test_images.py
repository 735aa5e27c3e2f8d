"""benchmarks/images.py: what must be on a target is known independently of hupfast."""

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.images import bmap_ranges, kept
from benchmarks.machine import run

KIB = 1024


@pytest.mark.skipif(shutil.which("bmaptool") is None, reason="bmaptool is not installed")
def test_ranges_of_a_bmap(tmp_path: Path) -> None:
    """bmaptool's map of a sparse file covers exactly the blocks that were written."""
    image, bmap = tmp_path / "image", tmp_path / "image.bmap"
    with image.open("wb") as file:
        os.pwrite(file.fileno(), b"x" * 4096, 0)
        os.pwrite(file.fileno(), b"x" * 12288, 64 * KIB)
        os.pwrite(file.fileno(), b"x" * 100, 256 * KIB)
        os.fsync(file.fileno())
    run(["bmaptool", "create", "-o", bmap, image])

    assert bmap_ranges(bmap) == ((0, 4096), (64 * KIB, 12288), (256 * KIB, 100))


def test_kept_facts_are_made_once(tmp_path: Path) -> None:
    """The second time the file answers, and the answer is the same."""
    calls: list[int] = []

    def make() -> dict[str, object]:
        calls.append(1)
        return {"size": 7}

    assert kept(tmp_path / "facts", make) == kept(tmp_path / "facts", make) == {"size": 7}
    assert len(calls) == 1
