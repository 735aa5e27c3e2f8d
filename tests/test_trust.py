"""Unsigned bundles are refused unless the user says otherwise."""

from pathlib import Path

import pytest

from hupfast.bundle import Front
from hupfast.errors import Refused, UsageError
from hupfast.trust import check_key, check_trust


@pytest.mark.parametrize(("signature", "reason"), [(None, "not signed"), (b"x", "cannot check signatures")])
def test_nothing_is_trusted_by_itself(signature: bytes | None, reason: str) -> None:
    """Signed or not: exit 4 and the way out, unless --allow-unsigned is said."""
    with pytest.raises(Refused, match=rf"{reason}.*--allow-unsigned"):
        check_trust(Front(b"", signature), allow_unsigned=False)
    check_trust(Front(b"", signature), allow_unsigned=True)


def test_a_key_is_never_silently_ignored(tmp_path: Path) -> None:
    """A missing key is a usage error; one that exists is refused, because it cannot be used."""
    check_key(None)
    with pytest.raises(UsageError, match="does not exist"):
        check_key(tmp_path / "no.pem")
    (tmp_path / "key.pem").write_text("")
    with pytest.raises(Refused, match="does not support signed bundles"):
        check_key(tmp_path / "key.pem")
