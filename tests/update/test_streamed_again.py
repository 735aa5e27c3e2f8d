"""A streamed update that was cut off goes on: what is there is not asked for again, and never trusted blindly."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from anatomy import frames, region
from streams import OLD, PATH, asked, command, ending, hasty, overlap

from hupfast import install
from hupfast.errors import Cancelled, DigestError, NothingToDo, RolledBack, SourceError
from hupfast.request import MAX_ATTEMPTS
from hupfast.resume import resume_update
from hupfast.run import Progress, Run
from hupfast.source.transport import Transport
from servers import Behaviour, Misbehaving, Request, misbehaving

Board = Any
BIG = 60_000
"""Frames that are this long are those of bytes which cannot be compressed."""


def cut_off(board: Board, server: Misbehaving, place: int) -> None:
    """An update whose server goes away before a byte of the file: exit 7."""
    server.behaviour = Behaviour(drop_at=place, times=-1)
    with pytest.raises(SourceError):
        board.update(server.url(PATH), transport=hasty())
    server.behaviour = Behaviour()
    server.requests.clear()


def last_big(data: bytes) -> int:
    """The number of the last frame that cannot be compressed."""
    return max(number for number, one in enumerate(frames(data)) if one.end - one.start > BIG)


def is_whole(board: Board, version: str = "2.0") -> None:
    """The new system is there, to the last byte, and boots."""
    board.check_whole("b", version)
    assert board.boot().version == version


def test_frames_and_boot_files_that_are_there_are_not_asked_for(empty: Board, data: bytes) -> None:
    """After exit 7 the same command fetches the front, the table, and what is missing."""
    number = last_big(data)
    place = frames(data)[number]
    with misbehaving({PATH: data}) as server:
        cut_off(empty, server, place.middle)
        waiting = list((empty.root / "state/spool").iterdir())
        assert len(waiting) == 2
        empty.update(server.url(PATH), transport=hasty())
        spans = asked(server.requests, len(data))
    behind = [span for span in spans if span != (0, 2**16)]
    assert overlap(behind, region(data, "boot/kernel").start, region(data, "boot/kernel").end) == 0
    for one in frames(data)[:number]:
        if one.end - one.start > BIG:
            assert overlap(behind, one.start, one.end) == 0
    assert overlap(behind, place.start, place.end) == place.end - place.start
    is_whole(empty)


def test_status_tells_why_it_has_stopped(empty: Board, data: bytes) -> None:
    """In words and in JSON; the board boots the old system meanwhile."""
    with misbehaving({PATH: data}) as server:
        cut_off(empty, server, frames(data)[20].middle)
    status = command(empty, "status")
    assert "the update to os 2.0 was cut off (stage: begun); run it again to go on" in status.out
    assert "failed" in status.out
    assert "the connection ended" in status.out
    last = json.loads(command(empty, "status", "--json").out)["last"]
    assert (last["result"], last["slot"], "run the same command again" in last["reason"]) == ("failed", "b", True)
    assert empty.boot().slot == "a"


def test_a_server_that_is_gone_by_the_real_command(empty: Board, data: bytes) -> None:
    """Exit 7 at once with one line that names it, and nothing is written."""
    with misbehaving({PATH: data}) as server:
        address = server.url(PATH)
    done = command(empty, "update", address, "--allow-unsigned", "-q")
    assert (done.code, done.err.count("\n")) == (7, 1)
    assert "localhost" in done.err
    assert empty.slot("b").read_bytes() == OLD
    assert empty.status().situation == "idle"


def test_it_goes_on_by_itself_as_it_was_asked_for(
    empty: Board, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--resume` logs in again, with the same limits; and the request holds no secret."""
    secret = tmp_path / "login"
    secret.write_text("basic board:open sesame\n")
    secret.chmod(0o600)
    word = "Basic Ym9hcmQ6b3BlbiBzZXNhbWU="
    transport = hasty(auth_file=str(secret), limit_rate=50 << 20)
    with misbehaving({PATH: data}, Behaviour(password=word, drop_at=frames(data)[20].middle, times=-1)) as server:
        with pytest.raises(SourceError):
            empty.update(server.url(PATH), transport=transport, limit_write=40 << 20)
        kept = json.loads((empty.root / "state/request.json").read_text())
        assert (kept["auth_file"], kept["limit_rate"], kept["limit_write"]) == (str(secret), 50 << 20, 40 << 20)
        for path in (empty.root / "state").rglob("*"):
            if path.is_file():
                assert b"sesame" not in path.read_bytes()
                assert word[6:].encode() not in path.read_bytes()
        server.behaviour.times = 0
        monkeypatch.chdir("/")
        assert resume_update(root=empty.root).outcome == "installed"
    is_whole(empty)
    with pytest.raises(NothingToDo):
        resume_update(root=empty.root)


