"""Bootloaders in raw ranges: at any cut one copy is whole, and what is not theirs is never touched."""

import errno
import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systree import SysTree

from conftest import MIB, content
from hupfast.bootfiles import forget_undo
from hupfast.errors import DigestError, HupfastError, MismatchError, Refused
from hupfast.manifest import BootMember, RawMember
from hupfast.profile import load_profile
from hupfast.raw import (
    RawChange,
    RawRange,
    find_disk,
    members_to_fetch,
    plan_raw,
    read_ranges,
    undo_size,
)
from hupfast.rawwrite import apply_raw, undo_raw

K = 1024
ROOM = 8 * K
OLD, NEW, NEXT = b"old!" * 1000, os.urandom(3000), os.urandom(5000)
TWO = RawRange("MLO", (16 * K, 32 * K), ROOM, single_allowed=False)


def member(data: bytes, name: str = "MLO") -> RawMember:
    """What a manifest says of a bootloader."""
    return RawMember(f"raw/{name}", len(data), hashlib.sha256(data).digest())


def reader(*blobs: bytes) -> Callable[[BootMember], Iterator[bytes]]:
    """Gives their bytes as a bundle does, in pieces."""
    by_digest = {hashlib.sha256(data).digest(): data for data in blobs}
    return lambda wanted: iter([by_digest[wanted.sha256][:1000], by_digest[wanted.sha256][1000:]])


