"""What is held while a board is updated: services that stop and start again, shutdowns, an application's locks."""

import os
import time
from pathlib import Path

import pytest

from hupfast.errors import HupfastError, Refused
from hupfast.hold import Hold, held_locks, inhibited, read_hold, stopped
from hupfast.profile import load_profile

SYSTEMCTL = """#!/bin/sh
# The units in LOG.active are active; one named broken.service does not stop.
echo "$*" >> "$LOG"
case $1 in
is-active) grep -qx "$3" "$LOG.active";;
stop) [ "$2" != broken.service ];;
esac
"""
INHIBIT = '#!/bin/sh\necho "$*" >> "$LOG"\n[ "$1" != fails ] || exit 1\ncat\necho released >> "$LOG"\n'


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system with systemd below tmp_path/root, and programs that write down how they were called."""
    (tmp_path / "root/run/systemd/system").mkdir(parents=True)
    programs = {
        "chroot": f'#!/bin/sh\nshift\nPATH={tmp_path}/bin:$PATH exec "$@"\n',
        "systemctl": SYSTEMCTL,
        "systemd-inhibit": INHIBIT,
    }
    log = tmp_path / "log"
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text.replace("$LOG", str(log)))
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    log.with_suffix(".active").write_text("app.service\nother.timer\nbroken.service\n")
    return log


def test_active_units_stop_and_start_again_in_reverse(log: Path, tmp_path: Path) -> None:
    """A unit that was not active is left as it is."""
    with stopped(["app.service", "idle.service", "other.timer"], tmp_path / "root") as services:
        assert services.units == ["app.service", "other.timer"]
        services.start()
    lines = [line for line in log.read_text().splitlines() if not line.startswith("is-active")]
    assert lines == ["stop app.service", "stop other.timer", "start other.timer", "start app.service"]


def test_units_start_again_when_the_update_fails(log: Path, tmp_path: Path) -> None:
    """And it is the update's error that comes out."""
    with pytest.raises(HupfastError, match="the update"), stopped(["app.service"], tmp_path / "root"):
        raise HupfastError("the update")
    assert log.read_text().splitlines()[-1] == "start app.service"


def test_units_stay_stopped_for_a_reboot(log: Path, tmp_path: Path) -> None:
    """Whoever does not start them leaves them stopped."""
    with stopped(["app.service"], tmp_path / "root"):
        pass
    assert log.read_text().splitlines()[-1] == "stop app.service"


def test_a_unit_that_does_not_stop_is_an_error(log: Path, tmp_path: Path) -> None:
    """The update has not begun then, and those that were stopped before start again."""
    units = ["app.service", "broken.service"]
    with pytest.raises(HupfastError, match=r"broken\.service"), stopped(units, tmp_path / "root"):
        pass
    assert log.read_text().splitlines()[-2:] == ["start broken.service", "start app.service"]


def test_without_systemd_nothing_is_called(log: Path, tmp_path: Path) -> None:
    """A board with another init has no units, and no inhibitor."""
    with stopped(["app.service"], tmp_path), inhibited(tmp_path, wanted=True):
        pass
    assert not log.exists()


def test_shutdown_is_held_off_until_the_block_ends(log: Path, tmp_path: Path) -> None:
    """By a program that ends with this process's pipe, so also when the process dies."""
    with inhibited(tmp_path / "root", wanted=True):
        pass
    first, last = log.read_text().splitlines()
    assert "--what=shutdown:sleep" in first
    assert "--mode=block" in first
    assert last == "released"


def test_a_system_that_cannot_be_held_is_updated_all_the_same(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing systemd-inhibit costs the protection, not the update."""
    monkeypatch.setenv("PATH", "/nowhere")
    with inhibited(tmp_path / "root", wanted=True):
        pass
    assert not log.exists()


def test_locks_are_found_by_pattern(tmp_path: Path) -> None:
    """As balena's supervisor has them, one for each service."""
    lock = tmp_path / "tmp/balena-supervisor/services/1/main/updates.lock"
    hold = Hold(locks=("/tmp/balena-supervisor/services/*/*/updates.lock",))
    assert held_locks(hold, tmp_path) == ()
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert held_locks(hold, tmp_path) == (lock,)


def test_locks_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reboot that nobody is there to ask for again comes when the application lets it."""
    lock = tmp_path / "lock"
    lock.touch()
    monkeypatch.setattr(time, "sleep", lambda seconds: lock.unlink())
    assert held_locks(Hold(locks=("/lock",), lock_wait=600), tmp_path) == ()


def test_a_wrong_unit_is_refused_with_its_line(tmp_path: Path) -> None:
    """A word that systemctl would take for an option, or that is no unit."""
    (tmp_path / "board.toml").write_text('[update]\nstop = ["--now"]\n')
    with pytest.raises(Refused, match="line 2"):
        read_hold(load_profile(tmp_path / "board.toml").table("update"))
