"""Addresses: what they consist of, what is never shown, what is refused."""

import pytest

from hupfast.errors import SourceError, UsageError
from hupfast.source import open_source
from hupfast.source.address import parse, public_name, redirected


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://host/a/b", "http://host/a/b"),
        ("https://u:p@host:80/a?x=1#y", "https://host:80/a?..."),
        ("http://u:p@/x", "http:///x"),
        ("http://a@b@host/p@q", "http://host/p@q"),
        ("http://host?x", "http://host?..."),
    ],
)
def test_public_name(url, public):
    """What may be secret in an address is left out of its name."""
    assert public_name(url) == public


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
    ],
)
def test_redirect_that_is_not_followed(location, reason):
    """A redirect that leaves https, carries a password or leads nowhere is refused."""
    with pytest.raises(SourceError, match=reason) as caught:
        redirected(parse("https://host/a"), location)
    assert "s3cret" not in str(caught.value)
