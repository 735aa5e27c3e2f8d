"""After the reboot: confirm, rollback, and what status tells of them."""

from typing import Any

import pytest

from hupfast.confirm import confirm, keep_trial
from hupfast.errors import HupfastError, Refused, RolledBack
from hupfast.filesystem import put

Board = Any


def check(board: Board, name: str, body: str) -> None:
    """A health check on the board."""
    put(board.root, f"etc/hupfast/health.d/{name}", f"#!/bin/sh\n{body}\n".encode())
    (board.root / f"etc/hupfast/health.d/{name}").chmod(0o755)


def test_nothing_to_confirm_is_fine(board: Board) -> None:
    """A service may call it at every boot."""
    assert (board.confirm().outcome, board.confirm().exit_code) == ("nothing", 0)


def test_confirm_before_the_reboot(board: Board) -> None:
    """It says that a reboot is needed, and makes nothing permanent."""
    board.update("2.0")
    result = board.confirm()

    assert (result.outcome, result.exit_code, result.slot, result.version) == ("reboot", 10, "b", "2.0")
    assert board.status().situation == "pending"


def test_health_checks_decide(board: Board) -> None:
    """While one fails, exit 1 and the trial goes on; once it passes, the system is permanent."""
    check(board, "10-net", f"test -e {board.root}/net || {{ echo no route; exit 1; }}")
    check(board, "20-app", "exit 0")
    board.update("2.0")
    board.boot()
    with pytest.raises(HupfastError, match=r"10-net ended with status 1: no route \(1 of 2") as caught:
        board.confirm()
    assert caught.value.exit_code == 1
    assert board.status().situation == "trial"
    assert "no route" in board.status().health

    (board.root / "net").touch()
    assert [item.problem for item in board.confirm().checks] == ["", ""]
    assert board.status().situation == "idle"


def test_the_cause_of_a_fallback_is_kept(board: Board) -> None:
    """The health check that failed last is in the reason."""
    check(board, "10-net", "echo no route; exit 1")
    board.update("2.0")
    for _ in range(3):
        board.boot()
        with pytest.raises(HupfastError, match="not healthy"):
            board.confirm()
    assert board.boot().version == "1.0"
    with pytest.raises(RolledBack, match="no route"):
        board.confirm()
    assert "no route" in board.status().last.reason


def test_checks_see_the_new_system(board: Board) -> None:
    """Slot and version of the system on trial."""
    check(board, "env", f'echo "$HUPFAST_SLOT $HUPFAST_VERSION $HUPFAST_ROOT" > {board.root}/seen')
    board.update("2.0")
    board.boot()
    board.confirm()

    assert (board.root / "seen").read_text() == f"b 2.0 {board.root}\n"


def test_rollback_before_the_reboot_calls_the_update_off(board: Board) -> None:
    """Exit 0: nothing else is needed. The same bundle can be installed again."""
    board.update("2.0")
    result = board.rollback()

    assert (result.outcome, result.exit_code, result.slot) == ("called off", 0, "a")
    assert board.boot().slot == "a"
    assert board.status().last.result == "rolled back"
    assert board.confirm().outcome == "nothing"
    assert board.update("2.0").outcome == "installed"


def test_rollback_on_trial(board: Board) -> None:
    """The old system boots next, and the new one is forgotten as an update."""
    board.update("2.0")
    board.boot()
    result = board.rollback()

    assert (result.outcome, result.exit_code, result.slot, result.version) == ("reboot", 10, "a", "1.0")
    assert board.rollback().outcome == "reboot"
    assert board.confirm().outcome == "reboot"
    assert board.boot().slot == "a"
    assert board.confirm().outcome == "nothing"
    assert (board.status().situation, board.status().last.result) == ("idle", "rolled back")


def test_rollback_on_the_last_try(board: Board) -> None:
    """Asked for is asked for, also when the bootloader would go back anyway."""
    board.update("2.0")
    for _ in range(3):
        board.boot()
    assert board.status().tries == 0
    board.rollback()
    assert board.boot().slot == "a"
    assert board.status().last.result == "rolled back"


def test_rollback_to_a_confirmed_system(board: Board) -> None:
    """It worked before, so it is permanent at once; and back again."""
    board.installed("2.0")
    assert board.rollback().slot == "a"
    assert [board.boot().version for _ in range(5)] == ["1.0"] * 5
    assert board.status().last.result == "rolled back"
    assert board.rollback().slot == "b"
    assert [board.boot().version for _ in range(5)] == ["2.0"] * 5


def test_rollback_to_a_system_that_never_was_confirmed(board: Board) -> None:
    """It is only tried, and falls back once more unless it is confirmed."""
    board.update("2.0")
    for _ in range(4):
        board.boot()
    with pytest.raises(RolledBack):
        board.confirm()
    assert (board.rollback().slot, board.status().situation) == ("b", "pending")
    assert [board.boot().slot for _ in range(4)] == ["b", "b", "b", "a"]
    assert board.status().situation == "fell back"
    board.rollback()
    board.boot()
    assert board.confirm().outcome == "confirmed"


