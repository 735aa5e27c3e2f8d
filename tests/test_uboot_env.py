"""U-Boot's environment, against fw_printenv, fw_setenv and mkenvimage."""

import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import MIB
from hupfast.errors import HupfastError
from hupfast.uboot_env import load, parse, read_config, serialize, store

SIZE = 0x1000
FAR = f"/a 0x{'f' * 40} 4096\n"
VARIABLES = {"bootcmd": "run a; run b", "root_part": "2", "empty_not": "x=y"}

needs_tools = pytest.mark.skipif(
    not (shutil.which("fw_printenv") and shutil.which("mkenvimage")), reason="libubootenv-tool or u-boot-tools missing"
)


class Board:
    """A fw_env.config and the files that it names; `copies` of them."""

    def __init__(self, folder: Path, copies: int) -> None:
        self.root = Path("/")
        self.config = folder / "fw_env.config"
        self.files = [folder / f"env{number}" for number in range(copies)]
        self.config.write_text("# a comment\n" + "".join(f"{path} 0x0 {SIZE:#x}\n" for path in self.files))

    def put(self, number: int, flags: int | None, variables: dict[str, str], crc_is_right: bool = True) -> None:
        """One copy."""
        data = serialize(variables, flags, SIZE)
        self.files[number].write_bytes(data if crc_is_right else bytes(4) + data[4:])

    def printed(self) -> dict[str, str]:
        """What fw_printenv says."""
        done = subprocess.run(["fw_printenv", "-c", self.config], capture_output=True, text=True, check=True)
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    def set(self, name: str, value: str) -> None:
        """fw_setenv."""
        subprocess.run(["fw_setenv", "-c", self.config, name, value], check=True, capture_output=True)

    def load(self) -> dict[str, str]:
        """What we read."""
        return load(read_config(self.config, self.root)).variables

    def store(self, changes: dict[str, str]) -> None:
        """Our write."""
        store(load(read_config(self.config, self.root)), changes)


@pytest.fixture(params=[1, 2])
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Board:
    """A single or a redundant environment, made by mkenvimage."""
    board = Board(tmp_path, request.param)
    text = "".join(f"{name}={value}\n" for name, value in VARIABLES.items())
    for path in board.files:
        redundant = ["-r"] if request.param == 2 else []
        command = ["mkenvimage", *redundant, "-s", str(SIZE), "-o", str(path), "-"]
        subprocess.run(command, input=text.encode(), check=True)
    return board


@needs_tools
def test_what_mkenvimage_makes_is_read(board: Board) -> None:
    """Single and redundant."""
    assert board.load() == VARIABLES


@needs_tools
def test_both_sides_can_go_on_from_each_other(board: Board) -> None:
    """We write, U-Boot's tool writes, for more rounds than the two copies; each sees the other's last word."""
    for round_ in range(5):
        board.store({"root_part": f"{round_}", "bootcount": "0"})
        assert board.printed() == board.load()
        assert board.printed()["root_part"] == f"{round_}"
        board.set("root_part", f"x{round_}")
        assert board.load()["root_part"] == f"x{round_}"
    assert board.load()["bootcmd"] == VARIABLES["bootcmd"]


@needs_tools
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, True), (1, True)),
        ((1, True), (0, True)),
        ((1, True), (1, True)),
        ((255, True), (0, True)),
        ((0, True), (255, True)),
        ((254, True), (255, True)),
        ((3, False), (1, True)),
        ((1, True), (3, False)),
        ((0, False), (255, True)),
    ],
)
def test_the_copy_that_counts_is_the_one_of_fw_printenv(
    tmp_path: Path, first: tuple[int, bool], second: tuple[int, bool]
) -> None:
    """CRC right or wrong, flags higher, equal and around their end."""
    board = Board(tmp_path, 2)
    board.put(0, first[0], {"copy": "first"}, first[1])
    board.put(1, second[0], {"copy": "second"}, second[1])

    assert board.load() == board.printed()


@needs_tools
@pytest.mark.parametrize("flags", [0, 1, 127, 128, 254, 255])
def test_a_write_around_the_end_of_the_flags_counts(tmp_path: Path, flags: int) -> None:
    """After 255 comes 0, and the copy that was valid is not touched."""
    board = Board(tmp_path, 2)
    board.put(0, flags, {"copy": "old"})
    board.put(1, (flags - 1) & 0xFF, {"copy": "older"})
    old = board.files[0].read_bytes()
    board.store({"copy": "new"})

    assert board.printed() == {"copy": "new"} == board.load()
    assert board.files[0].read_bytes() == old


def test_a_torn_write_of_one_copy_leaves_the_other(tmp_path: Path) -> None:
    """At whatever byte the power went: the old variables are whole."""
    board = Board(tmp_path, 2)
    board.put(0, 7, {"part": "2"})
    board.put(1, 6, {"part": "1"})
    before = board.files[1].read_bytes()
    board.store({"part": "3"})
    after = board.files[1].read_bytes()
    for cut in (1, 4, 5, 9, 100, SIZE - 1):
        board.files[1].write_bytes(after[:cut] + before[cut:])
        assert board.load() in ({"part": "2"}, {"part": "3"})


