"""What to log in with: where it comes from, its form, and who is allowed to read it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.errors import UsageError
from hupfast.source.auth import authorization, credentials
from hupfast.source.transport import Transport


@pytest.fixture
def secret(tmp_path):
    """A function that writes a file that only its owner can read, and returns its name."""

    def write(text: str, mode: int = 0o600) -> str:
        path = tmp_path / "auth"
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("bearer abc.def-ghi=\n", "Bearer abc.def-ghi="),
        ("Bearer  abc", "Bearer abc"),
        ("basic me:pass word:x\n", "Basic " + base64.b64encode(b"me:pass word:x").decode()),
        ("BASIC jürgen:ß\r\n", "Basic " + base64.b64encode("jürgen:ß".encode()).decode()),
        ("basic :token", "Basic OnRva2Vu"),
    ],
)
def test_forms(secret, line, value):
    """A token, and a user with his password, become a header."""
    assert credentials(Transport(auth_file=secret(line))) == value


def test_environment_and_file(monkeypatch, secret):
    """The environment is used where there is no file, and the file wins."""
    assert credentials(Transport()) is None
    monkeypatch.setenv("HUPFAST_AUTH", "bearer one")
    assert credentials(Transport()) == "Bearer one"
    assert credentials(Transport(auth_file=secret("bearer two"))) == "Bearer two"


@pytest.mark.parametrize(
    "line", ["", "s3cret", "bearer", "bearer ", "basic s3cret", "bearer s3 cret", "bearer s3\ncret", "digest s3:cret"]
)
def test_nonsense(secret, line):
    """What is in no form is wrong usage, and is not shown."""
    with pytest.raises(UsageError, match="bearer TOKEN") as caught:
        credentials(Transport(auth_file=secret(line)))
    assert "s3" not in str(caught.value).partition("/auth")[2]


@given(st.text())
def test_any_text_is_a_header_or_refused(text):
    """Whatever stands there, no header comes out of it that would end a line of the request."""
    try:
        value = authorization(text, "it")
    except UsageError:
        return
    assert value.isascii()
    assert value.isprintable()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_file_that_everybody_can_read(secret, mode):
    """A file that everybody can read or change is refused, and the message tells how to mend that."""
    with pytest.raises(UsageError, match="chmod 600"):
        credentials(Transport(auth_file=secret("bearer x", mode)))


def test_file_for_a_group(secret):
    """A file that a group may read is fine: services read their secrets so."""
    assert credentials(Transport(auth_file=secret("bearer x", 0o640))) == "Bearer x"


def test_missing_file(tmp_path):
    """A file that is not there is wrong usage, with its name."""
    with pytest.raises(UsageError, match=r"none.*No such file"):
        credentials(Transport(auth_file=str(tmp_path / "none")))
