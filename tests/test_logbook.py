"""The log that people read."""

import re
from pathlib import Path

from hupfast.logbook import Logbook


def test_a_note_is_one_line_with_its_time(tmp_path: Path) -> None:
    """Whatever the sentence has in it."""
    log = Logbook(tmp_path)
    log.note("first")
    log.note("with a\nline break")
    first, second = log.path.read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ first", first)
    assert second.endswith("Z with a line break")


def test_a_full_log_makes_room_for_a_new_one(tmp_path: Path) -> None:
    """One old log is kept, so the room is bounded."""
    log = Logbook(tmp_path)
    for number in range(3):
        log.path.write_text(f"{number}" * 200_000)
        log.note("new")
    assert log.path.read_text().count("\n") == 1
    assert (tmp_path / "update.log.1").read_text() == "2" * 200_000


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """No directory, or a link in its place."""
    Logbook(tmp_path / "missing").note("lost")
    (tmp_path / "update.log").symlink_to(tmp_path / "victim")
    Logbook(tmp_path).note("lost")
    assert not (tmp_path / "victim").exists()