def test_no_valid_copy_is_an_error_with_both_reasons(tmp_path: Path) -> None:
    """Never a success, never an empty environment."""
    board = Board(tmp_path, 2)
    board.put(0, 1, {"a": "1"}, crc_is_right=False)
    with pytest.raises(HupfastError, match=r"env0 at 0x0: its CRC is wrong; .*env1 at 0x0: it is missing"):
        board.load()


@needs_tools
@pytest.mark.parametrize("offset", [MIB, -2 * SIZE])
def test_a_raw_device(device: Path, tmp_path: Path, offset: int) -> None:
    """Written in place at an offset from either end, and nothing around it; fw_printenv reads it there."""
    config = tmp_path / "fw_env.config"
    config.write_text(f"{device} {offset:#x} {SIZE:#x}\n{device} {offset + SIZE:#x} {SIZE:#x}\n")
    start = offset if offset >= 0 else 16 * MIB + offset
    with device.open("r+b", buffering=0) as file:
        for number in (0, 1):
            file.seek(start + number * SIZE)
            file.write(serialize({"part": "2"}, number, SIZE))
    for part in ("3", "4", "5"):
        store(load(read_config(config, Path("/"))), {"part": part})
        assert load(read_config(config, Path("/"))).variables == {"part": part}
    if offset >= 0:
        done = subprocess.run(["fw_printenv", "-c", config], capture_output=True, text=True, check=True)
        assert done.stdout == "part=5\n"
    data = device.read_bytes()
    assert data[:start] + data[start + 2 * SIZE :] == (b"old " * (4 * MIB))[: 16 * MIB - 2 * SIZE]


def test_only_two_files_or_a_pair_of_files_survive_a_power_cut(tmp_path: Path, device: Path) -> None:
    """A single copy on a raw device does not, and says so."""
    board = Board(tmp_path, 1)
    board.put(0, None, {"a": "1"})
    assert load(read_config(board.config, Path("/"))).power_safe

    device.write_bytes(serialize({"a": "1"}, None, SIZE))
    board.config.write_text(f"{device} 0 {SIZE}\n")
    assert not load(read_config(board.config, Path("/"))).power_safe


@pytest.mark.parametrize(
    "text", ["", "/dev/x 0\n", "/dev/x 0 many\n", "x 0 0x1000\n", "/a 0 4096\n" * 3, "/a 0 1\n", FAR]
)
def test_a_wrong_config_is_an_error(tmp_path: Path, text: str) -> None:
    """With the path, and the line where there is one."""
    (tmp_path / "config").write_text(text)
    with pytest.raises(HupfastError, match=str(tmp_path / "config")):
        read_config(tmp_path / "config", Path("/"))


def test_a_flash_device_or_a_link_is_refused(tmp_path: Path) -> None:
    """A rename over /dev/mtd0 or over a link would look like a success, and U-Boot would not see it."""
    board = Board(tmp_path, 1)
    board.config.write_text(f"/dev/zero 0x0 {SIZE:#x}\n")
    with pytest.raises(HupfastError, match="neither a file nor a block device"):
        board.load()

    (tmp_path / "real").write_bytes(serialize({"a": "1"}, None, SIZE))
    (tmp_path / "link").symlink_to("real")
    board.config.write_text(f"{tmp_path}/link 0x0 {SIZE:#x}\n")
    with pytest.raises(HupfastError, match="a symbolic link"):
        board.load()


def test_what_does_not_fit_or_cannot_be_is_refused() -> None:
    """Nothing is cut off silently."""
    room = 64 - 4 - len("a=\0") - 1
    assert len(serialize({"a": "x" * room}, None, 64)) == 64
    for variables in ({"a": "x" * (room + 1)}, {"a=b": "1"}, {"": "1"}, {"a": "\0"}):
        with pytest.raises(ValueError, match=r"too few|cannot be"):
            serialize(variables, None, 64)


names = st.text(st.characters(exclude_characters="\0=", exclude_categories=["Cs"]), min_size=1, max_size=8)
values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(st.dictionaries(names, values, max_size=6), st.none() | st.integers(0, 255))
def test_what_is_written_comes_back(variables: dict[str, str], flags: int | None) -> None:
    """parse undoes serialize."""
    assert parse(serialize(variables, flags, 1024), flags is not None) == (flags, variables)


@given(st.binary(max_size=60), st.booleans())
def test_garbage_is_a_value_error(data: bytes, redundant: bool) -> None:
    """Also behind a right CRC."""
    for copy in (data, zlib.crc32(data[1:]).to_bytes(4, "little") + data):
        try:
            parse(copy, redundant)
        except ValueError:
            continue


def test_a_place_far_behind_in_a_file_is_refused(tmp_path: Path) -> None:
    """Nothing is written, and no file of that size is made up in memory."""
    board = Board(tmp_path, 2)
    board.put(0, 1, {"a": "1"})
    board.config.write_text(f"{board.files[0]} 0 {SIZE}\n{board.files[1]} 0x10000000000 {SIZE}\n")
    with pytest.raises(HupfastError, match="ends beyond"):
        board.store({"a": "2"})
    assert board.load() == {"a": "1"}
    assert not board.files[1].exists()
