"""Board profiles: the shipped ones are right, local ones go first, wrong ones are refused."""

from pathlib import Path

import pytest

from hupfast.board import SHIPPED, detect, find_profiles, load_board, missing_programs, read_board
from hupfast.errors import Refused, UsageError
from hupfast.keep import Keep

VIRTUAL = (SHIPPED / "virtual.toml").read_text()


def local(root: Path, name: str, text: str) -> Path:
    """A profile in the system's own directory."""
    path = root / "etc/hupfast/boards" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_profile_is_right(path: Path) -> None:
    """It can be read, and every slot has its place."""
    board = read_board(path)

    assert board.name == path.stem
    assert len({slot.file or slot.partition for slot in board.slots}) == 2


def test_a_board_of_a_known_kind_is_only_a_file(tmp_path: Path) -> None:
    """A profile in /etc/hupfast/boards below the root is a board, without any Python."""
    text = VIRTUAL.replace('name = "virtual"', 'name = "mine"', 1).replace("tries = 3", "tries = 1")
    local(tmp_path, "mine", text)

    board = load_board("mine", tmp_path)
    assert board.compatible == ("mine",)
    assert board.other("a").name == "b"


def test_the_systems_own_profile_goes_before_the_shipped_one(tmp_path: Path) -> None:
    """/etc wins over what hupfast brings along."""
    path = local(tmp_path, "virtual", VIRTUAL.replace('description = "', 'description = "our '))

    assert find_profiles(tmp_path)["virtual"] == path
    assert load_board("virtual", tmp_path).description.startswith("our ")


def test_the_board_is_told_by_a_file(tmp_path: Path) -> None:
    """/etc/hupfast/board names it; without that and without --board it is refused."""
    assert detect(tmp_path) is None
    with pytest.raises(Refused, match="give --board NAME"):
        load_board(None, tmp_path)

    (tmp_path / "etc/hupfast").mkdir(parents=True)
    (tmp_path / "etc/hupfast/board").write_text("virtual\n")
    assert load_board(None, tmp_path).name == "virtual"


