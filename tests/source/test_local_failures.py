"""What cannot be read on this machine: the error says what it was, and why."""

import io
import os

import pytest

from hupfast.errors import DataError, SourceError, UsageError
from hupfast.source import PartSource, open_source
from sources import read_all


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing", "No such file"), ("", "No such file"), (".", "Is a directory"), ("a\0b", "null byte")],
)
def test_unreadable_path(name, reason):
    """What cannot be opened is a SourceError with the name and the reason."""
    with pytest.raises(SourceError, match=reason) as caught:
        open_source(name)

    assert caught.value.exit_code == 7
    assert name.split("\0")[0] in str(caught.value)


def test_closed_descriptor():
    """A descriptor that is not open is a SourceError."""
    fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    with pytest.raises(SourceError, match="Bad file descriptor"):
        open_source(fd)


def test_descriptor_for_writing(tmp_path):
    """A descriptor that cannot be read is a SourceError."""
    with (tmp_path / "out").open("wb", buffering=0) as file:
        file.write(b"x")
        file.seek(0)
        with pytest.raises(SourceError, match="Bad file descriptor"):
            open_source(file.fileno())


@pytest.mark.parametrize("location", ["ftp://host/image", "oci+ftp://host/image", "file:///image"])
def test_unknown_scheme(location):
    """An address that is not http is wrong usage."""
    with pytest.raises(UsageError, match="not understood"):
        open_source(location)


def test_no_source():
    """An object without read is wrong usage."""
    with pytest.raises(UsageError, match="cannot be read from a dict"):
        open_source({})


def test_failing_object():
    """An object whose read fails is a SourceError with its errno."""

    class Failing:
        def read(self, size: int) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(SourceError, match="Input/output error") as caught:
        open_source(Failing())

    assert caught.value.errno == 5


def test_object_with_nothing_to_read_now():
    """A non-blocking object is not taken for one at its end."""

    class Waiting:
        def readinto(self, buffer: memoryview) -> None:
            return None

        def read(self, size: int) -> None:
            return None

    with pytest.raises(SourceError, match="non-blocking"):
        open_source(Waiting())


def test_part_cut_short():
    """A stream that ends inside a part is bad data."""
    part = PartSource(open_source(io.BytesIO(b"abc")), 4, "member")
    with pytest.raises(DataError, match="after 3 of 4 bytes"):
        read_all(part)
