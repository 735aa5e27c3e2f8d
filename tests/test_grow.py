"""A larger boot partition: mkfs.vfat, mtools, fsck.fat, blkid and sfdisk are the judges."""

import hashlib
import os
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hupfast import grow
from hupfast.blockdev import find_device
from hupfast.errors import DataError, HupfastError, MismatchError, Refused
from hupfast.fat import Fat
from hupfast.grow import Growth, apply_grow, make_boot, missing_programs, plan_grow, unlike_kernel
from hupfast.parttable import read_table, write_table
from hupfast.system import Space, find_program, run

TOOLS = ("sfdisk", "fsck.fat", "blkid", "mattrib")
pytestmark = pytest.mark.skipif(
    bool(missing_programs() or [name for name in TOOLS if find_program(name) is None]),
    reason="mkfs.vfat, mtools, fsck.fat, sfdisk or blkid is not installed",
)

MIB = 1 << 20
BOOT, SLOT_A, SLOT_B, END = 1 * MIB, 9 * MIB, 33 * MIB, 57 * MIB
SIZE = 64 * MIB
WANTED = 12 * MIB
ENVIRONMENT = {"MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
FILES = {
    "MLO": b"first stage" * 999,
    "kernel.img": os.urandom(3 * MIB + 123),
    "Long name with Ä.txt": b"text",
    "overlays/one.dtbo": b"1" * 5000,
    "overlays/deeper/two.dtbo": b"2" * 512,
    "zero": b"",
}


class Place(NamedTuple):
    """Where the partitions are: the starts of the slots, and what is behind them."""

    a: int
    b: int
    end: int
    size: int
    wanted: int


NARROW = Place(SLOT_A, SLOT_B, END, SIZE, WANTED)
WIDE = Place(SLOT_A + 32 * MIB, SLOT_B + 64 * MIB, END + 96 * MIB, SIZE + 96 * MIB, WANTED + 32 * MIB)
"""FAT32 has 65525 clusters at least."""


def place(bits: int) -> Place:
    """The places for this type of FAT."""
    return WIDE if bits == 32 else NARROW


def label_script(kind: str, at: Place) -> str:
    """The partitions for sfdisk."""
    types = {"dos": ("c", "83"), "gpt": ("U", "L")}[kind]
    lines = [f"label: {kind}"]
    for start, end, which in ((BOOT, at.a, 0), (at.a, at.b, 1), (at.b, at.end, 1), (at.end, at.end + MIB, 1)):
        lines.append(f"start={start // 512}, size={(end - start) // 512}, type={types[which]}")
    return "\n".join(lines) + "\n"


def fill(image: Path, folder: Path) -> None:
    """Put FILES into a FAT image, with old times and an attribute."""
    tree = folder / "tree"
    for name, data in FILES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1551675968, 1551675968))
    (tree / "empty").mkdir()
    names = [str(path) for path in sorted(tree.iterdir())]
    run(["mcopy", "-s", "-m", "-Q", "-i", str(image), *names, "::/"], environment=ENVIRONMENT)
    run(["mattrib", "-i", str(image), "+h", "+r", "+s", "::/MLO"], environment=ENVIRONMENT)


