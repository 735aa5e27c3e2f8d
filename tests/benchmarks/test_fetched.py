"""benchmarks/fetched.py: what is wrong with an update is seen, whatever it fetched."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import web
from benchmarks.board import board
from benchmarks.direct import digest
from benchmarks.fetched import Fetch, Fetches
from benchmarks.machine import missing
from benchmarks.streams import bundle
from hupfast import filesystem

SIZE = 16 << 20
HUPFAST = Path(sys.executable).with_name("hupfast")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ext4 image."""
    reason = web.web_missing() or missing("mkfs.ext4") or (None if HUPFAST.exists() else f"{HUPFAST} is not there")
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("fetched")
    filesystem.put(folder / "tree", "etc/os-release", b'ID=bench-os\nVERSION_ID="2.0"\n')
    filesystem.put(folder / "tree", "payload", bytes(range(256)) * 4096)
    filesystem.make(folder / "tree", folder / "image.img", SIZE)
    return folder / "image.img"


@pytest.fixture(scope="module")
def made(image: Path) -> Path:
    """A bundle with it, in a folder of its own."""
    (image.parent / "files").mkdir()
    return bundle(image, image.parent / "files" / "x.hup", "2.0", HUPFAST)


@pytest.fixture
def fetches(made: Path, tmp_path: Path) -> Iterator[Fetches]:
    """A board and a server."""
    with web.serve(made.parent, tmp_path / "web") as server, board(tmp_path, SIZE) as place:
        yield Fetches(place, HUPFAST, server, lambda line: None)
    assert list(tmp_path.iterdir()) == []


def right(image: Path) -> str:
    """SHA-256 of the image."""
    return digest(image, ((0, SIZE),), direct=False)


def test_a_whole_bundle(fetches: Fetches, made: Path, image: Path) -> None:
    """It comes once, but for the head that is asked for first."""
    fetches.whole(made, right(image))

    [found] = fetches.results
    assert found.failure == ""
    assert found.bundle == made.stat().st_size
    assert 0 <= found.body - (found.bundle - 1024 - 512) < 1 << 17
    assert found.unsent == found.unread == 0


def test_wrong_bytes_are_seen(fetches: Fetches, made: Path) -> None:
    """An update that leaves something else in the slot counts for nothing."""
    fetches.whole(made, "0" * 64)

    assert fetches.results[0].failure == "WRONG BYTES in the slot"


def test_an_update_that_fails_says_why(fetches: Fetches, made: Path) -> None:
    """With the words of hupfast."""
    fetches.program = Path("/bin/false")
    fetches.whole(made, "")

    assert fetches.results[0].failure.startswith("exit 1")


def test_what_was_not_cut_off_is_no_cut(fetches: Fetches, made: Path, image: Path) -> None:
    """A run that is over before it could be killed proves nothing."""
    fetches.cut("cut", made, right(image), 60, limit=False)

    assert fetches.results[0].failure == "no run took so long that it could be cut off"


def test_what_stays_in_the_server_has_not_left_it() -> None:
    """It counts as sent, and is no part of the share."""
    found = Fetch("", "", bundle=1000, body=1090, sent=1100, requests=4, unsent=90, unread=5)

    assert found.left == 1010
    assert found.ratio == pytest.approx(1.01)