class Place:
    """A disk that is a file, with two copies of OLD, and an undo directory."""

    def __init__(self, folder: Path, copies: Sequence[bytes] = (OLD, OLD), offsets: Sequence[int] = ()) -> None:
        self.disk, self.undo = folder / "disk", folder / "undo"
        self.range = RawRange("MLO", tuple(offsets) or TWO.offsets, ROOM, single_allowed=True)
        disk = bytearray(os.urandom(64 * K))
        for offset, data in zip(self.range.offsets, copies, strict=True):
            disk[offset : offset + ROOM] = data.ljust(ROOM, b"-" if data == OLD else b"\0")
        self.disk.write_bytes(disk)
        self.before = bytes(disk)

    def plan(self, data: bytes = NEW, partitions: Sequence[tuple[int, int]] = ()) -> tuple[RawChange, ...]:
        return plan_raw([self.range], [member(data)], self.disk, partitions, 64 * K)

    def apply(self, data: bytes = NEW) -> None:
        apply_raw(self.plan(data), reader(data), self.undo)

    def copies(self) -> list[bytes]:
        found = self.disk.read_bytes()
        return [found[offset : offset + ROOM] for offset in self.range.offsets]

    def after(self, data: bytes = NEW) -> bytes:
        """The disk with `data` in all copies, and nothing else changed."""
        disk = bytearray(self.before)
        for offset in self.range.offsets:
            disk[offset : offset + len(data)] = data
        return bytes(disk)

    def boots(self, *known: bytes) -> bool:
        """Whether the ROM finds a whole copy."""
        return any(copy.startswith(data) for copy in self.copies() for data in known)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Two copies of OLD."""
    return Place(tmp_path)


# ---- the profile -------------------------------------------------------------------------------------------


def ranges_of(folder: Path, text: str) -> tuple[RawRange, ...]:
    """The ranges of a profile."""
    path = folder / "x.toml"
    path.write_text(text)
    return read_ranges(load_profile(path).tables("raw", optional=True))


MLO = '[[raw]]\nname = "MLO"\nsize = "128K"\noffsets = ["128K", "256K"]\n'


def test_ranges_of_a_profile(tmp_path: Path) -> None:
    """Sizes are read as everywhere in a profile, and a profile without ranges has none."""
    single = '[[raw]]\nname = "u-boot.img"\nsize = 512\noffsets = ["1M"]\nsingle = "allow"\n'
    assert ranges_of(tmp_path, MLO + single) == (
        RawRange("MLO", (128 * K, 256 * K), 128 * K, single_allowed=False),
        RawRange("u-boot.img", (MIB,), 512, single_allowed=True),
    )
    assert ranges_of(tmp_path, "") == ()


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ('"MLO"', '"../MLO"', 2, "form"),
        ('size = "128K"', 'size = "100"', 3, "multiple of 512"),
        ('size = "128K"\n', "", 1, "missing"),
        ("256K", "200K", 4, "overlaps"),
        ("256K", "128K", 4, "overlaps"),
        ("256K", "262145", 4, "multiple of 512"),
        ("256K", "much", 4, "no size"),
        ("256K", "0", 4, "no size"),
        (', "256K"', "", 4, "one copy only"),
        ('"128K", "256K"', "", 4, "no offset"),
        ("offsets", "offset", 1, "missing"),
        ("size", 'single = "maybe"\nsize', 3, "'maybe'"),
        ("size", "surprise = 1\nsize", 3, "unknown"),
    ],
)
def test_wrong_ranges_are_refused_with_their_line(tmp_path: Path, old: str, new: str, line: int, reason: str) -> None:
    """Whatever is wrong, the message has the line."""
    with pytest.raises(Refused, match=f"x.toml, line {line}: .*{reason}"):
        ranges_of(tmp_path, MLO.replace(old, new, 1))


def test_ranges_must_differ(tmp_path: Path) -> None:
    """No two of one name, no two in one place."""
    with pytest.raises(Refused, match=r"line 6: .*already"):
        ranges_of(tmp_path, MLO + MLO.replace("128K", "1M", 2).replace("256K", "8M"))
    with pytest.raises(Refused, match=r"line 8: .*overlaps one of the range 'MLO'"):
        ranges_of(tmp_path, MLO + MLO.replace("MLO", "SPL").replace('["128K', '["64K').replace("256K", "8M"))


sectors = st.integers(1, 40)


@settings(deadline=None)
@given(offsets=st.lists(sectors, min_size=2, max_size=4), size=st.integers(1, 12))
def test_overlap_of_copies(tmp_path_factory: pytest.TempPathFactory, offsets: list[int], size: int) -> None:
    """Refused exactly when some sector is in two copies."""
    listed = ", ".join(f'"{512 * offset}"' for offset in offsets)
    text = f'[[raw]]\nname = "x"\nsize = {512 * size}\noffsets = [{listed}]\n'
    used = [sector for offset in offsets for sector in range(offset, offset + size)]
    if len(used) == len(set(used)):
        assert ranges_of(tmp_path_factory.getbasetemp(), text)[0].size == 512 * size
    else:
        with pytest.raises(Refused, match="overlaps"):
            ranges_of(tmp_path_factory.getbasetemp(), text)


# ---- the plan ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    offset=st.integers(0, 130),
    size=st.integers(1, 12),
    partitions=st.lists(st.tuples(st.integers(1, 120), st.integers(1, 12)), max_size=3),
)
def test_overlap_with_partitions(
    tmp_path_factory: pytest.TempPathFactory, offset: int, size: int, partitions: list[tuple[int, int]]
) -> None:
    """Refused exactly when a sector of the range is the first, in a partition, or beyond the disk."""
    disk = tmp_path_factory.getbasetemp() / "zeros"
    disk.write_bytes(bytes(64 * K))
    taken = {0} | {sector for start, count in partitions for sector in range(start, start + count)}
    fits = not taken & set(range(offset, offset + size)) and offset + size <= 128
    place = RawRange("MLO", (512 * offset,), 512 * size, single_allowed=True)
    in_bytes = [(512 * start, 512 * count) for start, count in partitions]
    try:
        assert len(plan_raw([place], [member(b"x")], disk, in_bytes, 64 * K)) == 1
    except Refused:
        assert not fits
    else:
        assert fits


def test_the_plan_tells_each_copy(place: Place) -> None:
    """The last copy comes first; what is there already is the same; nothing is written."""
    place.disk.write_bytes(place.after()[: 32 * K] + place.before[32 * K :])
    before = place.disk.read_bytes()
    changes = place.plan()
    assert [(change.offset, change.action, change.single) for change in changes] == [
        (32 * K, "write", False),
        (16 * K, "same", False),
    ]
    assert members_to_fetch(changes) == [member(NEW)]
    assert undo_size(changes) >= len(NEW)
    assert members_to_fetch(place.plan(NEXT)) == [member(NEXT)]
    assert plan_raw([place.range], [], Path("/no/disk"), [], 0) == ()
    assert place.disk.read_bytes() == before


def test_members_without_a_place_are_refused(place: Place) -> None:
    """No range of that name, too little room, a single copy is told as such."""
    with pytest.raises(Refused, match=r"no .*raw.* 'SPL'"):
        plan_raw([place.range], [member(NEW, "SPL")], place.disk, [], 64 * K)
    with pytest.raises(Refused, match=f"has room for {ROOM}"):
        place.plan(bytes(ROOM + 1))
    assert place.plan(bytes(ROOM))
    single = RawRange("MLO", (16 * K,), ROOM, single_allowed=True)
    assert plan_raw([single], [member(NEW)], place.disk, [], 64 * K)[0].single


def sfdisk(disk: Path, script: str) -> list[tuple[int, int]]:
    """Make a partition table; return start and size of its partitions in bytes."""
    subprocess.run(["sfdisk", "-q", "--no-reread", "--no-tell-kernel", disk], input=script, text=True, check=True)
    table = json.loads(subprocess.run(["sfdisk", "-J", disk], stdout=subprocess.PIPE, check=True).stdout)
    unit = table["partitiontable"].get("sectorsize", 512)
    return [(unit * part["start"], unit * part["size"]) for part in table["partitiontable"]["partitions"]]


@pytest.mark.parametrize(
    ("label", "offset", "refused"),
    [
        ("dos", 512, ""),
        ("dos", 8 * K, ""),
        ("gpt", 8 * K, "the GPT"),
        ("gpt", 17 * K - 512, "the GPT"),
        ("gpt", 17 * K, ""),
        ("gpt", 8 * MIB - 33 * 512 - ROOM, ""),
        ("gpt", 8 * MIB - 32 * 512 - ROOM, "the GPT"),
        ("dos", 8 * MIB - ROOM, ""),
        ("dos", MIB - 512, "the partition at 1048576"),
        ("gpt", 2 * MIB - 512, "the partition at 1048576"),
        ("gpt", 2 * MIB, ""),
    ],
)
def test_real_partition_tables(tmp_path: Path, label: str, offset: int, refused: str) -> None:
    """Tables of sfdisk and what is in them are kept free, to the sector."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(8 * MIB))
    partitions = sfdisk(disk, f"label: {label}\nstart=2048, size=2048\n")
    place = RawRange("MLO", (offset,), ROOM, single_allowed=True)
    if refused:
        with pytest.raises(Refused, match=refused):
            plan_raw([place], [member(NEW)], disk, partitions, 8 * MIB)
    else:
        assert plan_raw([place], [member(NEW)], disk, partitions, 8 * MIB)


