"""Edits of boot files that hupfast has installed: seen, kept or refused, and never lost; leftovers go."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bootfiles import BootPlan, apply_boot_files, plan_boot_files, save_edits, shipped_by
from hupfast.durable import SUFFIX
from hupfast.errors import MediumError, Refused
from hupfast.manifest import BootMember
from hupfast.shipped import load_shipped, note_changed, save_shipped

Files = dict[str, bytes]


def members(files: Files) -> list[BootMember]:
    """What a manifest says of these files."""
    return [BootMember(f"boot/{name}", len(data), hashlib.sha256(data).digest()) for name, data in files.items()]


class Place:
    """A boot partition, and the state directory of its board."""

    def __init__(self, folder: Path) -> None:
        self.boot, self.state = folder / "boot", folder / "state"
        self.boot.mkdir()

    def plan(self, files: Files, prefix: str = "", edits: str = "keep") -> BootPlan:
        shipped = load_shipped(self.state)
        return plan_boot_files(
            self.boot, prefix, members(files), user_files=(), limit=None, shipped=shipped, edits=edits
        )

    def install(self, files: Files, prefix: str = "") -> None:
        """As the transaction does it."""
        plan, before = self.plan(files, prefix), load_shipped(self.state)
        save_shipped(self.state, shipped_by(plan, before, done=False))
        apply_boot_files(plan, lambda member: iter([files[member.path]]), self.state / "undo")
        save_shipped(self.state, shipped_by(plan, before, done=True))

    def actions(self, files: Files, prefix: str = "") -> dict[str, str]:
        """What would happen to each path."""
        return {change.path: change.action for change in self.plan(files, prefix).changes}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A boot partition that hupfast has filled once."""
    place = Place(tmp_path)
    place.install({"config": b"one", "dtb/x": b"dtb"})
    return place


def test_a_file_that_was_edited_stays(place: Place) -> None:
    """The edit is told in the plan and survives; the others are replaced."""
    (place.boot / "config").write_bytes(b"mine")
    new = {"config": b"two", "dtb/x": b"new"}

    assert place.actions(new) == {"config": "edited", "dtb/x": "replace"}
    place.install(new)
    assert (place.boot / "config").read_bytes() == b"mine"
    assert (place.boot / "dtb/x").read_bytes() == b"new"
    assert place.actions({"config": b"three"}) == {"config": "edited"}


def test_an_edit_that_is_taken_back_is_none_any_more(place: Place) -> None:
    """With the bytes that we shipped, the file is ours again."""
    (place.boot / "config").write_bytes(b"mine")
    place.install({"config": b"two"})
    (place.boot / "config").write_bytes(b"one")

    assert place.actions({"config": b"two"}) == {"config": "replace"}


def test_a_profile_may_refuse_edits(place: Place) -> None:
    """Exit 4 before anything is written, with the path."""
    (place.boot / "config").write_bytes(b"mine")
    with pytest.raises(Refused, match=r"boot/config was edited since"):
        place.plan({"config": b"two"}, edits="refuse")


def test_an_edit_is_saved_before_it_is_replaced(place: Place) -> None:
    """The usual way: the new file must go with the new system, and the user's work is kept beside the journal."""
    (place.boot / "config").write_bytes(b"mine")
    plan = place.plan({"config": b"two"}, edits="save")
    save_edits(plan, place.state / "edited")
    apply_boot_files(plan, lambda member: iter([b"two"]), place.state / "undo")

    assert (place.boot / "config").read_bytes() == b"two"
    assert (place.state / "edited/config").read_bytes() == b"mine"
    assert plan.undo_size == 2 * len(b"mine")


def test_an_edited_file_is_not_removed(tmp_path: Path) -> None:
    """With a prefix, what a bundle does not bring goes, but not a user's edit of it."""
    place = Place(tmp_path)
    place.install({"kernel": b"k", "cmdline": b"c"}, "a/")
    (place.boot / "a/cmdline").write_bytes(b"mine")

    assert place.actions({"kernel": b"k2"}, "a/") == {"a/kernel": "replace", "a/cmdline": "edited"}


