"""What an update was asked for, kept while it is under way."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.errors import NothingToDo, Refused
from hupfast.request import MAX_ATTEMPTS, NAME, Request, next_attempt, repeatable, save_request

REQUEST = Request("/usb/os.hup", None, "/key.pem", allow_unsigned=False, allow_downgrade=True, memory=1, reboot=True)


def test_a_request_comes_back_with_its_attempt_counted(tmp_path: Path) -> None:
    """Each time that it is asked for."""
    save_request(tmp_path / "state", REQUEST)
    assert next_attempt(tmp_path / "state", 0) == replace(REQUEST, attempts=1)
    assert next_attempt(tmp_path / "state", 0) == replace(REQUEST, attempts=2)


def test_a_request_is_not_gone_on_with_for_ever(tmp_path: Path) -> None:
    """An update that takes the board down each time must end."""
    save_request(tmp_path, replace(REQUEST, attempts=MAX_ATTEMPTS))
    with pytest.raises(Refused, match="5 times"):
        next_attempt(tmp_path, 0)


def test_no_request_is_nothing_to_do(tmp_path: Path) -> None:
    """Never made, or dropped."""
    save_request(tmp_path, REQUEST)
    save_request(tmp_path, None)
    with pytest.raises(NothingToDo):
        next_attempt(tmp_path, 0)


@given(st.binary(max_size=60) | st.sampled_from([b"{}", b'{"format": 1}', b'{"format": 1, "source": 3}', b"[" * 5000]))
def test_a_request_that_makes_no_sense_is_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever is in the file."""
    folder = tmp_path_factory.mktemp("state")
    (folder / NAME).write_bytes(data)
    with pytest.raises(Refused, match="cannot be understood"):
        next_attempt(folder, 0)


def test_only_what_can_be_opened_again_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths mean the same from any directory; a stream is gone."""
    monkeypatch.chdir("/usr")
    assert repeatable("os.hup") == "/usr/os.hup"
    assert repeatable(Path("/usb/os.hup")) == "/usb/os.hup"
    assert repeatable("https://host/os.hup") == "https://host/os.hup"
    assert repeatable("-") is None
    assert repeatable(3) is None


def test_attempts_that_get_farther_do_not_count(tmp_path: Path) -> None:
    """On a bad line an update may be cut off any number of times, as long as more of it is there each time."""
    save_request(tmp_path, REQUEST)
    for durable in range(0, 3 * MAX_ATTEMPTS):
        assert next_attempt(tmp_path, durable).attempts == 1
    for _ in range(MAX_ATTEMPTS - 1):
        next_attempt(tmp_path, durable)
    with pytest.raises(Refused):
        next_attempt(tmp_path, durable)


def test_what_an_address_may_hide_is_not_shown(tmp_path: Path) -> None:
    """A key in its query is kept, because it is needed: for the owner of the file only, and in no message."""
    address = "https://host/os.hup?key=sesame"
    save_request(tmp_path, replace(REQUEST, source=address))
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert next_attempt(tmp_path, 0).source == address
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600

    save_request(tmp_path, replace(REQUEST, source=address, attempts=MAX_ATTEMPTS))
    with pytest.raises(Refused, match=r"https://host/os\.hup\?\.\.\.") as caught:
        next_attempt(tmp_path, 0)
    assert "sesame" not in str(caught.value)