def test_gaps_of_an_extended_partition_are_taken(tmp_path: Path) -> None:
    """The kernel shows its first sectors only, but it is full of tables."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(8 * MIB))
    partitions = sfdisk(disk, "label: dos\nstart=2048, size=8192, type=E\nstart=6144, size=1024\n")
    as_the_kernel_has_them = [(partitions[0][0], 1024), partitions[1]]
    place = RawRange("MLO", (2 * MIB,), ROOM, single_allowed=True)
    with pytest.raises(Refused, match="the partition at 1048576"):
        plan_raw([place], [member(NEW)], disk, as_the_kernel_has_them, 8 * MIB)


def test_a_gpt_whose_entries_lie_elsewhere(tmp_path: Path) -> None:
    """The place that the header names is taken too."""
    disk = tmp_path / "disk"
    data = bytearray(8 * MIB)
    data[512:520] = b"EFI PART"
    data[512 + 72 : 512 + 88] = (2048).to_bytes(8, "little") + b"\x80\0\0\0\x80\0\0\0"
    disk.write_bytes(data)
    for offset, fits in ((MIB - ROOM, True), (MIB - 512, False), (MIB + 16 * K - 512, False), (MIB + 16 * K, True)):
        place = RawRange("MLO", (offset,), ROOM, single_allowed=True)
        if fits:
            assert plan_raw([place], [member(NEW)], disk, [], 8 * MIB)
        else:
            with pytest.raises(Refused, match="the GPT"):
                plan_raw([place], [member(NEW)], disk, [], 8 * MIB)


def test_the_disk_of_a_slot(tmp_path: Path) -> None:
    """Found by what the kernel says of the slot; a slot that is a file has none."""
    tree = SysTree(tmp_path)
    tree.disk("mmcblk0", "179:0")
    tree.write("sys/devices/platform/block/mmcblk0/size", "131072\n")
    try:
        for number in (1, 2):
            tree.partition("mmcblk0", f"mmcblk0p{number}", number, f"179:{number}", size=MIB)
            tree.write(f"sys/devices/platform/block/mmcblk0/mmcblk0p{number}/start", f"{2048 * number}\n")
        with pytest.raises(Refused, match="cannot be found"):
            find_disk(tmp_path / "dev/mmcblk0p2", tmp_path)
        tree.node("dev/mmcblk0", "179:0")
    except PermissionError:
        pytest.skip("nodes need root")
    disk = find_disk(tmp_path / "dev/mmcblk0p2", tmp_path)
    assert (disk.path, disk.size) == (tmp_path / "dev/mmcblk0", 64 * MIB)
    assert disk.partitions == ((MIB, MIB), (2 * MIB, MIB))
    (tmp_path / "slot").write_bytes(b"")
    with pytest.raises(Refused, match="no partition"):
        find_disk(tmp_path / "slot", tmp_path)


# ---- writing -----------------------------------------------------------------------------------------------


def test_a_real_disk_is_written_in_its_sectors(device: Path, tmp_path: Path) -> None:
    """dd reads what was put in, nothing else has changed, and undo brings the old bytes back."""
    partitions = sfdisk(device, "label: dos\nstart=2048, size=2048\n") if b"512" in sector_size(device) else []
    before, size = content(device), 16 * MIB
    blob = os.urandom(300_001)
    place = RawRange("MLO", (128 * K, 512 * K), 384 * K, single_allowed=False)
    apply_raw(plan_raw([place], [member(blob)], device, partitions, size), reader(blob), tmp_path / "undo")
    for offset in place.offsets:
        command = f"dd if={device} bs=1K skip={offset // K} count=293 status=none | head -c {len(blob)} | sha256sum"
        found = subprocess.run(
            ["sh", "-c", command], capture_output=True, check=True, env={"PATH": os.environ["PATH"]}
        ).stdout
        assert found.startswith(hashlib.sha256(blob).hexdigest().encode())
    after = bytearray(before)
    for offset in place.offsets:
        after[offset : offset + len(blob)] = blob
    assert content(device) == bytes(after)
    assert {change.action for change in plan_raw([place], [member(blob)], device, partitions, size)} == {"same"}

    assert undo_raw(tmp_path / "undo", device)
    assert content(device) == before


def sector_size(device: Path) -> bytes:
    """Bytes of a sector, as blockdev tells them."""
    return subprocess.run(["blockdev", "--getss", device], stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize("device", [4096], indirect=True)
def test_copies_of_a_real_disk_begin_with_its_sectors(device: Path) -> None:
    """With sectors of 4096 bytes, half of one is no place."""
    with pytest.raises(Refused, match="sector of 4096"):
        plan_raw([RawRange("MLO", (4608,), ROOM, True)], [member(NEW)], device, [], 16 * MIB)


def test_all_copies_are_written_and_can_be_undone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte, however often it is called; what is there already is not written again."""
    place.apply()
    assert place.disk.read_bytes() == place.after()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", None)
        place.apply()
    assert undo_raw(place.undo, place.disk)
    assert place.disk.read_bytes() == place.before
    assert not undo_raw(place.undo, place.disk)
    assert list(place.undo.iterdir()) == []