def test_files_of_the_transport_are_kept_by_their_full_name(
    empty: Board, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative name means something else after a reboot."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "login").write_text("bearer token\n")
    (tmp_path / "login").chmod(0o600)
    how = Behaviour(drop_at=frames(data)[20].middle, times=-1)
    with misbehaving({PATH: data}, how) as server, pytest.raises(SourceError):
        empty.update(server.url(PATH), transport=hasty(auth_file="login"))
    assert json.loads((empty.root / "state/request.json").read_text())["auth_file"] == str(tmp_path / "login")


def test_a_login_of_the_environment_is_not_kept(empty: Board, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that `--resume` without it ends in 7 and says how to log in."""
    monkeypatch.setenv("HUPFAST_AUTH", "bearer abracadabra")
    how = Behaviour(password="Bearer abracadabra", drop_at=frames(data)[20].middle, times=-1)
    with misbehaving({PATH: data}, how) as server:
        with pytest.raises(SourceError):
            empty.update(server.url(PATH), transport=hasty())
        assert b"abracadabra" not in (empty.root / "state/request.json").read_bytes()
        server.behaviour.times = 0
        monkeypatch.delenv("HUPFAST_AUTH")
        with pytest.raises(SourceError, match=r"401.*--auth-file"):
            resume_update(root=empty.root)
        monkeypatch.setenv("HUPFAST_AUTH", "bearer abracadabra")
        assert resume_update(root=empty.root).outcome == "installed"
    is_whole(empty)


def noted(board: Board, server: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> int:
    """An update that is stopped by force once much of the image is noted as durable; how much."""
    monkeypatch.setattr("hupfast.fetch.MARK_SECONDS", 0.01)

    def stop(now: Progress) -> None:
        if now.durable >= 20 << 16:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        board.update(server.url(PATH), transport=Transport(limit_rate=400_000), progress=stop)
    monkeypatch.undo()
    server.requests.clear()
    return int(board.journal().state.transaction.durable)


def believed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many bytes each run of the engine is told that they are there, from now on."""
    seen = []

    class Watched(Run):
        def __init__(self, *arguments: Any, trusted: int = 0, **options: Any) -> None:
            seen.append(trusted)
            super().__init__(*arguments, trusted=trusted, **options)

    monkeypatch.setattr("hupfast.fetch.Run", Watched)
    return seen


def test_what_is_noted_as_durable_is_not_even_read(empty: Board, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run goes on behind it."""
    with misbehaving({PATH: data}) as server:
        durable = noted(empty, server, monkeypatch)
        assert durable >= 20 << 16
        runs = believed(monkeypatch)
        assert empty.update(server.url(PATH)).plan.durable == durable
        assert runs == [durable]
        spans = [span for span in asked(server.requests, len(data)) if span[0] >= 2**16]
    for one in frames(data)[: durable >> 16]:
        assert one.end - one.start < BIG or overlap(spans, one.start, one.end) == 0
    is_whole(empty)


@pytest.mark.parametrize("stage", ["image", "slot", "boot", "switch"])
def test_a_bundle_that_is_replaced_between_two_runs(empty: Board, shelf: Any, data: bytes, stage: str) -> None:
    """Whatever the first run had done of the old one, all of the new one is installed, boot files included."""

    def stop(now: str) -> None:
        if now == stage:
            raise KeyboardInterrupt("SIGTERM")

    with misbehaving({PATH: data}) as server:
        with pytest.raises(KeyboardInterrupt):
            empty.update(server.url(PATH), on_stage=stop)
        server.files[PATH] = shelf.bundle("3.0").read_bytes()
        result = resume_update(root=empty.root)
    assert (result.version, result.plan.durable, result.plan.again) == ("3.0", 0, False)
    is_whole(empty, "3.0")
    assert list((empty.root / "state/spool").iterdir()) == []


def test_what_was_durable_of_another_bundle_is_not_trusted(
    empty: Board, shelf: Any, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal names the bundle that it tells of."""
    with misbehaving({PATH: data}) as server:
        assert noted(empty, server, monkeypatch) >= 20 << 16
        server.files[PATH] = shelf.bundle("3.0").read_bytes()
        assert empty.update(server.url(PATH)).plan.durable == 0
    is_whole(empty, "3.0")


def test_a_slot_that_was_written_to_between_two_runs(
    empty: Board, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal promises what is not there any more: it is found out, and fetched again."""
    with misbehaving({PATH: data}) as server:
        assert noted(empty, server, monkeypatch) >= 20 << 16
        with empty.slot("b").open("r+b") as slot:
            slot.seek(2 << 16)
            slot.write(b"somebody was here")
        empty.update(server.url(PATH))
    is_whole(empty)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"x" * 28000), lambda path: os.truncate(path, 100)])
def test_a_boot_file_in_waiting_that_was_damaged(empty: Board, data: bytes, damage: Any) -> None:
    """It is fetched again, and only that."""
    with misbehaving({PATH: data}) as server:
        cut_off(empty, server, frames(data)[20].middle)
        kernel = max((empty.root / "state/spool").iterdir(), key=lambda path: path.stat().st_size)
        damage(kernel)
        empty.update(server.url(PATH))
    is_whole(empty)


def test_a_boot_file_in_waiting_that_is_gone_at_its_use(empty: Board, data: bytes) -> None:
    """Damaged after it was checked: exit 5, the boot directory is as before, and the same command heals it."""

    def damage(stage: str) -> None:
        if stage == "boot":
            for path in (empty.root / "state/spool").iterdir():
                path.write_bytes(b"x" * path.stat().st_size)

    with misbehaving({PATH: data}) as server:
        with pytest.raises(DigestError, match="has changed since it was fetched"):
            empty.update(server.url(PATH), on_stage=damage)
        assert not (empty.root / "boot/b/kernel").exists()
        assert empty.boot().slot == "a"
        empty.update(server.url(PATH))
    is_whole(empty)


def test_a_server_that_never_comes_back(empty: Board, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for a long time (here: three times), then a few times more, and then by nobody until a user does."""
    monkeypatch.setattr("hupfast.request.MAX_FAILURES", 3)
    with misbehaving({PATH: data}) as server:
        cut_off(empty, server, frames(data)[20].start)
    assert command(empty, "update", "--resume", "-q").code == 7
    codes = [ending(lambda: resume_update(root=empty.root)) for _ in range(MAX_ATTEMPTS + 4)]
    assert codes == [7] * (2 + MAX_ATTEMPTS) + [4, 3]
    assert empty.boot().slot == "a"


# ---- what is on the board already ----------------------------------------------------------------------------


def test_what_the_previous_version_shares_is_not_fetched(board: Board, shelf: Any, tmp_path: Path) -> None:
    """Slot b holds an older version: frames of chunks that have not changed are left."""
    board.slot("b").write_bytes(similar(shelf.image("2.0").read_bytes(), 5))
    data = shelf.bundle("2.0").read_bytes()
    with misbehaving({PATH: data}) as server:
        told = board.update(server.url(PATH), dry_run=True).plan
        report = board.update(server.url(PATH)).report
    assert report.unchanged == told.survey.there == (2 << 20) - (1 << 16)
    assert report.bytes_in < len(data) / 2
    is_whole(board)


def test_what_the_running_slot_has_is_copied_from_it(empty: Board, shelf: Any, data: bytes) -> None:
    """Slot a holds most of the image: it is copied, checked, and not fetched; slot a stays as it was."""
    running = empty.slot("a")
    mixed = bytearray(shelf.image("2.0").read_bytes().ljust(running.stat().st_size, b"\0"))
    numbers = [number for number, one in enumerate(frames(data)) if one.end - one.start > BIG]
    mixed[numbers[1] << 16 : (numbers[1] + 1) << 16] = bytes(1 << 16)
    running.write_bytes(mixed)
    with misbehaving({PATH: data}) as server:
        report = empty.update(server.url(PATH)).report
        spans = asked(server.requests, len(data))
    fetched = [number for number in numbers if overlap(spans, frames(data)[number].end - 1, frames(data)[number].end)]
    assert fetched == [number for number in numbers if frames(data)[number].end <= 2**16] + [numbers[1]]
    assert report.copied >= (len(numbers) - 1) << 16
    assert running.read_bytes() == mixed
    is_whole(empty)


def test_a_running_slot_that_changes_meanwhile(
    empty: Board, shelf: Any, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk that was to be copied is another one when its turn comes: it is fetched, and the slot ends right."""
    running = empty.slot("a")
    before = running.read_bytes()
    numbers = [number for number, one in enumerate(frames(data)) if one.end - one.start > BIG]
    awaited = frames(data)[numbers[0]]
    mixed = bytearray(shelf.image("2.0").read_bytes().ljust(len(before), b"\0"))
    mixed[numbers[0] << 16 : (numbers[0] + 1) << 16] = bytes(1 << 16)
    running.write_bytes(mixed)
    runs: list[object] = []
    monkeypatch.setattr("hupfast.fetch.Run", lambda *what, **how: runs.append(how) or Run(*what, **how))

    def spoil(server: Misbehaving, request: Request) -> None:
        """Let the engine look at all chunks, while it waits for the one that is not there; then change another."""
        if (
            len(server.requests) > 1
            and overlap(asked([request], len(data)), awaited.start, awaited.end)
            and not spoiled
        ):
            spoiled.append(True)
            time.sleep(0.3)
            with running.open("r+b") as file:
                file.seek(numbers[-1] << 16)
                file.write(os.urandom(1 << 16))

    spoiled: list[bool] = []
    with misbehaving({PATH: data}, Behaviour(before=spoil)) as server:
        report = empty.update(server.url(PATH)).report
    assert spoiled
    assert len(runs) == 2
    assert report.verified
    running.write_bytes(before)
    is_whole(empty)


def test_from_a_file_nothing_is_copied_from_the_running_slot(empty: Board, shelf: Any) -> None:
    """It costs nothing to read it from the bundle, which nobody writes to."""
    shutil.copyfile(shelf.image("2.0"), empty.slot("a"))
    os.truncate(empty.slot("a"), len(OLD))
    assert empty.update(shelf.bundle("2.0")).report.copied == 0


def similar(image: bytes, number: int) -> bytes:
    """The image, but for one chunk, as a slot of 3 MiB."""
    changed = bytearray(image.ljust(len(OLD), b"\0"))
    changed[number << 16 : (number + 1) << 16] = os.urandom(1 << 16)
    return bytes(changed)


# ---- boot files in waiting -----------------------------------------------------------------------------------


def waiting(board: Board) -> list[str]:
    """What takes room on the state partition, and nobody may need any more."""
    return sorted(path.name for path in (board.root / "state/spool").glob("*"))


@pytest.mark.parametrize("then", ["again", "confirm", "fall back", "roll back"])
def test_boot_files_do_not_wait_for_ever(empty: Board, data: bytes, monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    """Killed right behind the switch, an update leaves them; whatever ends it removes them."""

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with misbehaving({PATH: data}) as server, monkeypatch.context() as patch:
        patch.setattr(install, "_tidy_up", dies)
        with pytest.raises(KeyboardInterrupt):
            empty.update(server.url(PATH))
        assert len(waiting(empty)) == 2
        patch.undo()
        if then == "again":
            assert empty.update(server.url(PATH)).outcome == "pending"
    if then == "confirm":
        empty.boot()
        empty.confirm()
    elif then == "roll back":
        empty.rollback()
    elif then == "fall back":
        for _ in range(4):
            empty.boot()
        with pytest.raises(RolledBack):
            empty.confirm()
    assert waiting(empty) == []


def test_boot_files_of_a_bad_bundle_do_not_wait(empty: Board, data: bytes) -> None:
    """It has ended: the first one, which was right, is not kept for a second one that never comes."""
    bad = bytearray(data)
    bad[region(data, "boot/kernel").middle] ^= 1
    with misbehaving({PATH: bytes(bad)}) as server:
        with pytest.raises(DigestError):
            empty.update(server.url(PATH))
        assert waiting(empty) == []


def test_boot_files_wait_for_a_server_that_comes_back(empty: Board, data: bytes) -> None:
    """It failed while it sent the second one: the first is not fetched again."""
    kernel, tree = region(data, "boot/kernel"), region(data, "boot/dtb/board.dtb")
    with misbehaving({PATH: data}) as server:
        cut_off(empty, server, kernel.middle)
        assert len(waiting(empty)) == 1
        empty.update(server.url(PATH))
        behind = [span for span in asked(server.requests, len(data)) if span != (0, 2**16)]
        assert overlap(behind, tree.start, tree.end) == 0
    is_whole(empty)
