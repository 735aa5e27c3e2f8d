"""What a board asks of a bundle beside a signature: not expired, not too old."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.errors import DataError, Refused
from hupfast.manifest import ImageMember, Manifest
from hupfast.policy import CLOCK_LEAST, Policy, check_policy, read_policy, seconds_of
from hupfast.profile import load_profile

EXPIRES = "2027-01-31T12:00:00Z"
END = 1801396800
FOREVER = Manifest("os", "2.0", ("x",), (), ImageMember("rootfs.img.zst", 1, 1, 1 << 16, bytes(32)))
LIMITED = replace(FOREVER, expires=EXPIRES)


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)))
def test_times(time: datetime) -> None:
    """Every second of the calendar, as the standard library counts it."""
    time = time.replace(microsecond=0, tzinfo=UTC)
    assert seconds_of(time.isoformat().replace("+00:00", "Z")) == time.timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2027-01-31",
        "2027-01-31T12:00:00",
        "2027-01-31T12:00:00+00:00",
        "2027-01-31T12:00:00.0Z",
        "2027-01-31 12:00:00Z",
        "2027-01-31t12:00:00z",
        "2027-1-31T12:00:00Z",
        "2027-02-29T12:00:00Z",
        "2027-01-31T24:00:00Z",
        "2027-01-31T12:00:60Z",
        "0000-01-31T12:00:00Z",
        "10000-01-31T12:00:00Z",
        "2027-01-31T12:00:00Z\n",
        "\uff12027-01-31T12:00:00Z",
    ],
)
def test_other_forms_of_a_time(text: str) -> None:
    """Each is refused: one moment has one spelling."""
    with pytest.raises(DataError, match="no time in UTC"):
        seconds_of(text)


def test_the_moment_of_expiry() -> None:
    """The last second before it is the last; a board that does not ask takes it for ever."""
    assert datetime.fromtimestamp(END, UTC).isoformat() == "2027-01-31T12:00:00+00:00"
    for expiry in ("check", "require"):
        check_policy(Policy(expiry), LIMITED, END - 0.001)
        with pytest.raises(Refused, match=f"expired at {EXPIRES}"):
            check_policy(Policy(expiry), LIMITED, END)
    check_policy(Policy("ignore"), LIMITED, END)


def test_a_bundle_that_never_expires() -> None:
    """Only "require" refuses it, and for that no clock is needed."""
    for now in (0, END):
        check_policy(Policy("ignore"), FOREVER, now)
        check_policy(Policy("check"), FOREVER, now)
        with pytest.raises(Refused, match="never expires"):
            check_policy(Policy("require"), FOREVER, now)


@pytest.mark.parametrize("expiry", ["check", "require"])
def test_a_clock_that_is_not_set(expiry: str) -> None:
    """Before 2024 it cannot tell: refused with that reason."""
    assert datetime.fromtimestamp(CLOCK_LEAST, UTC).isoformat() == "2024-01-01T00:00:00+00:00"
    for now in (-1, 0, CLOCK_LEAST - 1):
        with pytest.raises(Refused, match="clock of this board is not set"):
            check_policy(Policy(expiry), LIMITED, now)
    check_policy(Policy(expiry), LIMITED, CLOCK_LEAST)


def test_the_least_version() -> None:
    """Compared as versions are."""
    for least in ("2.0", "1.99", "2.0-rc1", ""):
        check_policy(Policy(minimum_version=least), FOREVER, 0)
    for least in ("2.0.1", "10", "2.0+rev1"):
        with pytest.raises(Refused, match="older than"):
            check_policy(Policy(minimum_version=least), FOREVER, 0)


def test_the_table_of_a_profile(tmp_path: Path) -> None:
    """All keys are optional; a wrong one has its line."""
    path = tmp_path / "p.toml"

    def read(text: str) -> Policy:
        path.write_text("[trust]\n" + text)
        return read_policy(load_profile(path).table("trust"))

    assert read("") == Policy("ignore", "")
    assert read('expiry = "require"\nminimum_version = "2.0"') == Policy("require", "2.0")
    for wrong in ('expiry = "yes"', "expiry = true", "minimum_version = 2.0", 'minimum_version = "2 0"', "key = 1"):
        with pytest.raises(Refused, match=r"p\.toml, line 2"):
            read(wrong)
