"""
Boot files: planned to the cluster, written whole or not at all, put back byte for byte, users' files
untouched.
"""

import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast import bootfiles, durable
from hupfast.bootfiles import BootPlan, apply_boot_files, forget_undo, plan_boot_files, undo_boot_files
from hupfast.durable import SUFFIX
from hupfast.errors import HupfastError, MediumError, MismatchError, Refused
from hupfast.manifest import BootMember
from hupfast.system import Space

USER = ("config.json", "overlays/user/")
Files = dict[str, bytes]


def put(folder: Path, files: Files) -> None:
    """Make files below a folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def snapshot(folder: Path) -> Files:
    """All files below a folder with their bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def members(files: Files) -> list[BootMember]:
    """What a manifest says of these files."""
    return [BootMember(f"boot/{name}", len(data), hashlib.sha256(data).digest()) for name, data in files.items()]


def reader(files: Files) -> Callable[[BootMember], Iterator[bytes]]:
    """Gives their bytes as a bundle does."""
    return lambda member: iter([files[member.path]])


class Place:
    """A boot partition and an undo directory."""

    def __init__(self, folder: Path) -> None:
        self.boot = folder / "boot"
        self.undo = folder / "undo"
        self.boot.mkdir()

    def plan(self, files: Files, prefix: str = "", limit: int | None = None) -> BootPlan:
        return plan_boot_files(self.boot, prefix, members(files), user_files=USER, limit=limit)

    def apply(self, files: Files, prefix: str = "") -> None:
        apply_boot_files(self.plan(files, prefix), reader(files), self.undo)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty boot partition."""
    return Place(tmp_path)


def test_files_of_a_slot_are_replaced_as_a_whole(place: Place) -> None:
    """With a prefix: new ones come, equal ones stay, others go, and the other slot's are not looked at."""
    put(place.boot, {"b/kernel": b"old", "b/same": b"same", "b/gone/x": b"x", "a/kernel": b"running"})
    actions = {
        change.path: change.action
        for change in place.plan({"kernel": b"new", "same": b"same", "d/y": b"y"}, "b/").changes
    }
    assert actions == {"b/kernel": "replace", "b/same": "same", "b/d/y": "write", "b/gone/x": "remove"}

    place.apply({"kernel": b"new", "same": b"same", "d/y": b"y"}, "b/")
    assert snapshot(place.boot) == {"b/kernel": b"new", "b/same": b"same", "b/d/y": b"y", "a/kernel": b"running"}


def test_shared_boot_files_are_never_removed(place: Place) -> None:
    """Without a prefix what the bundle does not have stays."""
    put(place.boot, {"kernel": b"old", "start.elf": b"firmware"})
    place.apply({"kernel": b"new"})

    assert snapshot(place.boot) == {"kernel": b"new", "start.elf": b"firmware"}


def test_the_users_files_are_never_touched(place: Place) -> None:
    """Neither replaced, nor made, nor removed; in any case of letters, and whole directories."""
    users = {"Config.JSON": b"mine", "overlays/USER/a.dtbo": b"mine too"}
    put(place.boot, users)
    bundle = {
        "config.json": b"theirs",
        "overlays/user/a.dtbo": b"theirs",
        "overlays/user/new": b"theirs",
        "kernel": b"k",
    }
    place.apply(bundle)

    found = snapshot(place.boot)
    assert {name: found.pop(name) for name in users} == users
    assert found == {"kernel": b"k"}


def test_undo_puts_everything_back(place: Place) -> None:
    """Replaced, removed and added files are as before, byte for byte; a second undo changes nothing."""
    before = {"b/kernel": os.urandom(300_000), "b/old": b"o", "b/keep": b"k"}
    put(place.boot, before)
    place.apply({"kernel": b"new", "keep": b"k", "more": b"m"}, "b/")
    assert snapshot(place.boot) != before

    assert undo_boot_files(place.boot, place.undo)
    assert snapshot(place.boot) == before
    assert not undo_boot_files(place.boot, place.undo)
    assert snapshot(place.undo) == {}


