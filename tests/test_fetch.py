"""Only what the board does not have is fetched, and the slot ends as the image."""

from pathlib import Path

import pytest

from conftest import image_bytes
from hupfast.errors import Cancelled, DataError, DigestError, HupfastError, MismatchError, StaleError
from hupfast.feed import ProgressFunction
from hupfast.fetch import MARK_SECONDS, fetch_image, survey_image
from hupfast.image import pack
from hupfast.manifest import ImageMember
from hupfast.run import Progress, Run
from hupfast.source import open_source
from hupfast.source.transport import Transport
from hupfast.table import read_table
from servers import Behaviour, misbehaving

CHUNK = 1 << 16
HEAD = 4096
SIZE = 60 * CHUNK + 4321
RAW = image_bytes(SIZE, seed=7)
OLD = (b"old " * SIZE)[: SIZE + CHUNK]
KEY = "/rootfs.img.zst"


class Made:
    """A chunked image, its frames, and a slot and a running system to be filled as a test likes."""

    def __init__(self, folder: Path) -> None:
        (folder / "raw").write_bytes(RAW)
        pack(folder / "raw", folder / "image.zst", level=1, chunk_size=CHUNK)
        self.data = (folder / "image.zst").read_bytes()
        self.table = read_table(folder / "image.zst")
        self.member = ImageMember("rootfs.img.zst", len(self.data), SIZE, CHUNK, self.table.sha256)
        self.slot, self.older = folder / "slot", folder / "older"
        self.fill(self.slot, set())
        self.fill(self.older, set())

    def fill(self, path: Path, right: set[int]) -> None:
        """Old bytes, but for the chunks `right`, which are those of the image."""
        data = bytearray(OLD)
        for index in right:
            end = min((index + 1) * CHUNK, SIZE)
            data[index * CHUNK : end] = RAW[index * CHUNK : end]
        path.write_bytes(data)

    def frames(self, indices: set[int]) -> int:
        """Bytes of the frames of these chunks."""
        return sum(chunk.length for index, chunk in enumerate(self.table.chunks) if index in indices)

    @property
    def is_right(self) -> bool:
        """The slot holds the image, and behind it what was there before."""
        return self.slot.read_bytes() == RAW + OLD[SIZE:]


ALL = set(range(61))


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


@pytest.fixture
def server(made):
    with misbehaving({KEY: made.data}) as running:
        yield running


def counted(running) -> int:
    """Bytes of bodies that the server has sent."""
    return int(running.sent)


def test_all_of_it_is_fetched_when_nothing_is_there(made, server):
    """Each byte comes once, in a few requests."""
    with open_source(server.url(KEY), head=HEAD) as source:
        report = fetch_image(source, made.member, made.slot, older=made.older)
        assert len(made.data) <= source.fetched <= len(made.data) + HEAD
    assert made.is_right
    assert counted(server) <= len(made.data) + HEAD
    assert len(server.requests) < 8
    assert (report.unchanged, report.copied, report.verified) == (0, 0, True)


def test_what_is_there_is_neither_fetched_nor_written(made, server):
    """Chunks of the slot stay, chunks of the running system are copied, the frames of the rest are fetched."""
    there, copied = set(range(0, 20)), set(range(15, 45))
    made.fill(made.slot, there)
    made.fill(made.older, copied)
    zero = {index for index, chunk in enumerate(made.table.chunks) if chunk.zero}
    missing = ALL - there - (copied - zero)
    with open_source(server.url(KEY), head=HEAD) as source:
        told = survey_image(source, made.member, made.slot, older=made.older)
        report = fetch_image(source, made.member, made.slot, older=made.older)
    assert made.is_right
    assert told.fetched == made.table.size + made.frames(missing) == report.bytes_in
    assert told.there == report.unchanged == 20 * CHUNK
    assert told.copied == report.copied
    assert told.written == SIZE - 20 * CHUNK == report.written + report.zeroed


def test_a_survey_changes_nothing(made, server):
    """Only the table is fetched, and the slot is as it was."""
    before = made.slot.read_bytes()
    with open_source(server.url(KEY), head=HEAD) as source:
        survey_image(source, made.member, made.slot, older=made.older)
        assert source.fetched <= made.table.size + HEAD
    assert made.slot.read_bytes() == before


def test_a_file_needs_no_network(made, tmp_path):
    """The same from a file, which C reads by ranges."""
    made.fill(made.slot, set(range(30)))
    with open_source(tmp_path / "image.zst") as source:
        report = fetch_image(source, made.member, made.slot)
    assert made.is_right
    assert report.bytes_in < len(made.data)


@pytest.mark.parametrize("after", [0, 1, 1000, 70_000, 300_000])
def test_a_connection_that_breaks(made, after):
    """It is made again, and goes on where it broke."""
    with misbehaving({KEY: made.data}, Behaviour(drop_after=after, times=5)) as running:
        with open_source(running.url(KEY), transport=Transport(sleep=lambda _: None)) as source:
            fetch_image(source, made.member, made.slot)
        assert made.is_right
        assert counted(running) < 1.5 * len(made.data) + 5 * after