def test_going_back_to_what_was_there(place: Place) -> None:
    """An update that brings the old bootloader again finds it there once the other one is undone."""
    place.apply()
    place.apply(OLD)
    assert place.disk.read_bytes() == place.before


def test_a_forgotten_undo_changes_nothing(place: Place) -> None:
    """Once the update is complete, its bootloader stays."""
    place.apply()
    forget_undo(place.undo)
    assert not undo_raw(place.undo, place.disk)
    assert place.disk.read_bytes() == place.after()


def killed_at(moment: int, action: Callable[[], object]) -> bool:
    """
    Run `action` in another process that dies at its moment-th write, flush or rename; a write is half done then.

    Returns whether it died.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = moment
    pwritev, fsync, rename = os.pwritev, os.fsync, os.rename

    def alive() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    def torn(fd: int, views: list[memoryview], offset: int) -> int:
        if alive():
            return pwritev(fd, views, offset)
        half = len(views[0]) // 1024 * 512
        if half:
            pwritev(fd, [views[0][:half]], offset)
        os._exit(9)

    try:
        os.pwritev = torn  # type: ignore[assignment]
        os.fsync = lambda fd: fsync(fd) if alive() else os._exit(9)
        os.rename = lambda *names: rename(*names) if alive() else os._exit(9)  # type: ignore[assignment]
        action()
        os._exit(0)
    finally:
        os._exit(1)


BLANK = b""
LAYOUTS = [[OLD, OLD], [OLD, BLANK], [BLANK, OLD], [OLD, OLD, OLD], [BLANK, OLD, OLD]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_cut_at_any_moment_leaves_a_whole_copy(tmp_path: Path, layout: list[bytes]) -> None:
    """The ROM always finds old or new; the same command again, or undo, ends right."""
    offsets = [16 * K, 32 * K, 48 * K][: len(layout)]
    moment, died = 0, True
    while died:
        folder = tmp_path / f"{moment}"
        folder.mkdir()
        place = Place(folder, layout, offsets)
        died = killed_at(moment, place.apply)
        assert place.boots(OLD, NEW)
        if moment % 2:
            undo_raw(place.undo, place.disk)
            assert place.disk.read_bytes() == place.before or not died
        place.apply()
        assert place.disk.read_bytes() == place.after()
        moment += 1
    assert moment > 10


@pytest.mark.parametrize("again", [NEW, NEXT])
@pytest.mark.parametrize("layout", LAYOUTS[:3])
def test_a_cut_after_a_cut(tmp_path: Path, layout: list[bytes], again: bytes) -> None:
    """Cut in the writes, then cut anywhere in the repetition, or in another update: a whole copy at each moment."""
    seen = 0
    for first in range(11, 23):
        second, died = 0, True
        while died:
            folder = tmp_path / f"{first}-{second}"
            folder.mkdir()
            place = Place(folder, layout)
            if not killed_at(first, place.apply):
                forget_undo(place.undo)
                break
            torn = place.copies()
            died = killed_at(second, lambda place=place: place.apply(again))  # type: ignore[misc]
            assert place.boots(OLD, NEW, again), (first, second)
            place.apply(again)
            assert place.disk.read_bytes() == place.after(again)
            seen += torn != Place(folder, layout).copies()
            second += 3
    assert seen > 10


def test_the_first_copy_is_written_last(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one is flushed and read back before the next; and undo goes the other way."""
    seen: list[tuple[str, int]] = []
    disks: set[int] = set()
    pwritev, preadv, fsync = os.pwritev, os.preadv, os.fsync

    def writes(fd: int, views: list[memoryview], offset: int) -> int:
        disks.add(fd)
        seen.append(("write", offset))
        return pwritev(fd, views, offset)

    def reads(fd: int, views: list[memoryview], offset: int) -> int:
        if seen and seen[-1][0] == "flush":
            seen.append(("read", offset))
        return preadv(fd, views, offset)

    def flushes(fd: int) -> None:
        if seen and seen[-1][0] == "write" and fd in disks:
            seen.append(("flush", 0))
        fsync(fd)

    for name, watched in (("pwritev", writes), ("preadv", reads), ("fsync", flushes)):
        monkeypatch.setattr(os, name, watched)
    place.apply()
    undo_raw(place.undo, place.disk)
    order = (32 * K, 16 * K, 16 * K, 32 * K)
    assert seen == [step for offset in order for step in (("write", offset), ("flush", 0), ("read", offset))]


