"""What the plan looks at in the running system before it lets an update in."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from signer import key_id, make_pair, sign

from hupfast.errors import DigestError, Refused
from hupfast.filesystem import put
from hupfast.journal import Journal
from hupfast.policy import seconds_of
from hupfast.signing import attach, export_manifest

Board = Any


def add(board: Board, text: str) -> None:
    """A table more in the board's profile."""
    board.profile(lambda profile: profile + "\n" + text)


def with_custom_module(board: Board) -> None:
    """A driver that somebody has loaded from elsewhere, beside one of the system's own."""
    put(board.root, "proc/sys/kernel/osrelease", b"6.1.0\n")
    put(board.root, "proc/modules", b"mydriver 16384 0 - Live 0x0\nvfat 20480 1 - Live 0x0\n")
    put(board.root, "lib/modules/6.1.0/kernel/fs/fat/vfat.ko.xz", b"")


def test_a_custom_kernel_module_is_told(board: Board) -> None:
    """By default it is a warning: the board may do without it."""
    with_custom_module(board)
    plan = board.update("2.0", dry_run=True).plan
    assert [warning for warning in plan.warnings if "mydriver" in warning]
    assert not [warning for warning in plan.warnings if "vfat" in warning]


def test_a_custom_kernel_module_is_refused_where_the_profile_says_so(board: Board) -> None:
    """As balenaHUP did."""
    with_custom_module(board)
    add(board, '[update]\ncustom_modules = "refuse"\n')
    with pytest.raises(Refused, match="mydriver"):
        board.update("2.0")
    put(board.root, "lib/modules/6.1.0/updates/mydriver.ko", b"")
    assert board.update("2.0").outcome == "installed"


def test_changed_files_of_the_running_system_are_told(board: Board) -> None:
    """A file that is not as it was shipped is a warning, but not one that is always changed."""
    put(board.root, "etc/shipped", b"as shipped\n")
    put(board.root, "var/log/messages", b"")
    lines = [f"{hashlib.sha256(b'as shipped' + end).hexdigest()}  ./{name}\n" for end, name in
             ((b"\n", "etc/shipped"), (b"?", "var/log/messages"))]  # fmt: skip
    put(board.root, "root.sha256", "".join(lines).encode())
    add(board, '[fingerprints]\nroot = "/root.sha256"\nignore = ["var/log/"]\n')
    assert board.update("2.0", dry_run=True).plan.warnings == ()

    put(board.root, "etc/shipped", b"edited\n")
    (warning,) = board.update("2.0", dry_run=True).plan.warnings
    assert "etc/shipped" in warning
    assert board.update("2.0").outcome == "installed"


def test_a_fingerprint_that_is_missing_stops_nothing(board: Board) -> None:
    """It is advice."""
    add(board, '[fingerprints]\nboot = "/boot.sha256"\n')
    (warning,) = board.update("2.0", dry_run=True).plan.warnings
    assert "boot.sha256" in warning


def test_config_json_comes_from_where_it_was(board: Board) -> None:
    """The plan tells it, the update copies it, and never over one that is there."""
    (board.root / "boot/config.json").unlink()
    put(board.root, "mnt/conf/config.json", b'{"deviceType": "virtual"}')
    add(board, '[config]\nfile = "/boot/config.json"\nsources = ["/mnt/conf/config.json"]\nrequired = ["deviceType"]\n')
    result = board.update("2.0", dry_run=True)
    assert json.loads(json.dumps(result.as_dict()))["plan"]["config_from"] == str(board.root / "mnt/conf/config.json")
    assert not (board.root / "boot/config.json").exists()

    board.update("2.0")
    assert (board.root / "boot/config.json").read_bytes() == b'{"deviceType": "virtual"}'


def test_a_config_json_that_cannot_be_used_is_refused(board: Board) -> None:
    """Before anything is written."""
    put(board.root, "boot/config.json", b'{"deviceType": ')
    add(board, '[config]\nfile = "/boot/config.json"\n')
    with pytest.raises(Refused, match=r"config\.json"):
        board.update("2.0")
    assert Journal(board.root / "state").state.transaction is None


EXPIRES = "2027-01-31T12:00:00Z"


def at(monkeypatch: pytest.MonkeyPatch, time: str) -> None:
    """The board's clock."""
    monkeypatch.setattr("hupfast.gates.time.time", lambda: float(seconds_of(time)))


