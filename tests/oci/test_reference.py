"""Addresses of bundles in registries."""

import pytest

from hupfast.errors import UsageError
from hupfast.oci.reference import is_oci, parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "api", "wanted"),
    [
        ("oci://example.org/os:2.1", "https://example.org/v2/os", "2.1"),
        ("oci://example.org:5000/team/os/edge:v1_x", "https://example.org:5000/v2/team/os/edge", "v1_x"),
        ("oci://example.org/os@" + DIGEST, "https://example.org/v2/os", DIGEST),
        ("oci://example.org/os:2.1@" + DIGEST, "https://example.org/v2/os", DIGEST),
        ("oci://localhost/os:1", "http://localhost/v2/os", "1"),
        ("oci://127.0.0.1:5000/os:1", "http://127.0.0.1:5000/v2/os", "1"),
        ("oci://[::1]:5000/os:1", "http://[::1]:5000/v2/os", "1"),
        ("oci://[fe80::1]/os:1", "https://[fe80::1]/v2/os", "1"),
        ("oci+http://example.org/os:1", "http://example.org/v2/os", "1"),
        ("oci+https://localhost/os:1", "https://localhost/v2/os", "1"),
        ("OCI://Example.org/os:Tag", "https://example.org/v2/os", "Tag"),
    ],
)
def test_what_an_address_names(text: str, api: str, wanted: str) -> None:
    """Scheme, host, repository and what to ask for; http only on this machine or when it is said."""
    reference = parse_reference(text)
    assert (reference.api, reference.wanted) == (api, wanted)


@pytest.mark.parametrize(
    "text",
    [
        "oci://example.org",
        "oci://example.org/",
        "oci:///os:1",
        "oci://example.org/os",
        "oci://example.org/os:",
        "oci://example.org/os:a/b",
        "oci://example.org/os:" + "a" * 129,
        "oci://example.org/Os:1",
        "oci://example.org/../os:1",
        "oci://example.org/a//b:1",
        "oci://example.org/os?x=1:1",
        "oci://example.org:0/os:1",
        "oci://example.org:70000/os:1",
        "oci://exa mple.org/os:1",
        "oci://a..b/n:t",
        f"oci://{'a' * 64}/n:t",
        "oci://example.org\r\nX: y/os:1",
        "oci://example.org/os@sha256:12",
        "oci://example.org/os@sha512:" + "0" * 128,
        "oci://example.org/os:1\n",
        "oci://example.org/" + "a" * 256 + ":1",
        "https://example.org/os:1",
        "os:1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    """Exit 2 before anything is asked."""
    with pytest.raises(UsageError):
        parse_reference(text)


def test_a_password_is_refused_and_not_repeated() -> None:
    """A user name in the address would be seen by others; the message tells of --auth-file, not of the password."""
    with pytest.raises(UsageError, match="--auth-file") as caught:
        parse_reference("oci://user:secret@example.org/os:1")
    assert "secret" not in str(caught.value)
    assert "user:" not in str(caught.value)


def test_the_address_of_one_manifest() -> None:
    """A pinned address is an address, and keeps how the registry is reached."""
    pinned = parse_reference("oci+http://example.org/os:1").pinned(DIGEST)
    assert pinned == "oci+http://example.org/os@" + DIGEST
    assert parse_reference(pinned).digest == DIGEST


@pytest.mark.parametrize(
    ("location", "expected"),
    [("oci://x/y:1", True), ("oci+http://x/y:1", True), ("https://x/y", False), ("oci:x", False), ("a/oci://", False)],
)
def test_what_is_for_a_registry(location: str, expected: bool) -> None:
    """Only the three schemes."""
    assert is_oci(location) is expected