def test_a_forgotten_undo_changes_nothing(place: Place) -> None:
    """Once the update is complete, its boot files stay."""
    put(place.boot, {"kernel": b"old"})
    place.apply({"kernel": b"new"})
    forget_undo(place.undo)
    forget_undo(place.undo)

    assert not undo_boot_files(place.boot, place.undo)
    assert snapshot(place.boot) == {"kernel": b"new"}


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_failure_puts_everything_back(place: Place, broken: int) -> None:
    """Whichever file fails, the boot partition is as before and the error comes out."""
    before = {"b/0": b"old 0", "b/2": b"old 2", "b/stale": b"stale"}
    put(place.boot, before)
    new = {"0": b"new 0", "1": b"new 1", "2": b"new 2"}

    def fails(member: BootMember) -> Iterator[bytes]:
        yield b"half"
        if member.path == str(broken):
            raise MediumError("no power")
        yield new[member.path]

    plan = place.plan({name: b"half" + data for name, data in new.items()}, "b/")
    with pytest.raises(MediumError, match="no power"):
        apply_boot_files(plan, fails, place.undo)
    assert snapshot(place.boot) == before


def test_a_medium_that_does_not_keep_what_is_written_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is read back; other bytes than written end in exit 6, and the old file comes back."""
    put(place.boot, {"kernel": b"old"})
    monkeypatch.setattr(bootfiles, "digest", lambda chunks: hashlib.sha256(b"".join(chunks) + b"flip").digest())
    with pytest.raises(MismatchError, match="does not hold what was written"):
        place.apply({"kernel": b"new"})
    assert snapshot(place.boot) == {"kernel": b"old"}


@pytest.mark.parametrize("moment", range(40))
def test_a_cut_at_any_moment_can_be_undone(place: Place, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """
    A run that dies between any two durable steps leaves each name whole, old or new, and undo restores all.
    """
    before = {"b/kernel": b"old kernel", "b/stale": b"stale", "a/kernel": b"running"}
    after = {"b/kernel": b"new kernel", "b/dtb": b"tree", "a/kernel": b"running"}
    put(place.boot, before)
    left = moment

    class Dead(BaseException):
        """The process is gone."""

    def dies(call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object) -> object:
            nonlocal left
            if left == 0:
                raise Dead
            left -= 1
            return call(*arguments)

        return wrapped

    files = {"kernel": b"new kernel", "dtb": b"tree"}
    plan = place.plan(files, "b/")
    with monkeypatch.context() as patch:
        patch.setattr(bootfiles, "undo_boot_files", lambda *_: None)  # a dead process undoes nothing
        patch.setattr(os, "fsync", dies(os.fsync))
        patch.setattr(os, "rename", dies(os.rename))
        try:
            apply_boot_files(plan, reader(files), place.undo)
        except Dead:
            pass
        else:
            assert snapshot(place.boot) == after
    for name, data in snapshot(place.boot).items():
        assert name.endswith(SUFFIX) or data in (before.get(name), after.get(name))

    undo_boot_files(place.boot, place.undo)
    assert {name: data for name, data in snapshot(place.boot).items() if not name.endswith(SUFFIX)} in (before, after)
    place.apply(files, "b/")
    assert snapshot(place.boot) == after


def test_leftovers_of_a_cut_off_run_are_cleaned(place: Place) -> None:
    """Our unfinished files go; those of others stay."""
    put(place.boot, {"b/kernel" + SUFFIX: b"half", "b/x.tmp": b"theirs", "kernel" + SUFFIX: b"elsewhere"})
    place.apply({"kernel": b"new", "x.tmp": b"theirs"}, "b/")

    assert snapshot(place.boot) == {"b/kernel": b"new", "b/x.tmp": b"theirs", "kernel" + SUFFIX: b"elsewhere"}


def test_what_is_in_the_way_is_refused(place: Place) -> None:
    """A missing boot directory, a directory or link in the place of a file, a file in that of a directory."""
    (place.boot / "b/kernel").mkdir(parents=True)
    with pytest.raises(Refused, match="no regular file"):
        place.plan({"kernel": b""}, "b/")
    (place.boot / "link").symlink_to("b")
    with pytest.raises(Refused, match="must be a directory"):
        place.plan({"link/kernel": b""})
    with pytest.raises(Refused, match="no regular file"):
        place.plan({"link": b""})
    put(place.boot, {"file": b""})
    with pytest.raises(Refused, match="must be a directory"):
        place.plan({"file/kernel": b""})
    with pytest.raises(Refused, match="mounted"):
        plan_boot_files(place.boot / "no", "", [], user_files=(), limit=None)


def test_an_undo_index_that_makes_no_sense_is_an_error(place: Place) -> None:
    """What was replaced is not guessed at."""
    put(place.undo, {"index.json": b"garbage"})
    with pytest.raises(HupfastError, match="cannot be understood"):
        undo_boot_files(place.boot, place.undo)


sizes = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 40_000), max_size=5)


@settings(deadline=None, max_examples=40)
@given(old=sizes, new=sizes, cluster=st.sampled_from([512, 4096, 32768]))
def test_the_peak_is_what_the_copy_really_takes(
    tmp_path_factory: pytest.TempPathFactory, old: dict[str, int], new: dict[str, int], cluster: int
) -> None:
    """
    Counted cluster by cluster while the files are written one after the other, it is never more and once as
    much.
    """
    place = Place(tmp_path_factory.mktemp("peak"))
    put(place.boot, {name: b"o" * size for name, size in old.items()})
    files = {name: b"n" * size for name, size in new.items()}

    def used() -> int:
        return sum(-(-len(data) // cluster) * cluster for data in snapshot(place.boot).values())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootfiles, "free_space", lambda _: Space(1 << 40, cluster))
        plan = place.plan(files)
        start, seen = used(), [0]
        rename = os.rename

        def watched(source: Path, target: Path) -> None:
            if place.boot in Path(target).parents:
                seen.append(used() - start)
            rename(source, target)

        patch.setattr(os, "rename", watched)
        apply_boot_files(plan, reader(files), place.undo)
    assert plan.peak == max(seen)


def test_a_limit_counts_what_is_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free is the limit less the clusters in use, and never less than nothing."""
    monkeypatch.setattr(bootfiles, "free_space", lambda _: Space(1 << 40, 4096))
    put(place.boot, {"a": b"x", "b/c": bytes(5000)})

    assert place.plan({}, limit=1 << 20).free == (1 << 20) - 3 * 4096
    assert place.plan({}, limit=100).free == 0
    assert place.plan({}).free == 1 << 40


