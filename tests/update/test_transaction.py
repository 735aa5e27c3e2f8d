"""The way of one update, from the bundle to the bootloader, and its way back."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hupfast import install
from hupfast.bootloaders import BootState
from hupfast.errors import (
    Busy,
    Cancelled,
    DataError,
    DigestError,
    HupfastError,
    MediumError,
    MemoryBudgetError,
    NothingToDo,
    Refused,
    RolledBack,
    SourceError,
    TargetError,
    UsageError,
)
from hupfast.ext4 import Ext4
from hupfast.journal import Journal
from hupfast.lock import exclusive

Board = Any


def files_of(folder: Path) -> dict[str, str]:
    """A digest for each file below a folder, but for the lock."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_an_update_goes_all_the_way(board: Board) -> None:
    """
    Image, stamp, kept files, boot files and switch; after the reboot the new system runs, confirm keeps it.
    """
    stages: list[str] = []
    result = board.update("2.0", on_stage=stages.append)

    assert stages == ["fetch", "image", "slot", "boot", "switch"]
    assert (result.outcome, result.exit_code, result.slot) == ("installed", 10, "b")
    assert result.report is not None
    assert result.report.verified
    board.check_whole("b", "2.0")
    board.check_whole("a", "1.0")
    assert board.status().situation == "pending"
    assert Ext4(board.slot("b")).label() == "hup-root-b"
    assert Ext4(board.slot("b")).read("/etc/hostname", board.root / "x") == b"named by 1.0\n"

    assert (board.boot().slot, board.status().version) == ("b", "2.0")
    assert board.status().situation == "trial"
    assert board.confirm().outcome == "confirmed"
    assert [board.boot().slot for _ in range(5)] == ["b"] * 5
    assert board.status().situation == "idle"
    assert board.status().last is not None
    assert board.status().last.result == "confirmed"


def test_the_image_is_in_the_slot_byte_for_byte(board: Board, shelf: Any) -> None:
    """Before the slot stage stamps it, the slot equals the raw image; what is behind it stays."""
    raw = shelf.image("2.0").read_bytes()
    seen: list[bytes] = []
    board.update("2.0", on_stage=lambda stage: seen.append(board.slot("b").read_bytes()) if stage == "slot" else None)

    assert seen[0][: len(raw)] == raw
    assert seen[0][len(raw) :] == bytes(len(seen[0]) - len(raw))


def test_updates_go_back_and_forth(board: Board) -> None:
    """From a to b, from b to a, each time into the slot that does not run."""
    for version, slot in (("2.0", "b"), ("3.0", "a"), ("4.0", "b")):
        assert board.update(version).slot == slot
        assert board.boot().version == version
        board.confirm()
        board.check_whole(slot, version)


def test_an_unconfirmed_update_falls_back_with_its_reason(board: Board) -> None:
    """Three tries, then the old system; status and confirm tell it, and the next update can begin."""
    board.update("2.0")
    assert [board.boot().slot for _ in range(5)] == ["b", "b", "b", "a", "a"]

    status = board.status()
    assert (status.situation, status.version) == ("fell back", "1.0")
    assert "slot b was tried" in status.last.reason
    for _ in range(2):
        with pytest.raises(RolledBack, match=r"2.0 is not running") as caught:
            board.confirm()
        assert caught.value.exit_code == 8
    assert board.status().last.result == "fell back"
    assert board.update("2.0").outcome == "installed"
    assert board.boot().version == "2.0"
    assert board.confirm().outcome == "confirmed"


def test_a_bundle_that_is_there_already_is_hardly_written(board: Board) -> None:
    """After a fallback the same bundle again: only what the stamp had changed differs."""
    board.update("2.0")
    for _ in range(4):
        board.boot()
    report = board.update("2.0").report

    assert report.unchanged > report.image_size // 2
    board.check_whole("b", "2.0")