def test_what_hupfast_did_not_install_is_no_edit(place: Place) -> None:
    """The factory's files are replaced as ever, and a lost list sees no edits."""
    (place.boot / "factory").write_bytes(b"x")
    assert place.actions({"factory": b"y"}) == {"factory": "replace"}

    (place.boot / "config").write_bytes(b"mine")
    (place.state / "shipped.json").write_bytes(b"{")
    assert place.actions({"config": b"two"}) == {"config": "replace"}


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_no_moment_of_an_update_looks_like_an_edit(place: Place, stop: int) -> None:
    """Cut off before, between or behind the files (and not undone), both old and new ones count as ours."""
    new = {"config": b"two", "dtb/x": b"new"}
    plan, before = place.plan(new), load_shipped(place.state)
    save_shipped(place.state, shipped_by(plan, before, done=False))
    for name in list(new)[:stop]:
        (place.boot / name).write_bytes(new[name])

    assert "edited" not in place.actions({"config": b"three", "dtb/x": b"three"}).values()


def test_leftovers_of_fsck_are_removed_first_and_give_their_room(place: Place) -> None:
    """FSCK0000.REC goes before the copy begins; other files that end in .REC are somebody's."""
    (place.boot / "FSCK0000.REC").write_bytes(bytes(100_000))
    (place.boot / "music.REC").write_bytes(b"keep")
    (place.boot / f"dtb/x{SUFFIX}").write_bytes(b"half")
    new = {"config": b"two", "dtb/x": b"new"}
    plan = place.plan(new)

    assert [change.path for change in plan.changes if change.action == "leftover"] == [
        "FSCK0000.REC",
        f"dtb/x{SUFFIX}",
    ]
    assert plan.peak == 0
    place.install(new)
    assert sorted(path.name for path in place.boot.rglob("*") if path.is_file()) == ["config", "music.REC", "x"]


def test_a_failed_copy_leaves_the_edit_list_usable(place: Place) -> None:
    """The files are put back, and are not taken for edits afterwards."""

    def broken(member: BootMember) -> Iterator[bytes]:
        yield b"t"
        raise MediumError("the card is gone")

    plan, before = place.plan({"config": b"two"}), load_shipped(place.state)
    save_shipped(place.state, shipped_by(plan, before, done=False))
    with pytest.raises(MediumError):
        apply_boot_files(plan, broken, place.state / "undo")

    assert place.actions({"config": b"three"}) == {"config": "replace"}


@given(st.dictionaries(st.text(), st.frozensets(st.text(max_size=3), max_size=3), max_size=4))
def test_the_list_comes_back(tmp_path_factory: pytest.TempPathFactory, shipped: dict[str, frozenset[str]]) -> None:
    """Whatever the names."""
    folder = tmp_path_factory.mktemp("state")
    save_shipped(folder, shipped)
    assert load_shipped(folder) == shipped


@given(st.binary(max_size=80))
def test_a_damaged_list_is_none(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """No exception comes out of any bytes."""
    folder = tmp_path_factory.mktemp("state")
    (folder / "shipped.json").write_bytes(data)
    assert load_shipped(folder) == {}


def test_what_a_switch_changes_is_no_edit_of_the_users(tmp_path: Path) -> None:
    """tryboot puts a slot's own root= into its cmdline.txt; what the user writes there afterwards is an edit again."""
    place = Place(tmp_path)
    place.install({"cmdline.txt": b"root=old"}, "a/")
    (place.boot / "a/cmdline.txt").write_bytes(b"root=own")
    note_changed(place.state, place.boot, ["a/cmdline.txt", "b/cmdline.txt"])
    assert [change.action for change in place.plan({"cmdline.txt": b"root=new"}, "a/").changes] == ["replace"]

    (place.boot / "a/cmdline.txt").write_bytes(b"root=own quiet")
    assert [change.action for change in place.plan({"cmdline.txt": b"root=new"}, "a/").changes] == ["edited"]
