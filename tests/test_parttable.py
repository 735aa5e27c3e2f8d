"""Partition tables; sfdisk is the judge, and power cuts between and inside the writes."""

import json
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hupfast.errors import HupfastError, Refused
from hupfast.parttable import PartitionTable, is_atomic, moved, read_table, write_table
from hupfast.system import find_program, run

pytestmark = pytest.mark.skipif(find_program("sfdisk") is None, reason="sfdisk is not installed")

MIB = 1 << 20
SIZE = 64 * MIB
MBR = """label: dos
label-id: 0x12ab34cd
start=2048, size=8192, type=c, bootable
start=10240, size=32768, type=83
start=43008, size=32768, type=83
start=75776, size=40960, type=5
start=77824, size=2048, type=83
start=81920, size=4096, type=82
"""
GPT = """label: gpt
label-id: 0FC63DAF-0000-4772-8E79-3D69D8477DE4
start=2048, size=8192, type=U, uuid=11111111-2222-4333-8444-555555555501, name="boot", attrs="LegacyBIOSBootable"
start=10240, size=32768, type=L, uuid=11111111-2222-4333-8444-555555555502, name="root-a"
start=43008, size=32768, type=L, uuid=11111111-2222-4333-8444-555555555503, name="root-b"
start=75776, size=2048, type=L, uuid=11111111-2222-4333-8444-555555555504, name="data ä"
start=77824, size=2048, type=L, uuid=11111111-2222-4333-8444-555555555505, name="more"
"""
GROWN = {1: (5 * MIB, 8 * MIB), 2: (13 * MIB, 8 * MIB)}
"""Partition 1 in the place of the head of partition 2, as hupfast.grow does it."""
ACROSS = {4: (40 * MIB, 2 * MIB), 5: (50 * MIB, 3 * MIB)}
"""Two entries that lie in two sectors of a GPT."""


def disk(folder: Path, script: str, *, size: int = SIZE) -> Path:
    """A disk image that sfdisk made."""
    path = folder / "disk.img"
    with path.open("wb") as file:
        file.truncate(size)
    run(["sfdisk", "-q", str(path)], text=script)
    return path


