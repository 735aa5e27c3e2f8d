"""Settings that are saved for a medium are found again, for that medium only."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from systree import SysTree

from hupfast.bench.settings import WriteSettings, parse_line, save_settings, saved_settings

MIB = 2**20
CARD = WriteSettings(MIB, 8, "sd:abc", "2026-11-27T05:00:00Z")


@pytest.fixture
def root(tmp_path):
    """A system root on a card with the CID "abc"; `root/file` is on it."""
    tree = SysTree(tmp_path / "root")
    tree.disk("mmcblk0", "179:0")
    folder = "sys/devices/platform/block/mmcblk0/device"
    tree.write(f"{folder}/type", "SD\n")
    tree.write(f"{folder}/cid", "abc\n")
    tree.write("proc/self/mountinfo", f"36 1 179:0 / {os.path.realpath(tree.root)} rw - vfat /dev/x rw\n")
    return tree.root


def found(root, state=None):
    return saved_settings(str(root / "file"), str(root), state)


def test_saved(root):
    """What was saved is found again; before, there is nothing."""
    assert found(root) is None
    assert save_settings(CARD, str(root)) == f"{root}/var/lib/hupfast/media"
    assert found(root) == CARD


def test_replaced(root):
    """A newer measurement takes the place of an older one, and leaves other media alone."""
    other = WriteSettings(65536, 1, "mmc:other", "2026-01-01T00:00:00Z")
    newer = WriteSettings(65536, 2, "sd:abc", "2026-12-01T00:00:00Z")
    for settings in (CARD, other, newer):
        path = save_settings(settings, str(root))
    assert found(root) == newer
    with open(path) as file:
        assert [line.split("\t")[0] for line in file] == ["# hupfast bench --save\n", "mmc:other", "sd:abc"]


def test_another_medium(root):
    """Settings of another card are not taken."""
    save_settings(WriteSettings(MIB, 8, "sd:other", "x"), str(root))
    assert found(root) is None


def test_state_directory(root):
    """The board's state directory goes before /var/lib/hupfast, which is asked too."""
    save_settings(CARD, str(root))
    assert found(root, "/data/hupfast") == CARD
    of_board = WriteSettings(65536, 1, "sd:abc", "x")
    assert save_settings(of_board, str(root), "/data/hupfast") == f"{root}/data/hupfast/media"
    assert found(root, "/data/hupfast") == of_board
    assert found(root) == CARD


@pytest.mark.parametrize("text", ["", "\0\xff", "sd:abc\tblock 5\tdepth 1\tx\n", "sd:abc\tblock 65536\tdepth 99\tx\n"])
def test_damaged_file(root, text):
    """A file that makes no sense is as none."""
    folder = root / "var/lib/hupfast"
    folder.mkdir(parents=True)
    (folder / "media").write_bytes(text.encode("latin-1"))
    assert found(root) is None


@given(st.text(max_size=60) | st.just("a\tblock 65536\tdepth 1\tb"))
def test_any_line(line):
    """Any line is settings that the engine takes, or nothing."""
    settings = parse_line(line)
    assert settings is None or (65536 <= settings.block <= 4 * MIB and 1 <= settings.depth <= 32)


def test_imports():
    """It is asked on every write, so that it imports next to nothing."""
    code = (
        "import sys; before = set(sys.modules); import hupfast.bench.settings, hupfast.bench.storage;"
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"json", "pathlib", "hashlib", "shutil", "tempfile", "hupfast.bench.document"}