def test_an_unknown_board_or_root_is_a_usage_error(tmp_path: Path) -> None:
    """The known ones are listed; a root that does not exist is told first."""
    with pytest.raises(UsageError, match=r"'toaster'; known are: .*virtual"):
        load_board("toaster", tmp_path)
    with pytest.raises(UsageError, match="no directory"):
        load_board("virtual", tmp_path / "no")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('name = "virtual"', 'name = "other"', "like the file"),
        ('state = "/state"', 'state = "state"', "line 6: state"),
        ('state = "/state"', "", "state: this key is missing"),
        ('file = "/slots/b.img"', 'file = "/slots/a.img"', "both slots have the file"),
        ('boot_prefix = "b/"', 'boot_prefix = "a/"', "both slots have the boot_prefix"),
        ('boot_prefix = "b/"', 'boot_prefix = "../b/"', "boot_prefix"),
        ('boot_prefix = "b/"', 'boot_prefix = "A/b/"', "lies in 'a/'"),
        ('boot_prefix = "b/"', 'boot_prefix = "A/"', "lies in 'a/'"),
        ('boot_prefix = "b/"', "", "one slot has a boot_prefix, so the other needs one too"),
        ('file = "/slots/b.img"', "partition = 3", "one slot is a file and the other a partition"),
        ('file = "/slots/b.img"', 'file = "/b"\npartition = 3', r"slots\[1\]: a slot is either a partition or a file"),
        ('file = "/slots/b.img"', "", r"slots\[1\]: a slot is either a partition or a file"),
        ('file = "/slots/b.img"', "partition = 0", r"slots\[1\].partition"),
        ('label = "hup-root-b"', 'label = "hup-root-a"', "both slots have the label"),
        ('label = "hup-root-b"', 'label = "much-too-long-label"', r"slots\[1\].label"),
        ('label = "hup-root-b"', 'lable = "hup-root-b"', r"slots\[1\].lable: .*did you mean 'label'"),
        ('kind = "ext4"', 'kind = "fat"', "none of 'ext4', 'none'"),
        ('kind = "ext4"', 'kind = "none"', "need the kind of filesystem"),
        ('kind = "virtual"', 'kind = "lilo"', "no kind of bootloader; known are: .*virtual"),
        ("tries = 3", "tries = 0", "bootloader.tries"),
        ("tries = 3", "retries = 3", "bootloader.retries: .*did you mean 'tries'"),
        ("timeout = 30", 'timeout = "30"', "health.timeout"),
        ('size = "256M"', 'size = "lots"', "boot.size"),
        ('"config.json"', '"../config.json"', "no path below"),
        ('"/etc/hostname"', '"etc/hostname"', "filesystem.keep"),
        ('"/etc/hostname"', '"/a:/b:/c"', r"line \d+: filesystem.keep: .* one colon"),
        ('"/etc/hostname"', "'/a\"b'", r"line \d+: filesystem.keep: .* no quotes"),
        ('"/etc/hostname"', '"/a:b"', "'b' in '/a:b' is no absolute path"),
        ('"/etc/hostname"', '"/a:"', "no absolute path"),
        ('"/etc/hostname"', '"/a:/b/../c"', "no absolute path"),
        ('"/etc/hostname"', '"/./"', "all of a system"),
        ('"/etc/hostname"', '"/a/:/b"', "both paths need a /"),
        ('"/etc/hostname"', '"/a:/b/"', "both paths need a /"),
        ('"/etc/hostname"', '"/a:/etc/machine-id"', "same place as another one"),
        ('"/etc/hostname"', '"/etc/"', "a part of it: /etc/"),
        ('"/etc/hostname"', '"/a:/etc/localtime/zone"', "a part of it: /etc/localtime/"),
        ("command = [", "command = [] # [", "reboot.command: it is empty"),
        ("[reboot]", "[rebooot]", "rebooot: this key is unknown; did you mean 'reboot'"),
    ],
)
def test_a_wrong_profile_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    """Exit 4, with file, key and reason."""
    assert old in VIRTUAL
    path = local(tmp_path, "virtual", VIRTUAL.replace(old, new))
    with pytest.raises(Refused, match=reason) as caught:
        load_board("virtual", tmp_path)

    assert str(path) in str(caught.value)


def test_kept_files_are_read(tmp_path: Path) -> None:
    """A file, a directory and both with another path in the new system; names that only begin alike are two."""
    words = '"/etc/hostname", "/var//lib/x/", "/old:/new", "/a/:/etc/host/"'
    path = local(tmp_path, "virtual", VIRTUAL.replace('"/etc/hostname"', words))

    assert read_board(path).filesystem.keep[:4] == (
        Keep("/etc/hostname", "/etc/hostname"),
        Keep("/var/lib/x", "/var/lib/x", is_directory=True),
        Keep("/old", "/new"),
        Keep("/a", "/etc/host", is_directory=True),
    )


def test_one_slot_or_three_are_refused(tmp_path: Path) -> None:
    """There is one slot to run from and one to write."""
    third = VIRTUAL.split("[[slots]]")[2].replace('"b"', '"c"').replace("/b.img", "/c.img").partition("[")[0]
    local(tmp_path, "virtual", VIRTUAL.replace("[bootloader]", f"[[slots]]{third}\n[bootloader]"))
    with pytest.raises(Refused, match="there are 3 slots"):
        load_board("virtual", tmp_path)


def test_missing_tools_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a board's filesystem needs and the system lacks is listed."""
    board = load_board("virtual", tmp_path)
    monkeypatch.setattr("hupfast.board.find_program", lambda name: None if name == "tune2fs" else name)

    assert missing_programs(board) == ["tune2fs"]