def test_there_must_be_a_whole_system_to_go_back_to(board: Board) -> None:
    """Not from the factory, and not after an update that was cut off."""
    with pytest.raises(Refused, match=r"slot b holds no complete system .nothing was installed"):
        board.rollback()
    board.installed("2.0")

    def stop(stage: str) -> None:
        if stage == "slot":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        board.update("3.0", on_stage=stop)
    with pytest.raises(Refused, match=r"slot a holds no complete system .an update into it was cut off"):
        board.rollback()
    assert board.boot().version == "2.0"


def test_an_update_that_lacks_its_switch_has_its_boot_files_put_back(board: Board) -> None:
    """So its slot is no system that a rollback could go to, and the board is as before; the update can be repeated."""
    before = {path: path.read_bytes() for path in (board.root / "boot").rglob("*") if path.is_file()}

    def stop(stage: str) -> None:
        if stage == "switch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        board.update("2.0", on_stage=stop)
    assert {path: path.read_bytes() for path in (board.root / "boot").rglob("*") if path.is_file()} == before
    with pytest.raises(Refused, match="cut off"):
        board.rollback()
    board.update("2.0")
    assert board.boot().version == "2.0"


def test_a_system_that_hupfast_did_not_install_can_be_gone_back_to(board: Board) -> None:
    """It ran when the update began, so it is whole: the journal notes it then."""
    (board.root / "state/journal.json").unlink()
    board.installed("2.0")
    assert board.rollback().version == "1.0"
    assert board.boot().version == "1.0"


def test_a_trial_that_the_journal_does_not_know(board: Board) -> None:
    """The bootloader is the truth: it can be confirmed, or left."""
    board.update("2.0")
    board.boot()
    (board.root / "state/journal.json").unlink()
    assert board.status().situation == "trial"
    assert board.confirm().outcome == "confirmed"
    assert [board.boot().version for _ in range(4)] == ["2.0"] * 4


def test_status_of_each_moment(board: Board) -> None:
    """Every state has a sentence, slots and versions, and JSON that can be written."""
    import json

    sentences = []

    def note() -> None:
        status = board.status()
        json.dumps(status.as_dict())
        sentences.append(status.sentence)

    note()
    board.update("2.0")
    note()
    board.boot()
    note()
    board.confirm()
    board.rollback()
    note()
    board.boot()
    with pytest.raises(KeyboardInterrupt):
        board.update(
            "3.0", on_stage=lambda stage: (_ for _ in ()).throw(KeyboardInterrupt) if stage == "slot" else None
        )
    note()

    expected = ["no update", "a reboot tries it", "on trial with 2 more", "slot a is what boots next", "cut off"]
    assert [part in sentence for part, sentence in zip(expected, sentences, strict=True)] == [True] * 5


def test_status_takes_no_lock_and_writes_nothing(board: Board) -> None:
    """It can be asked at any time, by anybody who may read."""
    before = sorted((path, path.stat().st_mtime_ns) for path in board.root.rglob("*"))
    board.status()
    assert sorted((path, path.stat().st_mtime_ns) for path in board.root.rglob("*")) == before


def test_a_board_whose_bootloader_file_is_broken(board: Board) -> None:
    """Every command says so in one sentence; nothing is switched."""
    (board.root / "boot/bootloader.env").write_bytes(b"\xff\x00")
    for command in (board.status, board.confirm, board.rollback, lambda: board.update("2.0")):
        with pytest.raises(HupfastError, match="makes no sense"):
            command()


def test_an_unhealthy_system_can_be_left_at_once(board: Board) -> None:
    """confirm --or-rollback, as at boot: exit 10, the old system comes up, and the cause is in `status` and exit 8."""
    check(board, "10-net", "echo no route; exit 1")
    board.update("2.0")
    board.boot()
    result = confirm(root=board.root, or_rollback=True)

    assert (result.outcome, result.exit_code, result.slot) == ("reboot", 10, "a")
    assert board.boot().version == "1.0"
    with pytest.raises(RolledBack, match="not healthy: 10-net ended with status 1: no route"):
        board.confirm()
    last = board.status().last
    assert (last.result, last.version) == ("fell back", "2.0")


def test_a_clean_shutdown_is_no_failed_try(board: Board) -> None:
    """confirm --keep-trial before each reboot: a trial of 3 tries survives 5 of them, and can be confirmed."""
    board.update("2.0")
    for _ in range(5):
        assert board.boot().version == "2.0"
        assert keep_trial(root=board.root).outcome == "kept"
    board.boot()
    assert board.confirm().outcome == "confirmed"
    assert keep_trial(root=board.root).outcome == "nothing"


def test_the_boot_after_leaving_is_made_when_asked_for(board: Board) -> None:
    """confirm --or-rollback --reboot runs the profile's command."""
    check(board, "10-net", "exit 1")
    board.update("2.0")
    board.boot()
    confirm(root=board.root, or_rollback=True, reboot=True)

    assert board.status().running == "a"