def test_an_error_puts_back_what_was_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails in the second copy ends with both as they were."""
    pwritev = os.pwritev

    def fails(fd: int, views: list[memoryview], offset: int) -> int:
        if offset == 16 * K and bytes(views[0]).startswith(NEW[:100]):
            pwritev(fd, [views[0][:512]], offset)
            raise OSError(errno.EIO, "I/O error")
        return pwritev(fd, views, offset)

    monkeypatch.setattr(os, "pwritev", fails)
    with pytest.raises(HupfastError, match=r"cannot write .* at 16384") as raised:
        place.apply()
    assert raised.value.exit_code == 6
    assert place.disk.read_bytes() == place.before


def test_a_medium_that_does_not_keep_what_is_written_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each copy is read back, and with the first mismatch the other copy stays untouched."""
    pwritev, written = os.pwritev, []

    def flips(fd: int, views: list[memoryview], offset: int) -> int:
        written.append(offset)
        if len(written) == 1:
            views[0][100] ^= 1
        return pwritev(fd, views, offset)

    monkeypatch.setattr(os, "pwritev", flips)
    with pytest.raises(MismatchError, match="does not hold what was written at 32768"):
        place.apply()
    assert written == [32 * K, 32 * K]
    assert place.disk.read_bytes() == place.before


