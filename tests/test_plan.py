"""What the plan computes without a board; its refusals are tested in update/test_transaction.py."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.engine import PROBE_SIZE, probe
from hupfast.errors import DataError
from hupfast.image import pack
from hupfast.manifest import ImageMember
from hupfast.plan import memory_needed


def member(size: int, image_size: int, chunk_size: int) -> ImageMember:
    """What a manifest says of an image."""
    return ImageMember("rootfs.img.zst", size, image_size, chunk_size, bytes(32))


@pytest.mark.parametrize("chunk_size", [1 << 16, 1 << 20])
def test_the_budget_is_known_from_the_manifest_alone(tmp_path: Path, chunk_size: int) -> None:
    """It is what the engine says of the real image's first bytes."""
    (tmp_path / "x.img").write_bytes(os.urandom(3_000_000))
    pack(tmp_path / "x.img", tmp_path / "x.zst", level=1, chunk_size=chunk_size)
    real = probe((tmp_path / "x.zst").read_bytes()[:PROBE_SIZE])

    assert memory_needed(member((tmp_path / "x.zst").stat().st_size, 3_000_000, chunk_size)) == real.memory


@given(st.integers(1, 2**61), st.integers(1, 2**61), st.integers(16, 26))
def test_absurd_numbers_are_data_errors(size: int, image_size: int, shift: int) -> None:
    """Whatever a manifest claims, a budget or DataError comes out."""
    try:
        needed = memory_needed(member(size, image_size, 1 << shift))
    except DataError:
        return
    assert needed >= 1 << shift