def board(folder: Path, kind: str = "dos", bits: int = 16, *, files: bool = True, label: str = "resin-boot") -> Path:
    """A disk with a boot partition, two slots that are full of bytes, and another partition."""
    disk, image = folder / "disk.img", folder / "old.img"
    at = place(bits)
    with image.open("wb") as file:
        file.truncate(at.a - BOOT)
    argv = ["mkfs.vfat", "-F", str(bits), "-s", "1", "-i", "1234abcd"]
    run([*argv, *(["-n", label] if label else []), str(image)])
    if files:
        fill(image, folder)
    with disk.open("wb") as file:
        file.truncate(at.size)
        file.seek(BOOT)
        file.write(image.read_bytes())
        file.write(os.urandom(MIB) * ((at.end - at.a) // MIB))
    run(["sfdisk", "-q", "--wipe", "never", str(disk)], text=label_script(kind, at))
    return disk


def plan(disk: Path, wanted: int = WANTED, least: int = 4 * MIB) -> Growth:
    """The plan for a board that runs from slot b."""
    growth = plan_grow(disk, read_table(disk), 1, 2, wanted, least_slot=least)
    assert growth is not None
    return growth


def extent(disk: Path, number: int) -> tuple[int, int]:
    """Start and size of a partition as sfdisk sees it."""
    for line in run(["sfdisk", "-q", "-l", "-o", "Device,Start,Sectors", str(disk)]).output.splitlines():
        fields = line.split()
        if fields and fields[0] == f"{disk}{number}":
            return int(fields[1]) * 512, int(fields[2]) * 512
    raise AssertionError(number)


def files_of(disk: Path, start: int, folder: Path) -> dict[str, tuple[str, int]]:
    """What mcopy takes out of a FAT: digest and time of each file."""
    out = folder / f"out{time.monotonic_ns()}"
    out.mkdir()
    run(["mcopy", "-s", "-m", "-Q", "-i", f"{disk}@@{start}", "::/*", str(out)], environment=ENVIRONMENT)
    return {
        str(path.relative_to(out)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory",
            int(path.stat().st_mtime) if path.is_file() else 0,
        )
        for path in out.rglob("*")
    }


def identity(disk: Path, start: int, size: int) -> dict[str, str]:
    """Label and serial as blkid sees them; empty when it sees no FAT."""
    argv = ["blkid", "-p", "-O", str(start), "-S", str(size), "-o", "export", str(disk)]
    lines = run(argv, check=False).output.splitlines()
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    return {name: fields[name] for name in ("LABEL", "LABEL_FATBOOT", "UUID", "TYPE", "VERSION") if name in fields}


def is_clean(disk: Path, folder: Path) -> bool:
    """Whether fsck.fat has nothing to say about the boot partition that the table points to."""
    start, size = extent(disk, 1)
    image = folder / "check.img"
    with disk.open("rb") as file:
        file.seek(start)
        image.write_bytes(file.read(size))
    finished = run(["fsck.fat", "-n", str(image)], check=False)
    assert finished.status == 0, finished.output
    return True


def part(disk: Path, start: int, end: int) -> bytes:
    """Some bytes of the disk."""
    with disk.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


@pytest.mark.parametrize("kind", ["dos", "gpt"])
@pytest.mark.parametrize("bits", [12, 16, 32])
def test_grown(tmp_path: Path, kind: str, bits: int) -> None:
    """The new boot partition has the files, times, attributes, label and serial of the old one; slot b is untouched."""
    disk = board(tmp_path, kind, bits) if bits != 12 else board_of_fat12(tmp_path, kind)
    at = place(bits)
    before, names = files_of(disk, BOOT, tmp_path), identity(disk, BOOT, at.a - BOOT)
    attributes = run(["mattrib", "-/", "-i", f"{disk}@@{BOOT}", "::/"], environment=ENVIRONMENT).output
    others = part(disk, BOOT, at.a), part(disk, at.a + at.wanted, at.size - MIB)
    growth = plan(disk, at.wanted)
    make_boot(growth, disk, tmp_path)
    apply_grow(growth, disk)

    assert extent(disk, 1) == (at.a, at.wanted)
    assert extent(disk, 2) == (at.a + at.wanted, at.b - at.a - at.wanted)
    assert extent(disk, 3) == (at.b, at.end - at.b)
    assert set(FILES) < set(before)
    assert files_of(disk, at.a, tmp_path) == before
    assert run(["mattrib", "-/", "-i", f"{disk}@@{at.a}", "::/"], environment=ENVIRONMENT).output == attributes
    assert "HR" in attributes
    assert identity(disk, at.a, at.wanted) == names
    assert names["LABEL"] == "resin-boot"
    assert names["VERSION"] == f"FAT{bits}"
    assert (part(disk, BOOT, at.a), part(disk, at.a + at.wanted, at.size - MIB)) == others
    assert is_clean(disk, tmp_path)
    assert not (tmp_path / "boot.img").exists()
    assert plan_grow(disk, read_table(disk), 1, 2, at.wanted, least_slot=1) is None


def board_of_fat12(folder: Path, kind: str) -> Path:
    """A board whose boot partition is FAT12: with larger clusters."""
    disk = board(folder, kind)
    image = folder / "old.img"
    run(["mkfs.vfat", "-F", "12", "-s", "8", "-i", "1234abcd", "-n", "resin-boot", str(image)])
    fill(image, folder / "again")
    with disk.open("r+b") as file:
        file.seek(BOOT)
        file.write(image.read_bytes())
    return disk


def test_grown_twice(tmp_path: Path) -> None:
    """A boot partition that has grown can grow again, into the rest of the slot."""
    disk = board(tmp_path)
    before = files_of(disk, BOOT, tmp_path)
    for wanted in (10 * MIB, 11 * MIB + 1):
        growth = plan(disk, wanted, MIB)
        make_boot(growth, disk, tmp_path)
        apply_grow(growth, disk)
    assert extent(disk, 1) == (SLOT_A + 10 * MIB, 12 * MIB)
    assert extent(disk, 2) == (SLOT_A + 22 * MIB, 2 * MIB)
    assert files_of(disk, SLOT_A + 10 * MIB, tmp_path) == before
    assert is_clean(disk, tmp_path)


@pytest.mark.parametrize("label", ["", "boot"])
def test_empty(tmp_path: Path, label: str) -> None:
    """A boot partition without files, and one without a label, grow like others."""
    disk = board(tmp_path, files=False, label=label)
    names = identity(disk, BOOT, SLOT_A - BOOT)
    growth = plan(disk)
    make_boot(growth, disk, tmp_path)
    apply_grow(growth, disk)
    assert identity(disk, SLOT_A, WANTED) == names
    assert is_clean(disk, tmp_path)


class Cut(Exception):
    """The power goes."""


@pytest.mark.parametrize("kind", ["dos", "gpt"])
def test_every_cut(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut before any write to the disk, it has the old or the new boot partition, whole; a second run ends it."""
    disk = board(tmp_path, kind)
    before, names = files_of(disk, BOOT, tmp_path), identity(disk, BOOT, SLOT_A - BOOT)
    fresh, slot_b = disk.read_bytes(), part(disk, SLOT_B, END)
    growth, count, starts = plan(disk), 0, []
    calls = {"write": os.write, "pwrite": os.pwrite}

    def counted(name: str) -> object:
        def call(fd: int, data: bytes, *rest: int) -> int:
            nonlocal count
            if os.path.samestat(os.fstat(fd), os.stat(disk)):
                count -= 1
                if count < 0:
                    calls[name](fd, data[: len(data) // 1024 * 512], *rest)  # type: ignore[operator]
                    raise Cut
            return calls[name](fd, data, *rest)  # type: ignore[operator, no-any-return]

        return call

    for cut in range(100):
        disk.write_bytes(fresh)
        count = cut
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", counted("write"))
            patch.setattr(os, "pwrite", counted("pwrite"))
            try:
                make_boot(growth, disk, tmp_path)
                apply_grow(growth, disk)
            except Cut:
                pass
            ended = count >= 0
        start, size = extent(disk, 1)
        starts.append(start)
        assert files_of(disk, start, tmp_path) == before
        assert identity(disk, start, size) == names
        assert part(disk, SLOT_B, END) == slot_b
        assert read_table(disk).damaged == ""
        again = plan_grow(disk, read_table(disk), 1, 2, WANTED, least_slot=MIB)
        if again is not None:
            make_boot(again, disk, tmp_path)
            apply_grow(again, disk)
        assert extent(disk, 1) == (SLOT_A, WANTED)
        assert is_clean(disk, tmp_path)
        if ended:
            break
    assert ended
    assert sorted(set(starts)) == [BOOT, SLOT_A]
    assert starts == sorted(starts)


def test_hidden_until_the_table_is_written(tmp_path: Path) -> None:
    """A board that looks for its boot partition by label does not find the new one in the slot."""
    disk = board(tmp_path)
    growth = plan(disk)
    make_boot(growth, disk, tmp_path)
    assert identity(disk, SLOT_A, SLOT_B - SLOT_A) == {}
    assert identity(disk, BOOT, SLOT_A - BOOT)["LABEL"] == "resin-boot"


def test_again(tmp_path: Path) -> None:
    """Both steps can be done again with the same plan; what is done is not written once more."""
    disk = board(tmp_path, "gpt")
    growth = plan(disk)
    make_boot(growth, disk, tmp_path)
    make_boot(growth, disk, tmp_path)
    apply_grow(growth, disk)
    content = hashlib.sha256(disk.read_bytes()).digest()
    make_boot(growth, disk, tmp_path)
    apply_grow(growth, disk)
    assert hashlib.sha256(disk.read_bytes()).digest() == content


def test_not_applied_without_the_new_boot_partition(tmp_path: Path) -> None:
    """The table does not change when nothing was made, or the old boot partition was changed since."""
    disk = board(tmp_path)
    growth = plan(disk)
    with pytest.raises(MismatchError, match="no FAT filesystem in the new boot partition"):
        apply_grow(growth, disk)
    make_boot(growth, disk, tmp_path)
    (tmp_path / "late.txt").write_text("written after the copy")
    run(["mcopy", "-i", f"{disk}@@{BOOT}", str(tmp_path / "late.txt"), "::/"], environment=ENVIRONMENT)
    with pytest.raises(MismatchError, match=r"differs from the old one in /late\.txt"):
        apply_grow(growth, disk)
    assert extent(disk, 1) == (BOOT, SLOT_A - BOOT)


def test_bad_medium(tmp_path: Path) -> None:
    """A bit that flips in a file of the new boot partition is found, whichever file it is in."""
    disk = board(tmp_path)
    growth = plan(disk)
    make_boot(growth, disk, tmp_path)
    at = part(disk, SLOT_A, SLOT_A + WANTED).index(FILES["kernel.img"][-512:-400])
    with disk.open("r+b") as file:
        file.seek(SLOT_A + at)
        file.write(bytes([FILES["kernel.img"][-512] ^ 1]))
    with pytest.raises(MismatchError, match=r"differs from the old one in /kernel\.img"):
        apply_grow(growth, disk)


def test_another_table_since(tmp_path: Path) -> None:
    """A disk whose table is neither the old nor the new one is not touched."""
    disk = board(tmp_path)
    growth = plan(disk)
    run(["sfdisk", "-q", "--delete", str(disk), "4"])
    before = disk.read_bytes()
    with pytest.raises(HupfastError, match="not the one of the plan"):
        make_boot(growth, disk, tmp_path)
    with pytest.raises(HupfastError, match="not the one of the plan"):
        apply_grow(growth, disk)
    assert disk.read_bytes() == before


@pytest.mark.parametrize(
    ("numbers", "wanted", "least", "words"),
    [
        ((1, 3), WANTED, MIB, "does not lie right behind"),
        ((2, 1), 30 * MIB, MIB, "does not lie right behind"),
        ((1, 2), WANTED, 13 * MIB, f"would leave {12 * MIB} bytes"),
        ((1, 2), 24 * MIB, 0, "would leave 0 bytes"),
        ((1, 2), 1 << 63, 0, "would leave 0 bytes"),
        ((2, 3), 25 * MIB - MIB // 2, 0, "would leave|no FAT"),
        ((1, 9), WANTED, MIB, "no partition 9"),
    ],
)
def test_refused(tmp_path: Path, numbers: tuple[int, int], wanted: int, least: int, words: str) -> None:
    """What cannot be is refused in words."""
    disk = board(tmp_path, files=False)
    with pytest.raises(Refused, match=words):
        plan_grow(disk, read_table(disk), *numbers, wanted, least_slot=least)


def test_refused_for_its_filesystem(tmp_path: Path) -> None:
    """Something else than FAT, and a boot sector with code that knows its place, cannot be moved."""
    disk = board(tmp_path, files=False)
    with disk.open("r+b") as file:
        file.seek(BOOT + 3)
        file.write(b"SYSLINUX")
    with pytest.raises(Refused, match="SYSLINUX"):
        plan(disk)
    with disk.open("r+b") as file:
        file.seek(BOOT)
        file.write(bytes(512))
    with pytest.raises(Refused, match="there is no FAT filesystem"):
        plan(disk)


def test_refused_for_a_small_fat32(tmp_path: Path) -> None:
    """mcopy takes FAT32 with few clusters for FAT16, so that is refused before anything is written."""
    disk = board(tmp_path, files=False)
    image = tmp_path / "old.img"
    run(["mkfs.vfat", "-F", "32", "-s", "1", str(image)])
    with disk.open("r+b") as file:
        file.seek(BOOT)
        file.write(image.read_bytes())
    with pytest.raises(Refused, match="too few for mcopy"):
        plan(disk)


def test_refused_for_two_sectors(tmp_path: Path) -> None:
    """Partitions whose GPT entries lie in two sectors cannot be changed at once."""
    disk = board(tmp_path, "gpt", files=False)
    dump = run(["sfdisk", "-d", str(disk)]).output
    run(["sfdisk", "-q", "--wipe", "never", str(disk)], text=dump.replace("disk.img2 ", "disk.img5 "))
    with pytest.raises(Refused, match="in two sectors"):
        plan_grow(disk, read_table(disk), 1, 5, WANTED, least_slot=1)


def test_large_enough(tmp_path: Path) -> None:
    """A boot partition that has the size needs nothing."""
    disk = board(tmp_path, files=False)
    assert plan_grow(disk, read_table(disk), 1, 2, SLOT_A - BOOT, least_slot=1) is None


def test_no_room_in_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room for the files is said before anything is written."""
    disk = board(tmp_path)
    growth, before = plan(disk), hashlib.sha256(disk.read_bytes()).digest()
    monkeypatch.setattr(grow, "free_space", lambda _: Space(free=MIB, cluster=4096))
    with pytest.raises(HupfastError, match="boot files need"):
        make_boot(growth, disk, tmp_path)
    assert hashlib.sha256(disk.read_bytes()).digest() == before


def test_damaged_fat(tmp_path: Path) -> None:
    """A boot partition whose chains lead nowhere is not copied, and the way out is named."""
    disk = board(tmp_path)
    growth = plan(disk)
    with disk.open("r+b") as file:
        file.seek(BOOT + 4 * 512 + 4)
        file.write(bytes(400))
    with pytest.raises(DataError, match=r"fsck\.fat"):
        make_boot(growth, disk, tmp_path)
    assert extent(disk, 1) == (BOOT, SLOT_A - BOOT)


@pytest.mark.parametrize("bits", [16, 32])
def test_fat_reader(tmp_path: Path, bits: int) -> None:
    """Our reader sees the files that mcopy takes out, with their names and bytes."""
    disk = board(tmp_path, bits=bits)
    fd = os.open(disk, os.O_RDONLY)
    try:
        fat = Fat(fd, BOOT, place(bits).a - BOOT, "the disk")
        found = {item.path[1:]: item.digest.hex() or "directory" for item in fat.items()}
        assert (fat.bits, fat.label(), fat.serial) == (bits, b"resin-boot", 0x1234ABCD)
    finally:
        os.close(fd)
    assert found == {name: digest for name, (digest, _) in files_of(disk, BOOT, tmp_path).items()}


@given(st.sampled_from([(11, 40), (2048, 200), (164 * 512, 400)]), st.binary(min_size=1, max_size=40), st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fat_reader_on_any_damage(tmp_path: Path, area: tuple[int, int], junk: bytes, data: st.DataObject) -> None:
    """Junk in the boot sector, the FAT or the root ends in a sentence or in items, never otherwise."""
    image = tmp_path / "old.img"
    if not image.exists():
        board(tmp_path)
    offset = area[0] + data.draw(st.integers(0, area[1]))
    with image.open("r+b", buffering=0) as file:
        good = os.pread(file.fileno(), len(junk), offset)
        os.pwrite(file.fileno(), junk, offset)
        with suppress(HupfastError):
            fat = Fat(file.fileno(), 0, SLOT_A - BOOT, "the image")
            assert isinstance(fat.label(), bytes)
            assert len(list(fat.items())) < 100
        os.pwrite(file.fileno(), good, offset)


def test_unlike_kernel(tmp_path: Path) -> None:
    """From the change of the table to the restart, the partitions that moved are named."""
    disk = board(tmp_path)
    old = read_table(disk)
    base = tmp_path / "sys/devices/mmcblk0"
    numbers = {"8:0": base} | {f"8:{part.number}": base / f"mmcblk0p{part.number}" for part in old.partitions}
    for part_ in old.partitions:
        numbers[f"8:{part_.number}"].mkdir(parents=True)
        for name, value in (("partition", part_.number), ("start", part_.start // 512), ("size", part_.size // 512)):
            (numbers[f"8:{part_.number}"] / name).write_text(f"{value}\n")
    (base / "size").write_text(f"{SIZE // 512}\n")
    links = tmp_path / "sys/dev/block"
    links.mkdir(parents=True)
    for number, directory in numbers.items():
        (directory / "dev").write_text(number + "\n")
        (links / number).symlink_to(directory)
    device = find_device("8:0", str(tmp_path))
    assert device is not None
    assert unlike_kernel(old, device) == []
    write_table(disk, plan(disk).new_table)
    assert unlike_kernel(read_table(disk), device) == [1, 2]


def small_fat(path: Path, entries: list[bytes], chain: bytes = b"\xff\xff") -> Fat:
    """A FAT16 of 5000 clusters of a sector; entries: of the root, then of cluster 2, 3 ... , each one entry long."""
    boot = bytearray(512)
    boot[:11] = b"\xeb\x3c\x90mkfs.fat"
    struct.pack_into("<HBHBHHBHHHII", boot, 11, 512, 1, 1, 1, 16, 0, 0xF8, 20, 0, 0, 0, 5022)
    boot[510:] = b"\x55\xaa"
    table = (bytes(4) + chain * len(entries)).ljust(20 * 512, b"\0")
    path.write_bytes((boot + table + b"".join(entry.ljust(512, b"\0") for entry in entries)).ljust(5022 * 512, b"\0"))
    return Fat(os.open(path, os.O_RDONLY), 0, 5022 * 512, "it")


def test_directories_without_end_are_damage(tmp_path: Path) -> None:
    """Deeper than anybody makes them: no RecursionError."""
    inside = [b"D".ljust(11) + b"\x10" + bytes(14) + struct.pack("<HI", 2 + number, 0) for number in range(65)]
    assert len(list(small_fat(tmp_path / "deep", [*inside[:64], b""]).items())) == 64
    with pytest.raises(DataError, match="inside more than 64"):
        list(small_fat(tmp_path / "deeper", [*inside, b""]).items())


def test_files_that_are_larger_than_the_filesystem_are_damage(tmp_path: Path) -> None:
    """Names that all have the same clusters are not read for ever."""
    size = 512 * 1000
    name = b"F".ljust(11) + b"\x20" + bytes(14) + struct.pack("<HI", 2, size)
    fat = small_fat(tmp_path / "disk", [name * 16])
    fat._table = bytes(4) + b"".join(struct.pack("<H", number) for number in range(3, 1002)) + b"\xff\xff"
    with pytest.raises(DataError, match="larger than it is"):
        list(fat.items())
