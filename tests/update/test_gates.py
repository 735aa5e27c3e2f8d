"""What the plan looks at in the running system before it lets an update in."""

import hashlib
import json
from typing import Any

import pytest

from hupfast.errors import Refused
from hupfast.filesystem import put
from hupfast.journal import Journal

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