def test_expiry_where_the_profile_asks(board: Board, shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 4 once it has expired; a profile that does not ask takes it."""
    bundle = shelf.bundle("2.0", expires=EXPIRES)
    at(monkeypatch, EXPIRES)
    assert board.update(bundle, dry_run=True).outcome == "planned"
    add(board, '[trust]\nexpiry = "check"\n')
    with pytest.raises(Refused, match=f"os 2.0 has expired at {EXPIRES}"):
        board.update(bundle)
    at(monkeypatch, "2027-01-31T11:59:59Z")
    assert board.update(bundle).outcome == "installed"


def test_the_least_version_of_a_board(board: Board) -> None:
    """Whatever the options, the journal and the name of the system say."""
    add(board, '[trust]\nminimum_version = "2.0"\n')
    for options in ({}, {"allow_downgrade": True}):
        with pytest.raises(Refused, match=r"2\.0"):
            board.update("1.5", **options)
    assert board.update("2.0").outcome == "installed"


def test_a_minimum_for_a_version_that_nobody_knows(board: Board, shelf: Any) -> None:
    """A board that cannot tell what it runs may be too old: refused, unless the user says that it is not."""
    bundle = shelf.bundle("2.0", minimum_versions={"system": "1.5"})
    journal = board.journal()
    journal.save(journal.state.with_slot("a", None))
    for name in ("etc/os-release", "usr/lib/os-release"):
        (board.root / name).unlink(missing_ok=True)
    with pytest.raises(
        Refused, match=r"needs system 1\.5 or later, .* cannot be told: .*VERSION_ID.*--allow-downgrade"
    ):
        board.update(bundle, dry_run=True)
    assert board.update(bundle, dry_run=True, allow_downgrade=True).outcome == "planned"
    put(board.root, "etc/os-release", b"VERSION_ID=1.5\n")
    assert board.update(bundle, dry_run=True).outcome == "planned"
    assert board.update("2.1", dry_run=True).outcome == "planned"


def test_a_replayed_version_after_a_rollback(board: Board) -> None:
    """The board runs 1.0 again, and 2.0 was confirmed: 1.5 would be a step back, though not from what runs."""
    board.installed("2.0")
    board.rollback()
    assert board.boot().version == "1.0"
    for version in ("1.5", "2.0-rc1"):
        with pytest.raises(Refused, match=f"{version} is older than 2.0, which was confirmed here.*--allow-downgrade"):
            board.update(version)
    assert board.update("1.5", allow_downgrade=True, dry_run=True).outcome == "planned"
    assert board.update("2.0", dry_run=True).outcome == "planned"
    assert board.update("2.1").outcome == "installed"


def test_a_version_that_was_never_confirmed_is_no_limit(board: Board) -> None:
    """An update that fell back does not forbid an older one, which may be what repairs it."""
    board.update("3.0")
    board.boot()
    board.rollback()
    assert board.boot().version == "1.0"
    assert board.update("2.0").outcome == "installed"


def test_the_limit_outlives_the_slot(board: Board) -> None:
    """Both slots are overwritten with what was allowed; 2.0 is still known."""
    board.installed("2.0")
    board.rollback()
    board.boot()
    board.update("1.5", allow_downgrade=True)
    board.boot()
    board.confirm()
    assert {record.version for record in board.journal().state.slots.values()} == {"1.0", "1.5"}
    with pytest.raises(Refused, match=r"older than 2\.0, which was confirmed"):
        board.update("1.6")


def test_a_signed_update_from_front_to_end(board: Board, shelf: Any, tmp_path: Path) -> None:
    """The key is installed below the board's root: its bundle is taken, and refused without its key or when changed."""
    private, public = make_pair(tmp_path)
    bundle = tmp_path / "signed.hup"
    bundle.write_bytes(shelf.bundle("2.0").read_bytes())
    export_manifest(bundle, tmp_path / "bytes", force=False)
    (tmp_path / "raw").write_bytes(sign(private, (tmp_path / "bytes").read_bytes()))
    attach(bundle, tmp_path / "raw", public, force=False)
    with pytest.raises(Refused, match="has no key"):
        board.update(bundle, allow_unsigned=False)
    put(board.root, "etc/hupfast/keys/other.pem", make_pair(tmp_path, "other")[1].read_bytes())
    with pytest.raises(Refused, match="not trusted here"):
        board.update(bundle, allow_unsigned=False)
    assert board.update(bundle, allow_unsigned=False, key=public, dry_run=True).outcome == "planned"
    put(board.root, "etc/hupfast/keys/release.pem", public.read_bytes())
    bad = tmp_path / "bad.hup"
    bad.write_bytes(bundle.read_bytes().replace(b'"version": "2.0"', b'"version": "3.0"'))
    for allow in (False, True):
        with pytest.raises(DigestError, match=key_id(public)):
            board.update(bad, allow_unsigned=allow)
    assert board.update(bundle, allow_unsigned=False).outcome == "installed"
    assert board.boot().version == "2.0"