def test_wrong_bytes_never_reach_the_disk(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bootloader that is not the promised one is not even begun."""
    monkeypatch.setattr(os, "pwritev", None)
    with pytest.raises(DigestError, match="raw/MLO"):
        apply_raw(place.plan(), lambda _: iter([NEW[:-1]]), place.undo)
    assert place.disk.read_bytes() == place.before


def test_a_filesystem_without_direct_io(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where O_DIRECT is refused, at opening or at a read, it goes through the page cache."""
    preadv, opened = os.preadv, os.open
    refused = []

    def refuse(direct: int) -> None:
        if direct & os.O_DIRECT:
            refused.append(direct)
            raise OSError(errno.EINVAL, "Invalid argument")

    def reads(fd: int, views: list[memoryview], offset: int) -> int:
        refuse(fcntl.fcntl(fd, fcntl.F_GETFL))
        return preadv(fd, views, offset)

    def opens(path: Path, flags: int, *more: int) -> int:
        refuse(flags)
        return opened(path, flags, *more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", reads)
        place.apply()
    assert place.disk.read_bytes() == place.after()
    count = len(refused)
    assert count
    monkeypatch.setattr(os, "open", opens)
    place.apply(NEXT)
    assert len(refused) > count
    assert place.disk.read_bytes() == place.after(NEXT)


def test_an_undo_that_cannot_be_trusted_is_not_written(place: Place) -> None:
    """Neither a saved bootloader that has changed, nor an index that makes no sense."""
    place.apply()
    saved = place.undo / "1"
    saved.write_bytes(b"x" + saved.read_bytes()[1:])
    with pytest.raises(HupfastError, match="has changed since"):
        undo_raw(place.undo, place.disk)
    assert place.disk.read_bytes() == place.after()
    (place.undo / "index.json").write_text('{"format": 2}')
    with pytest.raises(HupfastError, match="cannot be understood"):
        undo_raw(place.undo, place.disk)


def test_two_ranges_at_once(tmp_path: Path) -> None:
    """Each blob goes to its own range."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"o" * 64 * K)
    ranges = [TWO, RawRange("u-boot.img", (48 * K, 56 * K), ROOM, single_allowed=False)]
    members = [member(NEW), member(NEXT, "u-boot.img")]
    apply_raw(plan_raw(ranges, members, disk, [], 64 * K), reader(NEW, NEXT), tmp_path / "undo")
    found = disk.read_bytes()
    assert [found[offset:].startswith(NEW) for offset in (16 * K, 32 * K)] == [True, True]
    assert [found[offset:].startswith(NEXT) for offset in (48 * K, 56 * K)] == [True, True]
    assert len(found) == 64 * K