@pytest.fixture(params=["mbr", "gpt"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A disk image of each kind."""
    return disk(tmp_path, {"mbr": MBR, "gpt": GPT}[request.param])


def judged(path: Path) -> dict[int, dict[str, object]]:
    """What sfdisk sees: number of a partition, and its fields."""
    table = json.loads(run(["sfdisk", "-J", str(path)]).output)["partitiontable"]
    return {int(part.pop("node").removeprefix(str(path))): part for part in table["partitions"]}


def seen(table: PartitionTable) -> dict[int, tuple[int, int]]:
    """Start and size of each partition, in sectors."""
    return {part.number: (part.start // table.sector_size, part.size // table.sector_size) for part in table.partitions}


def places(judgement: dict[int, dict[str, object]]) -> dict[int, tuple[object, object]]:
    """The same of what sfdisk sees."""
    return {number: (part["start"], part["size"]) for number, part in judgement.items()}


def test_reads_what_sfdisk_reads(path: Path) -> None:
    """Numbers, places, types, GUIDs and names are those of sfdisk, logical partitions too."""
    table, judgement = read_table(path), judged(path)
    assert seen(table) == places(judgement)
    for part in table.partitions:
        assert part.type == judgement[part.number]["type"]
        assert table.kind == "mbr" or (part.uuid, part.name) == (
            judgement[part.number]["uuid"],
            judgement[part.number]["name"],
        )
    dump = json.loads(run(["sfdisk", "-J", str(path)]).output)["partitiontable"]
    assert (table.id, table.disk_size, table.damaged) == (dump["id"], SIZE, "")


def test_moved_as_sfdisk_would(path: Path) -> None:
    """Only the places change in the eyes of sfdisk, which finds no fault in the table."""
    before = judged(path)
    table = moved(read_table(path), GROWN)
    write_table(path, table)

    after = judged(path)
    assert places(after) == seen(table)
    for number, (start, size) in GROWN.items():
        assert (after[number].pop("start"), after[number].pop("size")) == (start // 512, size // 512)
        del before[number]["start"], before[number]["size"]
    assert after == before
    verified = run(["sfdisk", "--verify", str(path)])
    assert "No errors detected" in verified.output + verified.error
    assert read_table(path).partitions == table.partitions


def test_mbr_is_what_sfdisk_makes(tmp_path: Path) -> None:
    """All bytes of the MBR are the same, those of heads and cylinders too."""
    path = disk(tmp_path, MBR)
    write_table(path, moved(read_table(path), GROWN))
    other = tmp_path / "other"
    other.mkdir()
    script = MBR.replace("start=2048, size=8192", "start=10240, size=16384")
    script = script.replace("start=10240, size=32768", "start=26624, size=16384")
    assert path.read_bytes()[:512] == disk(other, script).read_bytes()[:512]


def test_gpt_changes_one_sector_of_each_copy(tmp_path: Path) -> None:
    """The headers and the protective MBR stay; Linux would find no table in between otherwise."""
    path = disk(tmp_path, GPT)
    before = path.read_bytes()
    old = read_table(path)
    new = moved(old, GROWN)
    write_table(path, new)
    after = path.read_bytes()
    differ = [at // 512 for at in range(0, SIZE, 512) if before[at : at + 512] != after[at : at + 512]]
    assert differ == [2, SIZE // 512 - 33]
    assert is_atomic(old, new)
    assert not is_atomic(old, moved(old, ACROSS))


def test_written_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time there is nothing to write."""
    table = moved(read_table(path), GROWN)
    write_table(path, table)
    monkeypatch.setattr(os, "pwrite", lambda *_: pytest.fail("written again"))
    write_table(path, table)


def recorded(path: Path, table: PartitionTable, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bytes]]:
    """The writes of write_table, by sectors, each of which a medium writes whole; every write is flushed."""
    writes: list[tuple[int, bytes]] = []
    pending: list[int] = []
    real = os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        assert not pending, "there was no flush between two writes"
        pending.append(offset)
        writes.extend((offset + at, bytes(data[at : at + 512])) for at in range(0, len(data), 512))
        return real(fd, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        patch.setattr(os, "fsync", lambda _: pending.clear())
        write_table(path, table)
    assert not pending
    return writes


@pytest.mark.parametrize("change", [GROWN, ACROSS], ids=["grown", "across"])
@pytest.mark.parametrize("script", [MBR, GPT], ids=["mbr", "gpt"])
def test_every_cut(
    script: str, change: dict[int, tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each sector that is written the disk has the old or the new table; a second run ends with the new one."""
    path = disk(tmp_path, script)
    if script == MBR and change is ACROSS:
        change = {1: (1 * MIB, 3 * MIB), 3: (22 * MIB, 8 * MIB)}
    old = read_table(path)
    new = moved(old, change)
    with path.open("r+b", buffering=0) as file:
        before = {at: os.pread(file.fileno(), 33 * 512, at) for at in (0, 33 * 512, SIZE - 33 * 512)}
        writes = recorded(path, new, monkeypatch)
        assert writes
        states = []
        for count in range(len(writes) + 1):
            for offset, data in [*before.items(), *writes[:count]]:
                os.pwrite(file.fileno(), data, offset)
            assert places(judged(path)) in (seen(old), seen(new))
            states.append(seen(read_table(path)))
            if is_atomic(old, new):
                assert read_table(path).damaged == ""
            write_table(path, moved(read_table(path), change))
            assert (seen(read_table(path)), read_table(path).damaged) == (seen(new), "")
    turn = states.index(seen(new))
    assert states == [seen(old)] * turn + [seen(new)] * (len(states) - turn)


@pytest.mark.parametrize(("sector", "copy"), [(2, "primary"), (1, "primary"), (-1, "backup"), (-33, "backup")])
def test_damaged_gpt(sector: int, copy: str, tmp_path: Path) -> None:
    """One damaged copy is said, the other one is read, as sfdisk does."""
    path = disk(tmp_path, GPT)
    good = seen(read_table(path))
    content = bytearray(path.read_bytes())
    content[sector * 512 % SIZE + 60] ^= 1
    path.write_bytes(content)

    table = read_table(path)
    assert table.damaged == copy
    assert seen(table) == good == places(judged(path))
    if sector == 1:
        with pytest.raises(HupfastError, match="primary GPT header is damaged: repair it first"):
            write_table(path, moved(table, GROWN))
        assert path.read_bytes() == content
    else:
        write_table(path, moved(table, GROWN))
        assert read_table(path).damaged == ""
        assert places(judged(path)) == seen(moved(table, GROWN))


def test_both_copies_damaged(tmp_path: Path) -> None:
    """A protective MBR without a GPT is no table of one partition."""
    path = disk(tmp_path, GPT)
    content = bytearray(path.read_bytes())
    content[512] ^= 1
    content[-512] ^= 1
    path.write_bytes(content)
    with pytest.raises(HupfastError, match="both copies of the GPT"):
        read_table(path)


def test_image_on_a_larger_disk(tmp_path: Path) -> None:
    """The backup is where the primary says, not at the end of the disk; one that is cut off is not missed."""
    path = disk(tmp_path, GPT)
    with path.open("r+b") as file:
        file.truncate(2 * SIZE)
    table = read_table(path)
    assert table.damaged == ""
    write_table(path, moved(table, GROWN))
    assert places(judged(path)) == seen(read_table(path))

    path = disk(tmp_path, GPT)
    with path.open("r+b") as file:
        file.truncate(SIZE - MIB // 2)
    with pytest.raises(HupfastError):
        read_table(path)  # the last usable sector is missing as well

    path = disk(tmp_path, GPT)
    with path.open("r+b") as file:
        file.truncate(SIZE - 512 * 8)
    table = read_table(path)
    assert table.damaged == "backup"
    write_table(path, moved(table, GROWN))
    assert seen(read_table(path))[1] == (10240, 16384)
    with pytest.raises(HupfastError, match="backup GPT is missing"):
        write_table(path, moved(read_table(path), ACROSS))


def test_names_that_are_full(tmp_path: Path) -> None:
    """With no byte free behind a name the CRC cannot be kept: that is known, and the long way is gone."""
    long = "x" * 36
    script = GPT
    for name in ("boot", "root-a", "root-b", "data ä"):
        script = script.replace(f'"{name}"', f'"{long}"')
    path = disk(tmp_path, script)
    old = read_table(path)
    new = moved(old, GROWN)
    assert not is_atomic(old, new)
    write_table(path, new)
    assert places(judged(path)) == seen(new)
    assert judged(path)[2]["name"] == long

    path = disk(tmp_path, script.replace(long, "short", 1))
    old = read_table(path)
    assert is_atomic(old, moved(old, GROWN))


def large_sectors(path: Path) -> None:
    """Turn a GPT with sectors of 512 bytes into one with sectors of 4096 and the same partitions, by the drawing."""
    small = path.read_bytes()
    header, area = bytearray(small[512:1024].ljust(4096, b"\0")), bytearray(small[1024 : 1024 + 128 * 128])
    for at in range(0, len(area), 128):
        if any(area[at : at + 16]):
            first, last = struct.unpack_from("<QQ", area, at + 32)
            struct.pack_into("<QQ", area, at + 32, first // 8, (last + 1) // 8 - 1)
    sectors = SIZE // 4096
    with path.open("wb") as file:
        file.truncate(SIZE)
        for own, other, entries in ((1, sectors - 1, 2), (sectors - 1, 1, sectors - 5)):
            struct.pack_into("<QQQQ", header, 24, own, other, 6, sectors - 6)
            struct.pack_into("<Q", header, 72, entries)
            struct.pack_into("<I", header, 88, zlib.crc32(area))
            struct.pack_into("<I", header, 16, 0)
            struct.pack_into("<I", header, 16, zlib.crc32(header[:92]))
            file.seek(own * 4096)
            file.write(header)
            file.seek(entries * 4096)
            file.write(area)
        file.seek(0)
        file.write(small[:512])


def test_sectors_of_4096(tmp_path: Path) -> None:
    """The places in bytes are the same, and all entries up to 32 lie in one sector."""
    path = disk(tmp_path, GPT)
    small = [(part.start, part.size, part.name) for part in read_table(path).partitions]
    large_sectors(path)
    table = read_table(path, 4096)
    assert [(part.start, part.size, part.name) for part in table.partitions] == small
    assert is_atomic(table, moved(table, ACROSS))
    write_table(path, moved(table, ACROSS))
    again = read_table(path, 4096)
    assert (again.partitions, again.damaged) == (moved(table, ACROSS).partitions, "")
    with pytest.raises(Refused, match="whole sectors of 4096"):
        moved(table, {1: (MIB + 512, MIB)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({1: (4 * MIB, 2 * MIB)}, "partition 1 would overlap partition 2"),
        ({1: (5 * MIB, 8 * MIB), 2: (12 * MIB, MIB)}, "would overlap"),
        ({1: (0, MIB)}, "would not lie inside"),
        ({1: (-MIB, MIB)}, "would not lie inside"),
        ({3: (22 * MIB, SIZE)}, "would not lie inside"),
        ({3: (1 << 63, 1 << 63)}, "would not lie inside"),
        ({1: (MIB + 1, MIB)}, "whole sectors"),
        ({1: (MIB, 0)}, "whole sectors"),
        ({9: (MIB, MIB)}, "no partition 9"),
    ],
)
def test_refused(path: Path, change: dict[int, tuple[int, int]], words: str) -> None:
    """Places that cannot be are refused in words."""
    with pytest.raises(Refused, match=words):
        moved(read_table(path), change)


@pytest.mark.parametrize("number", [4, 5])
def test_extended_and_logical_stay(tmp_path: Path, number: int) -> None:
    """They depend on each other's place."""
    table = read_table(disk(tmp_path, MBR))
    with pytest.raises(Refused, match="cannot be moved"):
        moved(table, {number: (50 * MIB, MIB)})


def test_chain_in_a_circle(tmp_path: Path) -> None:
    """Tables of an extended partition that lead back to themselves are an error, not an endless loop."""
    path = disk(tmp_path, MBR)
    with path.open("r+b") as file:
        file.seek(75776 * 512 + 446 + 16)
        file.write(struct.pack("<4s4sII", b"", b"\x05", 0, 2048))
    with pytest.raises(HupfastError, match="circle"):
        read_table(path)


def test_hybrid_mbr(tmp_path: Path) -> None:
    """A partition that a hybrid MBR has as well is not moved; others are, and the MBR stays."""
    path = disk(tmp_path, GPT)
    with path.open("r+b") as file:
        file.seek(446 + 16)
        file.write(struct.pack("<4s4sII", b"", b"\x0c", 2048, 8192))
    table = read_table(path)
    assert table.kind == "gpt"
    with pytest.raises(Refused, match="hybrid"):
        moved(table, GROWN)
    before = path.read_bytes()[:512]
    write_table(path, moved(table, {4: (40 * MIB, MIB)}))
    assert path.read_bytes()[:512] == before


def test_no_table(tmp_path: Path) -> None:
    """Zeroes, a short file and a bare FAT are no partition table."""
    path = tmp_path / "none"
    for content in (bytes(MIB), b"", bytes(446) + b"This is not a bootable disk".ljust(64) + b"\x55\xaa"):
        path.write_bytes(content)
        with pytest.raises(HupfastError, match="no partition table"):
            read_table(path)
    with pytest.raises(HupfastError, match="cannot read the partition table of"):
        read_table(tmp_path / "missing")


def test_another_disk_is_not_written(tmp_path: Path) -> None:
    """A table is written only to the disk that it was read from, and not when that has a new one since."""
    path = disk(tmp_path, GPT)
    table = moved(read_table(path), GROWN)
    disk(tmp_path, GPT.replace("root-b", "other"))
    before = path.read_bytes()
    with pytest.raises(HupfastError, match="start again"):
        write_table(path, table)
    assert path.read_bytes() == before


def test_newer_boot_code_is_kept(tmp_path: Path) -> None:
    """Of the MBR only the entries are written."""
    path = disk(tmp_path, MBR)
    table = moved(read_table(path), GROWN)
    with path.open("r+b") as file:
        file.write(b"new boot code")
    write_table(path, table)
    assert path.read_bytes().startswith(b"new boot code")


@given(
    st.lists(st.integers(1, 60), min_size=4, max_size=4, unique=True).map(sorted),
    st.integers(0, 3),
    st.booleans(),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_places(tmp_path: Path, at: list[int], more: int, gpt: bool) -> None:
    """Whatever the places are, sfdisk reads the ones that were written, and one sector is enough."""
    path = disk(tmp_path, (GPT if gpt else MBR).replace("start=75776, size=2048", "start=124928, size=2048"))
    old = read_table(path)
    change = {1: (at[0], at[1]), 2: (at[1], at[2]), 3: (at[2], at[3])}
    change = {number: (start * MIB + 512 * more, (end - start) * MIB) for number, (start, end) in change.items()}
    blocked = old.partitions[3:]
    if any(start < part.end and part.start < start + size for start, size in change.values() for part in blocked):
        with pytest.raises(Refused):
            moved(old, change)
        return
    new = moved(old, change)
    write_table(path, new)
    assert is_atomic(old, new)
    assert places(judged(path)) == seen(new)
    assert {number: (start // 512, size // 512) for number, (start, size) in change.items()}.items() <= seen(
        new
    ).items()


@given(st.integers(0, 34 * 512 - 1), st.binary(min_size=1, max_size=16))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage(tmp_path: Path, at: int, junk: bytes) -> None:
    """Damage anywhere in the table ends in the table or in a sentence, never in another exception."""
    path = tmp_path / "disk.img"
    if not path.exists():
        disk(tmp_path, GPT)
    with path.open("r+b", buffering=0) as file:
        good = file.read(35 * 512)
        os.pwrite(file.fileno(), junk, at)
        try:
            table = read_table(path)
        except HupfastError:
            table = None
        os.pwrite(file.fileno(), good, 0)
    assert table is None or table.kind == "mbr" or len(table.partitions) == 5


def test_u64_places_of_a_gpt(tmp_path: Path) -> None:
    """Numbers up to 2**64 in header and entries, with right CRCs, are bounded."""
    path = disk(tmp_path, GPT)
    good = path.read_bytes()
    for at in (24, 32, 40, 48, 72, 80):
        content = bytearray(good)
        content[512 + at : 512 + at + (4 if at == 80 else 8)] = b"\xff" * (4 if at == 80 else 8)
        content[528:532] = bytes(4)
        content[528:532] = struct.pack("<I", zlib.crc32(content[512:604]))
        path.write_bytes(content)
        table = read_table(path)
        assert len(table.partitions) == 5
        assert table.damaged == ("" if at == 32 else "primary")  # the backup is at the end, whatever 32 says