def test_the_users_files_and_the_other_slot_stay(board: Board) -> None:
    """Whatever is not of slot b, of its boot files or of the journal is as before."""
    before = files_of(board.root)
    board.update("2.0")
    after = files_of(board.root)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}

    assert changed == {
        "slots/b.img",
        "boot/b/kernel",
        "boot/b/dtb/board.dtb",
        "boot/bootloader.env",
        "state/journal.json",
        "state/shipped.json",
        "state/update.log",
    }


def test_the_bundle_may_stream_in(board: Board, shelf: Any) -> None:
    """From a pipe: boot files wait on the state partition meanwhile, and nothing of them is left."""
    with subprocess.Popen(["cat", shelf.bundle("2.0")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        result = board.update(process.stdout.fileno())
        process.stdout.close()

    assert result.plan.spool > 0
    board.check_whole("b", "2.0")
    assert list((board.root / "state/spool").iterdir()) == []


def test_the_bundle_may_come_from_a_web_server(board: Board, shelf: Any) -> None:
    """The same over HTTP."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    path = shelf.bundle("2.0")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(path.parent))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            board.update(f"http://127.0.0.1:{server.server_port}/{path.name}")
            with pytest.raises(SourceError):
                board.update(f"http://127.0.0.1:{server.server_port}/none.hup")
        finally:
            server.shutdown()
            thread.join()
    board.check_whole("b", "2.0")


def test_a_dry_run_changes_nothing(board: Board) -> None:
    """Not a file, and there is a plan that can be printed as JSON."""
    before = files_of(board.root)
    result = board.update("2.0", dry_run=True)

    assert result.outcome == "planned"
    assert result.exit_code == 0
    assert files_of(board.root) == before
    assert json.loads(json.dumps(result.as_dict()))["plan"]["steps"] == ["image", "slot", "boot", "switch"]


def test_the_reboot_is_the_profiles_command(board: Board) -> None:
    """For the virtual board it is a power cycle, after which the new system runs."""
    result = board.update("2.0", reboot=True)

    assert (result.outcome, result.exit_code) == ("rebooting", 0)
    assert board.status().situation == "trial"


def test_a_reboot_that_fails_is_told(board: Board) -> None:
    """The update is installed all the same."""
    board.profile(lambda text: text.replace('command = ["{python}"', 'command = ["false"'))
    with pytest.raises(HupfastError, match=r"false .* ended with status 1"):
        board.update("2.0", reboot=True)
    assert board.status().situation == "pending"


def test_repeating_it_before_the_reboot_changes_nothing(board: Board) -> None:
    """The same command gives the same answer, 10, until the reboot; and may still ask for the reboot."""
    board.update("2.0")
    before = files_of(board.root)
    again = board.update("2.0")

    assert (again.outcome, again.exit_code, again.plan) == ("pending", 10, None)
    assert files_of(board.root) == before
    assert board.update("2.0", reboot=True).outcome == "rebooting"
    assert board.status().running == "b"


def test_another_bundle_replaces_one_that_is_pending(board: Board) -> None:
    """The bootloader forgets the first before its slot is overwritten."""
    board.update("2.0")
    seen: list[BootState] = []

    def watch(stage: str) -> None:
        if stage == "image":
            from hupfast.board import load_board

            seen.append(load_board(None, board.root).bootloader(board.root).state())

    board.update("3.0", on_stage=watch)
    assert seen == [BootState("a", None, 0, None)]
    board.check_whole("b", "3.0")
    assert board.boot().version == "3.0"


@pytest.mark.parametrize(
    ("version", "options", "kind", "reason"),
    [
        ("1.0", {}, NothingToDo, "running already"),
        ("0.9", {}, Refused, "older than 1.0.*--allow-downgrade"),
        ("2.0", {"allow_unsigned": False}, Refused, "not signed"),
        ("2.0", {"key": "/no/such/key", "allow_unsigned": False}, UsageError, "does not exist"),
        ("2.0", {"key": "/etc/passwd", "allow_unsigned": False}, Refused, "/etc/passwd cannot be used"),
        ("2.0", {"key": "/etc/passwd"}, UsageError, "one of the two"),
        ("2.0", {"memory": 100_000}, MemoryBudgetError, "--memory"),
        ("2.0", {"board": "toaster"}, UsageError, "no profile"),
    ],
)
def test_refusals_of_the_plan(
    board: Board, version: str, options: dict[str, object], kind: type[HupfastError], reason: str
) -> None:
    """Each has its exit code and sentence, and nothing was written."""
    before = files_of(board.root)
    with pytest.raises(kind, match=reason):
        board.update(version, **options)
    assert files_of(board.root) == before


def test_a_downgrade_on_request(board: Board) -> None:
    """--allow-downgrade installs the older version."""
    board.update("0.9", allow_downgrade=True)
    assert board.boot().version == "0.9"


def test_a_bundle_of_another_board_or_for_newer_systems(board: Board, shelf: Any) -> None:
    """Exit 4, with both boards or both versions in the sentence."""
    with pytest.raises(Refused, match="for the board toaster, and this is the board virtual"):
        board.update(shelf.bundle("2.0", board="toaster"))
    with pytest.raises(Refused, match=r"needs system 1\.5 or later, and this is system 1\.0"):
        board.update(shelf.bundle("2.0", minimum_versions={"system": "1.5"}))
    with pytest.raises(Refused, match="needs hupfast 999 or later"):
        board.update(shelf.bundle("2.0", minimum_versions={"hupfast": "999"}))
    board.update(shelf.bundle("2.0", minimum_versions={"system": "1.0", "hupfast": "0.0.1"}))


def test_another_product_is_not_a_downgrade(board: Board, shelf: Any) -> None:
    """Versions are compared within one name only."""
    board.update(shelf.bundle("0.9", name="other-os"))
    assert board.boot().version == "0.9"


def test_slots_that_are_one_and_the_same(board: Board) -> None:
    """A link from slot b to slot a would destroy the running system: refused."""
    board.slot("b").unlink()
    board.slot("b").symlink_to("a.img")
    with pytest.raises(Refused, match="are the same"):
        board.update("2.0")
    board.slot("b").unlink()
    os.link(board.slot("a"), board.slot("b"))
    with pytest.raises(Refused, match="are the same"):
        board.update("2.0")
    board.check_whole("a", "1.0")


def test_slots_that_are_missing_or_too_small(board: Board) -> None:
    """Refused before the journal forgets what is in the slot."""
    os.truncate(board.slot("b"), 1 << 20)
    with pytest.raises(TargetError, match="has room for 1048576"):
        board.update("2.0")
    board.slot("b").unlink()
    with pytest.raises(Refused, match="slot b is missing"):
        board.update("2.0")
    assert board.status().situation == "idle"


def test_a_slot_that_is_held_by_a_loop_device(board: Board) -> None:
    """Somebody is using it: refused."""
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    made = subprocess.run(["losetup", "--find", "--show", board.slot("b")], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device here: {made.stderr.strip()}")
    try:
        with pytest.raises(TargetError, match=made.stdout.strip()):
            board.update("2.0")
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def test_too_little_room_for_the_boot_files(board: Board) -> None:
    """The peak of the copy counts, with the room that the profile gives."""
    board.profile(lambda text: text.replace('size = "256M"', 'size = "64K"'))
    with pytest.raises(Refused, match=r"boot files need \d+ bytes .* at the peak"):
        board.update("2.0")
    assert board.status().situation == "idle"


def test_too_little_room_for_the_state(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state partition must take what is put aside."""
    from hupfast.system import Space

    monkeypatch.setattr("hupfast.plan.free_space", lambda _: Space(1000, 4096))
    with pytest.raises(Refused, match="make room there"):
        board.update("2.0")


def test_missing_tools_are_refused(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written, and with the package to install."""
    monkeypatch.setattr("hupfast.gates.missing_programs", lambda _: ["tune2fs"])
    with pytest.raises(Refused, match=r"tune2fs .* install e2fsprogs"):
        board.update("2.0")


def test_an_update_on_trial_is_not_overwritten(board: Board) -> None:
    """Nor is the system to fall back to; the version on trial is "already running"."""
    board.update("2.0")
    board.boot()
    with pytest.raises(Refused, match="is on trial"):
        board.update("3.0")
    with pytest.raises(NothingToDo, match="on trial"):
        board.update("2.0")
    board.check_whole("a", "1.0")


def test_a_slot_that_boots_next_is_not_overwritten(board: Board) -> None:
    """After a rollback the reboot comes first."""
    board.installed("2.0")
    board.rollback()
    with pytest.raises(Refused, match="slot a is what boots next; reboot"):
        board.update("3.0")
    board.check_whole("a", "1.0")


def test_two_updates_at_once(board: Board) -> None:
    """The second ends at once, in 9."""
    with exclusive(board.root / "state"):
        for command in (lambda: board.update("2.0"), board.confirm, board.rollback):
            with pytest.raises(Busy):
                command()
        assert board.status().situation == "idle"
        assert board.update("2.0", dry_run=True).outcome == "planned"


def test_a_board_that_runs_an_unknown_slot(board: Board) -> None:
    """Nothing is guessed."""
    (board.root / "proc/cmdline").write_text("root=/dev/sda1\n")
    for command in (lambda: board.update("2.0"), board.confirm, board.rollback, board.status):
        with pytest.raises(Refused, match="cannot tell which slot is running"):
            command()


def flipped(path: Path, out: Path, offset: int) -> Path:
    """The file with one bit of one byte flipped."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("where", ["boot/kernel", "boot/dtb/board.dtb", "table", "frame", "end"])
def test_a_flipped_bit_in_a_bundle(board: Board, shelf: Any, tmp_path: Path, where: str, stream: bool) -> None:
    """Exit 5; the running system stays, and the right bundle goes through afterwards."""
    from hupfast.bundling import inspect_bundle

    path = shelf.bundle("2.0")
    offsets = inspect_bundle(str(path)).offsets
    image, size = offsets["rootfs.img.zst"], inspect_bundle(str(path)).manifest.image.size
    offset = {"table": image + 90, "frame": image + size // 2, "end": image + size - 1, **offsets}[where]
    bad = flipped(path, tmp_path / "bad.hup", offset)
    board.slot("b").write_bytes(b"old " * (3 << 18))  # so that every frame is needed
    with subprocess.Popen(["cat", bad], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with pytest.raises(DataError):
            board.update(process.stdout.fileno() if stream else bad)
        process.stdout.close()

    assert board.boot().slot == "a"
    board.check_whole("a", "1.0")
    if where.startswith("boot"):
        assert board.status().situation == "idle"
    board.update("2.0")
    board.check_whole("b", "2.0")
    assert board.boot().version == "2.0"


def test_a_bundle_that_is_cut_short(board: Board, shelf: Any, tmp_path: Path) -> None:
    """As a file: bad data, nothing is written. As a stream: exit 7, run again; the old system stays."""
    cut = tmp_path / "cut.hup"
    cut.write_bytes(shelf.bundle("2.0").read_bytes()[:200_000])
    before = files_of(board.root)
    with pytest.raises(DataError, match="cut short"):
        board.update(cut)
    assert files_of(board.root) == before
    with subprocess.Popen(["cat", cut], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with pytest.raises(SourceError, match="again"):
            board.update(process.stdout.fileno())
        process.stdout.close()
    assert board.boot().slot == "a"


def test_an_image_without_the_filesystem_of_the_profile(board: Board, shelf: Any, tmp_path: Path) -> None:
    """It is bad data, noticed before the switch."""
    from hupfast.bundling import create_bundle

    def packed(source: Path, out: Path) -> None:
        subprocess.run([sys.executable, "-m", "hupfast", "pack", "-q", source, out], check=True)

    (tmp_path / "noise.img").write_bytes(os.urandom(1 << 20))
    create_bundle(
        tmp_path / "noise.hup",
        name="os",
        version="2.0",
        boards=["virtual"],
        image=tmp_path / "noise.img",
        pack=packed,
    )
    with pytest.raises(DataError, match="no ext4 filesystem"):
        board.update(tmp_path / "noise.hup")
    assert board.boot().slot == "a"
    assert board.status().situation == "interrupted"


def test_a_failure_is_on_record(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status tells what stopped the last run; the next one continues."""

    def fails(*arguments: object, **options: object) -> None:
        raise MediumError("write failed at offset 4096", errno=5, offset=4096)

    with monkeypatch.context() as patch:
        patch.setattr(install, "fetch_image", fails)
        with pytest.raises(MediumError):
            board.update("2.0")
    status = board.status()
    assert (status.situation, status.stage) == ("interrupted", "begun")
    assert (status.last.result, status.last.reason) == ("failed", "write failed at offset 4096")
    assert [slot.system for slot in status.slots] == ["complete", "incomplete"]
    assert board.update("2.0").plan.again
    board.check_whole("b", "2.0")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Cancelled("cancelled")])
def test_ctrl_c_leaves_no_lock_and_is_on_record(board: Board, error: BaseException) -> None:
    """What the progress function raises comes out, the lock is free, and the same command goes on."""

    def stop(now: object) -> None:
        raise error

    with pytest.raises(type(error)):
        board.update("2.0", progress=stop)
    assert board.status().last.result == "cancelled"
    assert threading.active_count() == 1
    assert board.update("2.0").outcome == "installed"
    board.check_whole("b", "2.0")


@pytest.mark.parametrize("stop_at", ["image", "slot", "boot", "switch"])
def test_a_run_that_was_cut_off_goes_on(board: Board, stop_at: str) -> None:
    """The same command again ends right, and writes no more of the image than the stamp has changed since."""

    def stop(stage: str) -> None:
        if stage == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        board.update("2.0", on_stage=stop)
    result = board.update("2.0")
    assert result.plan.again
    if stop_at != "image":
        assert result.report.unchanged > result.report.image_size / 2
    board.check_whole("b", "2.0")
    assert board.boot().version == "2.0"


def test_a_stream_that_comes_again_is_compared(board: Board, shelf: Any) -> None:
    """It has to come whole, but what the slot holds of it is not written again."""

    def stop(stage: str) -> None:
        if stage == "boot":
            raise KeyboardInterrupt

    with subprocess.Popen(["cat", shelf.bundle("2.0")], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        with pytest.raises(KeyboardInterrupt):
            board.update(first.stdout.fileno(), on_stage=stop)
    with subprocess.Popen(["cat", shelf.bundle("2.0")], stdout=subprocess.PIPE) as again:
        assert again.stdout is not None
        result = board.update(again.stdout.fileno())
    assert result.plan.again
    assert result.report.unchanged > result.report.image_size / 2
    board.check_whole("b", "2.0")


def test_what_the_slot_holds_is_looked_at_again(board: Board) -> None:
    """A slot that somebody wrote to since the run was cut off holds the bundle's image afterwards."""

    def stop(stage: str) -> None:
        if stage == "switch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        board.update("2.0", on_stage=stop)
    shutil.copyfile(board.root / "slots/a.img", board.root / "slots/b.img")
    board.update("2.0")
    board.check_whole("b", "2.0")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MediumError("the journal's medium fails")])
def test_a_failure_behind_the_switch_disarms_it(board: Board, monkeypatch: pytest.MonkeyPatch, error) -> None:
    """When the update raises, the board boots what it booted before, even if the bootloader had been told already."""
    advance = Journal.advance

    def fail(journal: Journal, stage: str) -> None:
        if stage == "switched":
            raise error
        advance(journal, stage)

    monkeypatch.setattr(Journal, "advance", fail)
    with pytest.raises((KeyboardInterrupt, MediumError)):
        board.update("2.0")
    monkeypatch.undo()
    assert board.boot().version == "1.0"


def test_another_bundle_starts_from_the_image(board: Board) -> None:
    """What was done of the first one does not count for the second."""

    def stop(stage: str) -> None:
        if stage == "switch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        board.update("2.0", on_stage=stop)
    board.update("3.0")
    board.check_whole("b", "3.0")


def test_boot_files_that_changed_since_are_written_again(board: Board) -> None:
    """A cut-off run whose boot files were damaged meanwhile does not switch to them."""

    def stop(stage: str) -> None:
        if stage == "switch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        board.update("2.0", on_stage=stop)
    (board.root / "boot/b/kernel").write_bytes(b"damaged")
    board.update("2.0")
    board.check_whole("b", "2.0")


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(b"\0garbage"), lambda p: os.truncate(p, 50), Path.unlink])
def test_a_lost_journal_costs_nothing_but_work(board: Board, damage: Callable[[Path], object]) -> None:
    """The update starts again and ends right; status warns when there is something to warn of."""
    board.installed("2.0")
    damage(board.root / "state/journal.json")
    assert board.status().version == "2.0"

    assert board.update("3.0").slot == "a"
    assert board.boot().version == "3.0"
    board.confirm()
    board.check_whole("a", "3.0")
    board.check_whole("b", "2.0")


def test_the_order_is_manifest_then_trust_then_use(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrusted manifest is not even parsed."""
    monkeypatch.setattr("hupfast.bundle.parse_manifest", lambda data: pytest.fail("it was parsed"))
    with pytest.raises(Refused, match="not signed"):
        board.update("2.0", allow_unsigned=False)


def test_boot_files_are_checked_before_the_slot_is_touched(board: Board, shelf: Any, tmp_path: Path) -> None:
    """A bad boot file leaves the slot, the journal and the bootloader as they were."""
    from hupfast.bundling import inspect_bundle

    path = shelf.bundle("2.0")
    bad = flipped(path, tmp_path / "bad.hup", inspect_bundle(str(path)).offsets["boot/kernel"])
    before = files_of(board.root)
    with pytest.raises(DigestError, match="boot/kernel"):
        board.update(bad)
    assert files_of(board.root) == before


@pytest.mark.parametrize("failing", ["sync_boot", "apply_raw", "_note_complete"])
def test_an_error_behind_the_boot_files_puts_them_back(
    board: Board, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Boot files that both slots share would else be new with the old root; and the old ones are nobody's edit."""
    board.profile(lambda text: text.replace('boot_prefix = "a/"\n', "").replace('boot_prefix = "b/"\n', ""))
    (board.root / "boot/kernel").write_bytes(b"of the factory")

    def fails(*arguments: object) -> None:
        raise MediumError("the card is gone")

    with monkeypatch.context() as patch:
        patch.setattr(install, failing, fails)
        with pytest.raises(MediumError):
            board.update("2.0")
    assert (board.root / "boot/kernel").read_bytes() == b"of the factory"
    board.profile(lambda text: text.replace('boot_prefix = "a/"\n', "").replace('boot_prefix = "b/"\n', "")
                  .replace("[boot]\n", '[boot]\nedited = "refuse"\n'))  # fmt: skip
    board.update("2.0")
    assert (board.root / "boot/kernel").read_bytes() == b"kernel of 2.0\n" * 2000


@pytest.mark.parametrize(("reason", "kept"), [("SIGTERM", True), ("SIGHUP", True), ("", False)])
def test_a_shutdown_keeps_the_request(board: Board, reason: str, kept: bool) -> None:
    """Ctrl-C has ended the update; SIGTERM only says that the system goes down."""

    def stop(stage: str) -> None:
        if stage == "slot":
            raise KeyboardInterrupt(reason)

    with pytest.raises(KeyboardInterrupt):
        board.update("2.0", on_stage=stop)
    assert (board.root / "state/request.json").exists() == kept


def test_an_interrupt_right_behind_the_switch_takes_everything_back(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Switch and boot files go back together, also when the journal has the switch already."""
    board.profile(lambda text: text.replace('boot_prefix = "a/"\n', "").replace('boot_prefix = "b/"\n', ""))
    (board.root / "boot/kernel").write_bytes(b"of the factory")
    advance = Journal.advance

    def interrupted(journal: Journal, stage: str) -> None:
        advance(journal, stage)
        if stage == "switched":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            board.update("2.0")
    assert (board.root / "boot/kernel").read_bytes() == b"of the factory"
    assert board.boot().slot == "a"
    board.update("2.0")
    assert board.boot().slot == "b"
