"""An update that was cut off goes on by itself, as it was asked for."""

import os
from pathlib import Path
from typing import Any

import pytest

from hupfast import install
from hupfast.errors import DataError, NothingToDo, RolledBack, SourceError
from hupfast.request import MAX_ATTEMPTS, NAME
from hupfast.resume import resume_update

Board = Any


def cut_off(board: Board, stage: str, version: str = "2.0", **options: object) -> None:
    """An update in a process of its own, which dies at the beginning of a stage."""

    def die(now: str) -> None:
        if now == stage:
            os._exit(9)

    bundle = board.shelf.bundle(version)
    child = os.fork()
    if child == 0:
        try:
            board.update(bundle, on_stage=die, **options)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("stage", ["image", "slot", "boot", "switch"])
def test_an_update_that_was_cut_off_goes_on(board: Board, stage: str) -> None:
    """From any stage, after a power cycle; then there is nothing to go on with."""
    cut_off(board, stage)
    assert board.boot().slot == "a"

    assert resume_update(root=board.root).outcome == "installed"
    board.check_whole("b", "2.0")
    assert board.boot().slot == "b"
    with pytest.raises(NothingToDo):
        resume_update(root=board.root)


def test_it_goes_on_as_it_was_asked_for(board: Board) -> None:
    """A downgrade that was allowed stays allowed, and the reboot is made."""
    board.installed("2.0")
    cut_off(board, "boot", "1.5", allow_downgrade=True, reboot=True)
    assert resume_update(root=board.root).outcome == "rebooting"
    assert board.status().version == "1.5"


def test_what_has_not_begun_is_not_gone_on_with(board: Board) -> None:
    """Nothing was written yet, so nobody waits for it."""
    cut_off(board, "fetch")
    with pytest.raises(NothingToDo):
        resume_update(root=board.root)


def test_an_update_that_failed_has_ended(board: Board, shelf: Any, tmp_path: Path) -> None:
    """Bad data is bad at the next boot too."""
    data = bytearray(shelf.bundle("2.0").read_bytes())
    data[-3000] ^= 1
    (tmp_path / "bad.hup").write_bytes(data)
    with pytest.raises(DataError):
        board.update(tmp_path / "bad.hup")
    with pytest.raises(NothingToDo):
        resume_update(root=board.root)


def unreachable(*arguments: object, **options: object) -> None:
    """In place of fetch_image."""
    raise SourceError("the server is gone")


def test_a_source_that_failed_is_asked_again(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network may be there after the next boot."""
    with monkeypatch.context() as patch:
        patch.setattr(install, "fetch_image", unreachable)
        with pytest.raises(SourceError):
            board.update("2.0")
    assert resume_update(root=board.root).outcome == "installed"


def test_a_bad_line_may_be_bad_for_long(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts that end because the source fails do not count: the update is not to blame."""
    with monkeypatch.context() as patch:
        patch.setattr(install, "fetch_image", unreachable)
        with pytest.raises(SourceError):
            board.update("2.0")
        for _ in range(2 * MAX_ATTEMPTS):
            with pytest.raises(SourceError):
                resume_update(root=board.root)
    assert resume_update(root=board.root).outcome == "installed"


def test_an_update_that_was_switched_to_is_not_installed_again(board: Board) -> None:
    """Cut off between the switch and the end of the request, it runs after the reboot."""
    request = board.root / "state" / NAME
    cut_off(board, "switch")
    kept = request.read_bytes()
    resume_update(root=board.root)
    request.write_bytes(kept)
    assert resume_update(root=board.root).outcome == "pending"
    assert not request.exists()

    board.boot()
    board.confirm()
    request.write_bytes(kept)
    with pytest.raises(NothingToDo, match="running already"):
        resume_update(root=board.root)
    assert not request.exists()


def test_an_application_holds_the_reboot_off(board: Board) -> None:
    """Its lock file is told, the update is installed, and the reboot is somebody else's."""
    board.profile(lambda text: text + '\n[update]\nlocks = ["/run/*/updates.lock"]\n')
    lock = board.root / "run/app/updates.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    result = board.update("2.0", reboot=True)
    assert (result.outcome, result.exit_code, result.locks) == ("installed", 10, (lock,))
    assert board.status().version == "1.0"

    lock.unlink()
    assert board.update("2.0", reboot=True).outcome == "rebooting"
    assert board.status().version == "2.0"


def test_the_log_tells_what_was_done(board: Board) -> None:
    """Stages, ends and their reasons, in their order."""
    cut_off(board, "slot")
    board.installed("2.0")
    lines = [line.split(" ", 1)[1] for line in (board.root / "state/update.log").read_text().splitlines()]
    assert lines == [
        "update os 2.0 into slot b, from 1.0",
        "image",
        "update os 2.0 into slot b, from 1.0",
        "image",
        "slot",
        "boot",
        "switch",
        "os 2.0 in slot b installed: a reboot tries it",
        "os 2.0 in slot b confirmed",
    ]


@pytest.mark.parametrize("end", ["fall back", "fall back, noted", "roll back", "called off"])
def test_an_update_that_has_ended_is_not_gone_on_with(board: Board, end: str) -> None:
    """Killed right behind the switch, its request is left: what has fallen back, or was left, is not tried again."""
    request = board.root / "state" / NAME
    cut_off(board, "switch")
    kept = request.read_bytes()
    board.update("2.0")
    request.write_bytes(kept)
    if end == "called off":
        board.rollback()
    elif end == "roll back":
        board.boot()
        board.rollback()
        board.boot()
    else:
        for _ in range(4):
            board.boot()
        if end == "fall back, noted":
            with pytest.raises(RolledBack):
                board.confirm()
    with pytest.raises(NothingToDo, match="none to go on with"):
        resume_update(root=board.root)
    assert board.boot().slot == "a"
    assert not request.exists()
