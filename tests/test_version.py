"""The order of versions."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.version import version_key

ORDERED = ["0.9", "1.0-alpha", "1.0-rc1", "1.0-rc2", "1.0-rc10", "1.0", "1.0+rev1", "1.0+rev10", "1.0.1"]
ORDERED += ["1.9", "1.10", "2.0a", "2.0.0", "2024.01", "2024.10.1", "2025.2"]


@pytest.mark.parametrize(("older", "newer"), list(itertools.pairwise(ORDERED)))
def test_newer_is_greater(older: str, newer: str) -> None:
    """Each version of the list is older than the next one."""
    assert version_key(older) < version_key(newer)


@pytest.mark.parametrize(("left", "right"), [("v1.2", "1.2"), ("1.02", "1.2"), ("1_2", "1.2"), ("1.0-RC1", "1.0-rc1")])
def test_spellings_of_one_version(left: str, right: str) -> None:
    """Leading zeros, "v", case and kind of separator do not count."""
    assert version_key(left) == version_key(right)


@given(st.text(max_size=12), st.text(max_size=12))
def test_every_text_has_a_place(left: str, right: str) -> None:
    """Of any two texts one is older, or they are the same version, whichever is asked first."""
    one, other = version_key(left), version_key(right)

    assert [one < other, one == other, one > other].count(True) == 1
    assert (one < other) == (other > one)