def test_cut_off_and_gone_on_with(made, server, monkeypatch):
    """What was marked as durable is not fetched again, nor looked at but for its last chunks."""
    monkeypatch.setattr("hupfast.fetch.MARK_SECONDS", 0.01)
    marks: list[int] = []

    def stop(now: Progress) -> None:
        if now.durable > 20 * CHUNK:
            raise Cancelled("enough")

    slow = Transport(limit_rate=100_000)
    with open_source(server.url(KEY), transport=slow) as source, pytest.raises(Cancelled):
        fetch_image(source, made.member, made.slot, mark=marks.append, progress=stop)
    assert marks == sorted(set(marks))
    assert 20 * CHUNK < marks[-1] < SIZE
    assert all(mark % CHUNK == 0 for mark in marks)

    done, before = marks[-1], counted(server)
    with open_source(server.url(KEY), head=HEAD) as source:
        report = fetch_image(source, made.member, made.slot, trusted=done)
    assert made.is_right
    assert report.unchanged >= done - sum(chunk.zero for chunk in made.table.chunks) * CHUNK
    zero = {index for index, chunk in enumerate(made.table.chunks) if chunk.zero}  # these are told at the end of a run
    missing = ALL - set(range(done // CHUNK)) | zero
    assert counted(server) - before <= HEAD + made.table.size + made.frames(missing)


def test_marks_come_at_most_once_a_second():
    """A flush costs a card time, and a note costs it wear."""
    assert MARK_SECONDS >= 1


def test_a_slot_that_was_written_to_since(made, server):
    """What was promised is not there: the read-back sees it, and all of it is looked at again."""
    made.fill(made.slot, ALL - {3})
    with open_source(server.url(KEY)) as source:
        report = fetch_image(source, made.member, made.slot, trusted=SIZE)
    assert made.is_right
    assert report.bytes_in == made.table.size + made.frames({3})


def test_a_medium_that_does_not_keep_what_is_written(made, server, monkeypatch):
    """Nothing was trusted, so a mismatch is the medium's, and is not tried again, however far this run has come."""
    calls = []

    def fails(run: Run, show: ProgressFunction) -> None:
        calls.append(run)
        show(Progress("verify", 0, SIZE, 0, durable=20 * CHUNK))
        raise MismatchError("other bytes")

    monkeypatch.setattr("hupfast.fetch.wait", fails)
    with open_source(server.url(KEY)) as source, pytest.raises(MismatchError):
        fetch_image(source, made.member, made.slot)
    assert len(calls) == 1


def test_an_older_system_that_changes(made, server, monkeypatch):
    """Chunks that were to be copied are looked at again, and at last all of them are fetched."""
    made.fill(made.older, ALL)
    older = []

    class Stale(Run):
        def __init__(self, *arguments: object, **options: object) -> None:
            older.append(options["older"])
            super().__init__(*arguments, **options)
            if options["older"] is not None:
                self.close()
                raise StaleError("it has changed")

    monkeypatch.setattr("hupfast.fetch.Run", Stale)
    with open_source(server.url(KEY)) as source:
        fetch_image(source, made.member, made.slot, older=made.older)
    assert older == [made.older, made.older, None]
    assert made.is_right


def test_a_server_that_sends_other_bytes(made):
    """A changed frame is refused before any of it is written; a changed table before anything is."""
    frame = made.table.size + made.frames(set(range(30))) + 5
    for place in (50, frame):
        data = bytearray(made.data)
        data[place] ^= 4
        made.fill(made.slot, set())
        with (
            misbehaving({KEY: bytes(data)}) as running,
            open_source(running.url(KEY)) as source,
            pytest.raises(HupfastError) as caught,
        ):
            fetch_image(source, made.member, made.slot)
        assert caught.value.exit_code == 5
        now = made.slot.read_bytes()
        assert now[30 * CHUNK : 31 * CHUNK] == OLD[:CHUNK]
        assert (now == OLD) or place == frame


def test_another_table(made, server):
    """The table that the manifest names, and no other."""
    other = ImageMember("rootfs.img.zst", len(made.data), SIZE, CHUNK, bytes(32))
    with open_source(server.url(KEY)) as source, pytest.raises(DigestError, match="promised"):
        fetch_image(source, other, made.slot)


def test_a_file_that_is_too_short(made):
    """The bytes that are missing are missed."""
    with (
        misbehaving({KEY: made.data[:-100]}) as running,
        open_source(running.url(KEY)) as source,
        pytest.raises(DataError, match="fewer than its chunk table"),
    ):
        fetch_image(source, made.member, made.slot)


def test_a_limit_for_the_medium(made, server):
    """`rate` holds for what is written and for what is read back."""
    with open_source(server.url(KEY)) as source:
        report = fetch_image(source, made.member, made.slot, rate=8 << 20)
    assert report.seconds > 0.6 * 2 * (report.written + report.zeroed) / (8 << 20)
    assert made.is_right
