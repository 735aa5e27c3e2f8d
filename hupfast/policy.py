"""
What a board asks of every bundle, signed or not: its table [trust].

```
[trust]
expiry = "ignore"            "check": an expired bundle is refused; "require": one that never expires too
minimum_version = "2.0"      optional; what is older is refused, whatever the options
```
A signature never gets old by itself, so whoever can choose what a board downloads can hand it an old bundle, with the
holes that it had. `expires` in a manifest, in UTC and to the second (`2027-01-31T12:00:00Z`), ends that at a time that
the builder chooses; minimum_version, and what the journal knows to have run here (gates.py), at a version.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hupfast.errors import DataError, Refused
from hupfast.version import version_key

if TYPE_CHECKING:
    from hupfast.manifest import Manifest
    from hupfast.profile import Table

CLOCK_LEAST = 1_704_067_200
"""2024-01-01 in seconds since 1970: a clock that is before it was never set, as that of a board without a battery."""

_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z")


@dataclass(frozen=True)
class Policy:
    """The table [trust]. minimum_version: "" for none."""

    expiry: str = "ignore"
    minimum_version: str = ""


def read_policy(table: "Table") -> Policy:
    """The table [trust] of a profile. Raises: Refused when it is wrong."""
    policy = Policy(
        expiry=table.choice("expiry", ("ignore", "check", "require"), "ignore"),
        minimum_version=table.text("minimum_version", "", pattern=r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}"),
    )
    table.finish()
    return policy


def seconds_of(text: str) -> int:
    """A time such as 2027-01-31T12:00:00Z in seconds since 1970. Raises: DataError for every other form."""
    match = _TIME.fullmatch(text)
    if match is not None:
        try:
            year, month, day, hour, minute, second = map(int, match.groups())
            return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
        except ValueError:  # no such day, or no such second
            match = None
    raise DataError(f"{text!r} is no time in UTC such as 2027-01-31T12:00:00Z")


def check_policy(policy: Policy, manifest: "Manifest", now: float) -> None:
    """Raises: Refused when the board does not take this bundle, now (seconds since 1970, by the board's clock)."""
    what = f"{manifest.name} {manifest.version}"
    if policy.minimum_version and version_key(manifest.version) < version_key(policy.minimum_version):
        raise Refused(f"{what} is older than {policy.minimum_version}, the least that this board takes; get that")
    if policy.expiry == "ignore":
        return
    if not manifest.expires:
        if policy.expiry == "check":
            return
        raise Refused(f"{what} never expires, and this board takes only what does; make it with --expires")
    if now < CLOCK_LEAST:
        raise Refused(
            f"{what} expires at {manifest.expires}, and the clock of this board is not set, so that it cannot be told"
            " whether that is over; set the clock first"
        )
    if now >= seconds_of(manifest.expires):
        raise Refused(f"{what} has expired at {manifest.expires}; get a newer one, or look whether the clock is right")