def test_a_leftover_with_the_clusters_of_a_file_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is removed."""
    put(place.boot, {"kernel": b"old", "kernel" + SUFFIX: b"half"})
    monkeypatch.setattr(durable, "ioctl", lambda *_: struct.pack("i", 7))
    with pytest.raises(Refused, match=r"fsck\.fat"):
        place.plan({"kernel": b"new"})
    assert snapshot(place.boot) == {"kernel": b"old", "kernel" + SUFFIX: b"half"}


def test_unfinished_directories_are_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither they nor what is in them is looked at, counted or removed."""
    put(place.boot, {"b/kernel": b"old", f"b/overlays{SUFFIX}/junk": b"x", f"b{SUFFIX}/junk": b"x"})
    lstat = os.lstat

    def looked(path: str | Path) -> os.stat_result:
        assert SUFFIX not in str(path)
        return lstat(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", looked)
        patch.setattr(Path, "lstat", looked)
        plan = place.plan({"kernel": b"new", "overlays/one": b"1"}, "b/", limit=1 << 20)
    assert {change.path for change in plan.changes} == {"b/kernel", "b/overlays/one"}
    place.apply({"kernel": b"new", "overlays/one": b"1"}, "b/")
    assert (place.boot / f"b/overlays{SUFFIX}/junk").exists()


@pytest.mark.parametrize("call", ["scandir", "lstat"])
def test_a_damaged_boot_partition_is_a_medium_error(place: Place, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Names that cannot be read are told of, and not taken for missing."""
    put(place.boot, {"b/kernel": b"old"})

    def fails(path: str | Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(*(Path, "lstat") if call == "lstat" else (os, "scandir"), fails)
    with pytest.raises(MediumError, match=r"cannot look at .*boot"):
        place.plan({"kernel": b"new"}, "b/")
