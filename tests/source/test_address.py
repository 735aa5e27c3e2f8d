"""Addresses: what they consist of, what is never shown, what is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.errors import SourceError, UsageError
from hupfast.oci.reference import parse_reference
from hupfast.source import open_source
from hupfast.source.address import parse, public_name, redirected


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://host/a/b", "http://host/a/b"),
        ("https://u:p@host:80/a?x=1#y", "https://...@host:80/a?..."),
        ("http://u:p@/x", "http://...@/x"),
        ("http://a@b@host/p", "http://...@host/p"),
        ("http://u:p/w@host/p", "http://...@host/p"),
        ("http://u:p?w@host/p", "http://..."),
        ("http://u:p#w@host/p", "http://..."),
        ("http://host/p?q=x@y", "http://..."),
        ("http://host?x", "http://host?..."),
        ("http://host/\x1b[31m\nx", "http://host/ [31m x"),
        ("u:s3://cret@host", "...://"),
    ],
)
def test_public_name(url, public):
    """What may be secret in an address is left out of its name."""
    assert public_name(url) == public


SECRET = "s3cret"


def refusal(call, url: str) -> str:
    """What it is refused with, "" when it is not."""
    try:
        call(url)
    except UsageError as error:
        return str(error)
    return ""


TEXT = st.text("ab/?#@:[]%&=. ", max_size=6)


@given(
    st.sampled_from(["http://", "https://", "oci://", "oci+http://"]),
    st.one_of(
        # a password, whatever is in it and around it
        st.builds(lambda a, b, c, d: f"{a}{SECRET}{b}@{c}{d}", TEXT, TEXT, st.just("host/"), TEXT),
        # a query
        st.builds(lambda a, b, c: f"host/{a}?{b}{SECRET}{c}", st.text("ab/.", max_size=6), TEXT, TEXT),
        # both
        st.builds(lambda a, b, c: f"{SECRET}{a}@host/{b}?{c}{SECRET}", TEXT, TEXT, TEXT),
    ),
)
def test_no_secret_is_shown(scheme, rest):
    """Neither by the name of an address, nor by what refuses to use it."""
    assert SECRET not in public_name(scheme + rest)
    assert public_name(scheme + rest).startswith(scheme)
    with contextlib.suppress(UsageError):
        assert SECRET not in parse(scheme + rest).name
    for call in (parse, parse_reference):
        assert SECRET not in refusal(call, scheme + rest)


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///path",
        "http://host:port/",
        "http://[::1/x",
        "http://host/a b",
        "http://host/ä",
        "http://h:99999/",
        "http://h:0/",
        "http://a..b/",
        "http://.a/",
        f"http://{'a' * 64}/",
        f"http://{'a.' * 127}aa/",
    ],
)
def test_not_an_address(url):
    """Something that is no address is wrong usage."""
    with pytest.raises(UsageError, match="is not an address"):
        open_source(url)


@pytest.mark.parametrize("user", ["me:s3cret", "me", ":s3cret", "me%40home:s3cret"])
def test_password_in_an_address(user):
    """A user or password in an address is refused, is not shown, and the message tells where it belongs."""
    with pytest.raises(UsageError, match="--auth-file") as caught:
        open_source(f"http://{user}@host/f?token=hidden")
    assert caught.value.exit_code == 2
    assert not any(word in str(caught.value) for word in ("s3cret", "hidden", "me%40"))


@pytest.mark.parametrize(
    ("url", "again"),
    [
        ("HTTP://Host:80/a?b=c#d", "http://host/a?b=c"),
        ("https://host:443", "https://host/"),
        ("http://host:443/", "http://host:443/"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
    ],
)
def test_taken_apart_and_put_together(url, again):
    """An address put together again is the same, without what is usual or for the reader only."""
    assert parse(url).url == again


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/x", "https://host/x"),
        ("y?z", "https://host/a/y?z"),
        ("//other/x", "https://other/x"),
        ("https://other:1/a b\xe9", "https://other:1/a%20b%E9"),
        ("/a%20b", "https://host/a%20b"),
    ],
)
def test_redirected(location, url):
    """A relative address, one without a scheme, and one with letters that do not belong there, are followed."""
    assert redirected(parse("https://host/a/b"), location).url == url


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://host/x", "which is not https://"),
        ("file:///etc/passwd", "which is not https://"),
        ("https://me:s3cret@host/", "cannot be followed"),
        ("https://host:x/", "cannot be followed"),
        ("https://a..b/", "cannot be followed"),
        (f"https://{'a' * 64}/", "cannot be followed"),
        ("https://host:99999/", "cannot be followed"),
        ("https://[", "what is no address"),
        ("//[x/", "what is no address"),
    ],
)
def test_redirect_that_is_not_followed(location, reason):
    """A redirect that leaves https, carries a password or leads nowhere is refused."""
    with pytest.raises(SourceError, match=reason) as caught:
        redirected(parse("https://host/a"), location)
    assert "s3cret" not in str(caught.value)
